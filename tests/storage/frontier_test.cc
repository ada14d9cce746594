#include "storage/frontier.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <catch2/catch.hpp>

#include "tests/storage/damage.h"
#include "tests/storage/file_size_limit.h"
#include "tests/storage/temp_dir.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kHeader = 32;
constexpr std::size_t kEntry = 48;
const TopicId kCluster = IdOf(99);

TopicPartition Partition(int number) { return {IdOf(7), PartitionIndex(number)}; }

DurableEnd End(int partition, std::int64_t end) {
  return {Partition(partition), Offset(end), Offset(end / 2), end * 100};
}

std::unique_ptr<Frontier> Open(const TempDir& dir) {
  auto frontier = Frontier::Open(dir.path(), kCluster);
  REQUIRE(frontier.ok());
  return *std::move(frontier);
}

void Note(Frontier& frontier, std::initializer_list<DurableEnd> ends) {
  REQUIRE(frontier.Note(std::vector<DurableEnd>(ends)).ok());
}

std::int64_t EndOf(const Frontier& frontier, int partition) {
  const auto found = frontier.Find(Partition(partition));
  return found ? found->end.value() : -1;
}

}  // namespace

TEST_CASE("Frontier: a group commit that a deletion overtook does not bring its partition back",
          "[storage][frontier]") {
  const TempDir dir;
  const TopicPartition deleted{IdOf(1), PartitionIndex(0)};
  const DurableEnd end{
      .partition = deleted, .end = Offset(5), .segment_base = Offset(0), .position = 100};
  {
    auto frontier = Frontier::Open(dir.path());
    REQUIRE(frontier.ok());
    REQUIRE((*frontier)->Note({&end, 1}).ok());
    REQUIRE((*frontier)->Forget(deleted).ok());
    REQUIRE((*frontier)->Note({&end, 1}).ok());
    CHECK_FALSE((*frontier)->Find(deleted).has_value());
  }
  auto again = Frontier::Open(dir.path());
  REQUIRE(again.ok());
  CHECK_FALSE((*again)->Find(deleted).has_value());
}

TEST_CASE("Frontier: the last noted end of each partition is found again", "[storage][frontier]") {
  TempDir dir;
  {
    const auto frontier = Open(dir);
    Note(*frontier, {End(0, 10), End(1, 20)});
    Note(*frontier, {End(0, 30)});
  }  // as after kill -9
  const auto frontier = Open(dir);
  CHECK_FALSE(frontier->was_clean());
  const auto found = frontier->Find(Partition(0));
  REQUIRE(found.has_value());
  CHECK(found->end == Offset(30));
  CHECK(found->segment_base == Offset(15));
  CHECK(found->position == 3000);
  CHECK(EndOf(*frontier, 1) == 20);
  CHECK_FALSE(frontier->Find(Partition(2)).has_value());
}

TEST_CASE("Frontier: only a clean stop is clean, and only until the next start",
          "[storage][frontier]") {
  TempDir dir;
  {
    const auto frontier = Open(dir);
    CHECK_FALSE(frontier->was_clean());
    Note(*frontier, {End(0, 10)});
    REQUIRE(frontier->CloseClean().ok());
  }
  {
    const auto reader = Frontier::OpenForReading(dir.path(), kCluster);
    REQUIRE(reader.ok());
    CHECK((*reader)->was_clean());
  }
  {
    const auto frontier = Open(dir);
    CHECK(frontier->was_clean());
    CHECK(EndOf(*frontier, 0) == 10);
  }  // nothing was written, but the process did not stop cleanly
  CHECK_FALSE(Open(dir)->was_clean());
}

TEST_CASE("Frontier: a partition that was not closed is not clean at the next start, others are",
          "[storage][frontier]") {
  TempDir dir;
  {
    const auto frontier = Open(dir);
    Note(*frontier, {End(0, 10), End(1, 20)});
    const TopicPartition offline = Partition(1);
    REQUIRE(frontier->CloseClean({&offline, 1}).ok());
  }
  {
    const auto frontier = Open(dir);
    CHECK(frontier->was_clean());
    CHECK(frontier->was_clean(Partition(0)));
    CHECK_FALSE(frontier->was_clean(Partition(1)));
    CHECK(EndOf(*frontier, 1) == 20);
    Note(*frontier, {End(1, 30)});
    REQUIRE(frontier->CloseClean().ok());
  }
  CHECK(Open(dir)->was_clean(Partition(1)));
}

TEST_CASE("Frontier: a forgotten partition is not found again", "[storage][frontier]") {
  TempDir dir;
  {
    const auto frontier = Open(dir);
    Note(*frontier, {End(0, 10), End(1, 20)});
    REQUIRE(frontier->Forget(Partition(0)).ok());
    CHECK(EndOf(*frontier, 0) == -1);
  }
  const auto frontier = Open(dir);
  CHECK(EndOf(*frontier, 0) == -1);
  CHECK(EndOf(*frontier, 1) == 20);
}

TEST_CASE("Frontier: another data directory's is refused", "[storage][frontier]") {
  TempDir dir;
  Open(dir);
  CHECK(absl::IsDataLoss(Frontier::Open(dir.path(), IdOf(1)).status()));
}

