#include "storage/data_dir.h"

#include <algorithm>
#include <atomic>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include "storage/mapped_file.h"
#include "storage/partition_meta.h"
#include "tests/storage/damage.h"
#include "tests/storage/temp_dir.h"

namespace cairn::storage {
namespace {

const LogIdentity kOrders{IdOf(1), "orders", PartitionIndex(0)};

std::unique_ptr<DataDir> Open(const std::filesystem::path& path) {
  auto dir = DataDir::Open(path);
  REQUIRE(dir.ok());
  return *std::move(dir);
}

std::string TextOf(const absl::Status& status) { return std::string(status.message()); }

}  // namespace

TEST_CASE("DataDir: created once, it keeps its identity", "[storage][data_dir]") {
  TempDir temp;
  const auto path = temp.path() / "a" / "b";
  const TopicId id = Open(path)->cluster_id();
  const auto again = Open(path);
  CHECK(again->cluster_id() == id);
  CHECK(again->offsets_partitions() == 16);
  CHECK(again->frontier_damage().ok());
  const auto reader = DataDir::OpenForReading(path);
  REQUIRE(reader.ok());
  CHECK((*reader)->cluster_id() == id);
  CHECK(Open(temp.path() / "c" / "")->path() == temp.path() / "c" / "");
}

TEST_CASE("DataDir: a second one on the same directory is told who has it", "[storage][data_dir]") {
  TempDir temp;
  auto first = Open(temp.path());
  // By another descriptor of this process …
  const auto second = DataDir::Open(temp.path());
  CHECK(absl::IsFailedPrecondition(second.status()));
  CHECK_THAT(TextOf(second.status()), Catch::Contains("process " + std::to_string(::getpid())));
  // … and by another process.
  const pid_t child = ::fork();
  if (child == 0) {
    const bool refused = absl::IsFailedPrecondition(DataDir::Open(temp.path()).status());
    ::_exit(refused ? 0 : 1);
  }
  int result = -1;
  REQUIRE(::waitpid(child, &result, 0) == child);
  CHECK(WIFEXITED(result));
  CHECK(WEXITSTATUS(result) == 0);

  first.reset();
  CHECK(DataDir::Open(temp.path()).ok());
}

TEST_CASE("DataDir: a directory with something else in it is left alone", "[storage][data_dir]") {
  TempDir temp;
  WriteFile(temp / "letter.txt", AsBytes("dear all"));
  const auto dir = DataDir::Open(temp.path());
  CHECK(absl::IsFailedPrecondition(dir.status()));
  CHECK_THAT(TextOf(dir.status()), Catch::Contains("letter.txt"));
  const std::filesystem::directory_iterator left(temp.path());
  CHECK(std::distance(begin(left), end(left)) == 1);  // not even a lock was added
  CHECK(absl::IsFailedPrecondition(DataDir::OpenForReading(temp.path()).status()));
}

TEST_CASE("DataDir: a creation that was cut short is taken up again", "[storage][data_dir]") {
  TempDir temp;
  WriteFile(temp / "cairn.lock", AsBytes("123\n"));
  WriteFile(temp / "frontier", AsBytes("Cairn"));
  WriteFile(temp / "format.new", AsBytes(""));
  CHECK(Open(temp.path())->frontier_damage().ok());
}

TEST_CASE("DataDir: another format is refused and untouched", "[storage][data_dir]") {
  const int version = GENERATE(1, 3);
  TempDir temp;
  Open(temp.path());
  Bytes format = ReadBack(temp / "format");
  format[8] = static_cast<std::byte>(version);
  WriteFile(temp / "format", format);
  const auto dir = DataDir::Open(temp.path());
  CHECK(absl::IsFailedPrecondition(dir.status()));
  CHECK_THAT(TextOf(dir.status()), Catch::Contains("says format " + std::to_string(version)));
  CHECK(ReadBack(temp / "format") == format);
}

TEST_CASE("DataDir: every cut and every changed byte of the format file is noticed",
          "[storage][data_dir]") {
  TempDir temp;
  Open(temp.path());
  const Bytes whole = ReadBack(temp / "format");
  REQUIRE(whole.size() == 40);
  const auto check = [&](const Bytes& damaged, std::size_t at) {
    INFO("damaged at " << at);
    WriteFile(temp / "format", damaged);
    CHECK_FALSE(DataDir::Open(temp.path()).ok());
    CHECK_FALSE(DataDir::OpenForReading(temp.path()).ok());
  };
  ForEveryCut(whole, check);
  ForEveryFlip(whole, check);
}

TEST_CASE("DataDir: a damaged or missing frontier is set aside and reported",
          "[storage][data_dir]") {
  TempDir temp;
  {
    const auto dir = Open(temp.path());
    const DurableEnd end{{IdOf(1), PartitionIndex(0)}, Offset(5), Offset(0), 500};
    REQUIRE(dir->frontier().Note({&end, 1}).ok());
    REQUIRE(dir->frontier().CloseClean().ok());
  }
  Bytes frontier = ReadBack(temp / "frontier");
  frontier[90] ^= std::byte{1};
  WriteFile(temp / "frontier", frontier);
  {
    const auto reader = DataDir::OpenForReading(temp.path());
    REQUIRE(reader.ok());
    CHECK(absl::IsDataLoss((*reader)->frontier_damage()));
    CHECK(ReadBack(temp / "frontier") == frontier);
  }
  {
    const auto dir = Open(temp.path());
    CHECK(absl::IsDataLoss(dir->frontier_damage()));
    CHECK_FALSE(dir->frontier().was_clean());
    CHECK_FALSE(dir->frontier().Find({IdOf(1), PartitionIndex(0)}).has_value());
    CHECK(ReadBack(temp.path() / "quarantine" / "frontier") == frontier);
  }
  CHECK(Open(temp.path())->frontier_damage().ok());
  std::filesystem::remove(temp / "frontier");
  CHECK_THAT(TextOf(Open(temp.path())->frontier_damage()), Catch::Contains("missing"));
}

TEST_CASE("DataDir: a frontier that cannot be looked for is not one that is missing",
          "[storage][data_dir]") {
  TempDir temp;
  Open(temp.path());
  // Stands for a disk that fails: a name that leads nowhere.
  std::filesystem::rename(temp / "frontier", temp / "kept");
  std::filesystem::create_symlink("frontier", temp / "frontier");
  const auto refused = DataDir::Open(temp.path());
  REQUIRE_FALSE(refused.ok());
  CHECK_THAT(TextOf(refused.status()), Catch::Matchers::Contains("look for"));
  std::filesystem::rename(temp / "kept", temp / "frontier");
  CHECK(Open(temp.path())->frontier_damage().ok());
}

TEST_CASE("DataDir: partitions are listed with what their directories say", "[storage][data_dir]") {
  TempDir temp;
  const auto dir = Open(temp.path());
  const LogIdentity dashed{IdOf(2), "a-b-1", PartitionIndex(12)};
  REQUIRE(dir->CreatePartition(kOrders).ok());
  REQUIRE(dir->CreatePartition(kOrders).ok());
  REQUIRE(dir->CreatePartition(dashed).ok());
  std::filesystem::create_directory(temp / "bare-3");
  std::filesystem::create_directory(temp / "odd");
  std::filesystem::create_directory(temp / "lost+found");
  std::filesystem::copy(temp / "orders-0", temp / "moved-0");
  REQUIRE(dir->Quarantine("odd").ok());
  std::filesystem::create_directory(temp / "odd");

  const auto found = dir->ListPartitions();
  REQUIRE(found.ok());
  std::vector<std::string> names;
  for (const auto& partition : *found) names.push_back(partition.directory);
  CHECK(names == std::vector<std::string>{"a-b-1-12", "bare-3", "moved-0", "odd", "orders-0"});
  CHECK((*found)[0].meta.ok());
  CHECK((*found)[0].topic == IdOf(2));
  CHECK((*found)[0].name == "a-b-1");
  CHECK((*found)[0].partition == PartitionIndex(12));
  CHECK(absl::IsNotFound((*found)[1].meta));
  CHECK((*found)[1].name == "bare");
  CHECK((*found)[1].partition == PartitionIndex(3));
  CHECK_THAT(TextOf((*found)[2].meta), Catch::Contains("says orders-0"));
  CHECK(absl::IsDataLoss((*found)[3].meta));
  CHECK((*found)[4].topic == IdOf(1));
}

TEST_CASE(
    "DataDir: another topic's directory is not taken over; a lost partition.meta is written again",
    "[storage][data_dir]") {
  TempDir temp;
  const auto dir = Open(temp.path());
  REQUIRE(dir->CreatePartition(kOrders).ok());
  LogIdentity other = kOrders;
  other.topic = IdOf(9);
  CHECK(absl::IsFailedPrecondition(dir->CreatePartition(other).status()));

  const Bytes meta = ReadBack(temp / "orders-0/partition.meta");
  WriteFile(temp / "orders-0/partition.meta", Bytes(20));
  REQUIRE(dir->CreatePartition(kOrders).ok());
  CHECK(ReadBack(temp / "orders-0/partition.meta") == meta);
}

TEST_CASE("partition.meta: every cut and every changed byte is noticed", "[storage][data_dir]") {
  const Bytes whole = EncodePartitionMeta(kOrders);
  const auto check = [&](const Bytes& damaged, std::size_t at) {
    INFO("damaged at " << at);
    CHECK(absl::IsDataLoss(DecodePartitionMeta("partition.meta", damaged).status()));
  };
  ForEveryCut(whole, check);
  ForEveryFlip(whole, check);
}

TEST_CASE("partition.meta: only names that we give are directories of partitions",
          "[storage][data_dir]") {
  CHECK(ParsePartitionDirectory("orders-0").has_value());
  CHECK(ParsePartitionDirectory("a--1")->topic_name == "a-");
  for (const char* name : {"orders", "orders-", "-0", "orders-00", "orders-+1", "orders-1x",
                           "orders-4294967296", "or ders-1", "..-1x", ""}) {
    INFO(name);
    CHECK_FALSE(ParsePartitionDirectory(name).has_value());
  }
}

TEST_CASE("DataDir: quarantine never overwrites", "[storage][data_dir]") {
  TempDir temp;
  const auto dir = Open(temp.path());
  for (const char* expected : {"orders-0", "orders-0.1", "orders-0.2"}) {
    REQUIRE(dir->CreatePartition(kOrders).ok());
    const auto to = dir->Quarantine("orders-0");
    REQUIRE(to.ok());
    CHECK(to->filename() == expected);
    CHECK(std::filesystem::exists(*to / "partition.meta"));
    CHECK_FALSE(std::filesystem::exists(temp / "orders-0"));
  }
  for (const char* expected : {"orders-0+x.log", "orders-0+x.log.1"}) {
    const auto to = dir->QuarantineBytes("orders-0/x.log", AsBytes("tail"));
    REQUIRE(to.ok());
    CHECK(to->filename() == expected);
    CHECK(AsText(ReadBack(*to)) == "tail");
  }
  CHECK(absl::IsNotFound(dir->Quarantine("not-there").status()));
}

TEST_CASE("DataDir: partitions that are recovered at once share one quarantine",
          "[storage][data_dir]") {
  for (int round = 0; round < 200; ++round) {
    TempDir temp(MemoryRoot());
    const auto dir = Open(temp.path());
    std::atomic<int> ready{0};
    std::atomic<int> saved{0};
    std::vector<std::thread> partitions;
    for (int i = 0; i < 4; ++i) {
      partitions.emplace_back([&] {
        ++ready;
        while (ready < 4) {
        }
        if (dir->QuarantineBytes("orders/torn", AsBytes("tail")).ok()) ++saved;
      });
    }
    for (std::thread& partition : partitions) partition.join();
    REQUIRE(saved == 4);
  }
}

TEST_CASE("DataDir: a deleted partition is forgotten, renamed and removed", "[storage][data_dir]") {
  TempDir temp;
  const auto dir = Open(temp.path());
  REQUIRE(dir->CreatePartition(kOrders).ok());
  const DurableEnd end{{kOrders.topic, kOrders.partition}, Offset(5), Offset(0), 500};
  REQUIRE(dir->frontier().Note({&end, 1}).ok());

  REQUIRE(dir->MarkDeleted(kOrders).ok());
  CHECK(dir->MarkDeleted(kOrders).ok());
  CHECK_FALSE(dir->frontier().Find(end.partition).has_value());
  const std::vector<std::string> deleted = dir->Deleted();
  CHECK(deleted == std::vector<std::string>{"01020304-0506-0708-090a-0b0c0d0e0f10-0.deleted"});
  CHECK(dir->ListPartitions()->empty());

  REQUIRE(dir->RemoveDeleted(deleted[0]).ok());
  CHECK(dir->Deleted().empty());
  CHECK(dir->RemoveDeleted(deleted[0]).ok() == false);
  CHECK(absl::IsInvalidArgument(dir->RemoveDeleted("orders-0")));
  CHECK(absl::IsInvalidArgument(dir->RemoveDeleted("../x.deleted")));
}

TEST_CASE("DataDir: who still reads a removed partition is not disturbed", "[storage][data_dir]") {
  TempDir temp;
  const auto dir = Open(temp.path());
  REQUIRE(dir->CreatePartition(kOrders).ok());
  constexpr std::int64_t kSize = 200 << 20;
  const auto log = temp / "orders-0/00000000000000000000.log";
  {
    const auto file = File::Create(log);
    REQUIRE(file.ok());
    REQUIRE(file->Truncate(kSize).ok());
    REQUIRE(file->WriteAll(kSize - 4, AsBytes("last")).ok());
  }
  auto file = File::OpenForReading(log);
  REQUIRE(file.ok());
  const auto mapping = MappedFile::Map(*file, kSize);
  REQUIRE(mapping.ok());
  file->Close();
  REQUIRE(dir->MarkDeleted(kOrders).ok());
  REQUIRE(dir->RemoveDeleted(dir->Deleted()[0]).ok());
  CHECK(AsText((*mapping)->bytes().last(4)) == "last");
}

TEST_CASE("DataDir: knows the disk it stands on", "[storage][data_dir]") {
  TempDir temp;
  const auto dir = Open(temp.path());
  const auto space = dir->Space();
  REQUIRE(space.ok());
  CHECK(space->total > 0);
  CHECK(space->free <= space->total);
  CHECK(dir->SyncFileSystem().ok());
}

}  // namespace cairn::storage