TEST_CASE("Frontier: cut at any byte, whole entries survive", "[storage][frontier]") {
  TempDir original;
  {
    const auto frontier = Open(original);
    for (int end = 1; end <= 6; ++end) Note(*frontier, {End(0, end * 10)});
    REQUIRE(frontier->CloseClean().ok());
  }
  const Bytes whole = ReadBack(original / "frontier");
  TempDir dir;
  ForEveryCut(whole, [&](const Bytes& cut, std::size_t length) {
    INFO("cut to " << length);
    WriteFile(dir / "frontier", cut);
    const auto frontier = Frontier::Open(dir.path(), kCluster);
    // It is made with the note of the first start in it.
    if (length < kHeader + kEntry) {
      CHECK(absl::IsDataLoss(frontier.status()));
      return;
    }
    REQUIRE(frontier.ok());
    CHECK_FALSE((*frontier)->was_clean());
    // In use, synced, then six notes, one of which comes with the mark of the first sync.
    const auto slots = static_cast<std::int64_t>((length - kHeader) / kEntry);
    const std::int64_t notes = std::clamp<std::int64_t>(slots - 2, 0, 6);
    CHECK(EndOf(**frontier, 0) == (notes == 0 ? -1 : notes * 10));
  });
}

TEST_CASE("Frontier: a changed byte is an error, or costs what was not synced",
          "[storage][frontier]") {
  TempDir original;
  {
    const auto frontier = Open(original);
    for (int end = 1; end <= 4; ++end) Note(*frontier, {End(0, end * 10)});
    REQUIRE(frontier->Sync().ok());
    Note(*frontier, {End(1, 50)});  // together with the mark that says what is synced
    Note(*frontier, {End(2, 60)});
  }
  const Bytes whole = ReadBack(original / "frontier");
  REQUIRE(whole.size() == kHeader + 9 * kEntry);
  const std::size_t synced = kHeader + 6 * kEntry;
  TempDir dir;
  ForEveryFlip(whole, [&](const Bytes& damaged, std::size_t at) {
    INFO("changed at " << at);
    WriteFile(dir / "frontier", damaged);
    const auto frontier = Frontier::Open(dir.path(), kCluster);
    if (at < synced) {
      CHECK(absl::IsDataLoss(frontier.status()));
      return;
    }
    REQUIRE(frontier.ok());
    const std::size_t slot = (at - synced) / kEntry;  // the mark, End(1), End(2)
    CHECK(EndOf(**frontier, 0) == 40);
    CHECK(EndOf(**frontier, 1) == (slot == 1 ? -1 : 50));
    CHECK(EndOf(**frontier, 2) == (slot == 2 ? -1 : 60));
    // What is left is a whole file again.
    const auto again = Frontier::Open(dir.path(), kCluster);
    REQUIRE(again.ok());
    CHECK((*again)->All().size() == (*frontier)->All().size());
  });
}

TEST_CASE("Frontier: after a clean stop every changed byte is noticed", "[storage][frontier]") {
  TempDir original;
  {
    const auto frontier = Open(original);
    Note(*frontier, {End(0, 10), End(1, 20)});
    REQUIRE(frontier->CloseClean().ok());
  }
  const Bytes whole = ReadBack(original / "frontier");
  TempDir dir;
  ForEveryFlip(whole, [&](const Bytes& damaged, std::size_t at) {
    INFO("changed at " << at);
    WriteFile(dir / "frontier", damaged);
    const auto frontier = Frontier::Open(dir.path(), kCluster);
    // The clean stop's own entry: then it was none, and the careful way is taken.
    const bool careful = frontier.ok() && !(*frontier)->was_clean() && EndOf(**frontier, 0) == 10 &&
                         EndOf(**frontier, 1) == 20 && at >= whole.size() - kEntry;
    CHECK((absl::IsDataLoss(frontier.status()) || careful));
  });
}

TEST_CASE("Frontier: a note that fails in the midst leaves what was noted before",
          "[storage][frontier]") {
  TempDir dir;
  {
    const auto frontier = Open(dir);
    Note(*frontier, {End(0, 10)});
    {
      const FileSizeLimit limit(kHeader + 4 * kEntry + 20);
      const std::vector<DurableEnd> ends = {End(0, 20), End(1, 30)};
      CHECK_FALSE(frontier->Note(ends).ok());
    }
    CHECK(EndOf(*frontier, 0) == 10);
    CHECK(EndOf(*frontier, 1) == -1);
    // It was not a sync that failed: trying again is allowed.
    Note(*frontier, {End(1, 40)});
  }
  const auto frontier = Frontier::OpenForReading(dir.path(), kCluster);
  REQUIRE(frontier.ok());
  CHECK(EndOf(**frontier, 1) == 40);
}

TEST_CASE("Frontier: a long one is written anew and says the same", "[storage][frontier]") {
  TempDir dir;
  const unsigned seed = 20;
  INFO("seed " << seed);
  std::mt19937 random(seed);
  std::map<int, std::int64_t> model;
  std::set<int> forgotten;  // for good
  {
    const auto frontier = Open(dir);
    std::vector<DurableEnd> ends;
    for (int round = 0; round < 900; ++round) {
      ends.clear();
      for (int i = 0; i < 100; ++i) {
        const int partition = static_cast<int>(random() % 50);
        model[partition] += 1 + random() % 10;
        ends.push_back(End(partition, model[partition]));
      }
      REQUIRE(frontier->Note(ends).ok());
      if (round % 100 == 50) {
        const int partition = static_cast<int>(random() % 50);
        REQUIRE(frontier->Forget(Partition(partition)).ok());
        forgotten.insert(partition);
      }
    }
    for (const int partition : forgotten) model.erase(partition);
    // 90,000 entries were noted; the file was written anew after 65,536.
    CHECK(std::filesystem::file_size(dir / "frontier") < 40'000 * kEntry);
  }
  const auto frontier = Open(dir);
  CHECK(frontier->All().size() == model.size());
  for (const auto& [partition, end] : model) CHECK(EndOf(*frontier, partition) == end);
}

}  // namespace cairn::storage
