#include "storage/index.h"

#include <algorithm>
#include <random>

#include <catch2/catch.hpp>

#include "tests/storage/damage.h"
#include "tests/storage/temp_dir.h"

namespace cairn::storage {
namespace {

struct Batch {
  Offset base;
  Offset next;
  std::int64_t position;
  std::int64_t size;
  Timestamp max_timestamp;
};

std::vector<Batch> RandomBatches(unsigned seed, int count, Offset base) {
  std::mt19937 random(seed);
  std::vector<Batch> batches;
  std::int64_t position = 0;
  for (int i = 0; i < count; ++i) {
    const Offset next = base + (1 + random() % 20);
    const std::int64_t size = 61 + random() % 300;
    batches.push_back({base, next, position, size, Timestamp(1000 + i * 3 + random() % 50)});
    position += size;
    base = next;
  }
  return batches;
}

Index IndexOf(const std::vector<Batch>& batches, Offset base, std::int64_t interval) {
  Index index(base, interval);
  for (const Batch& batch : batches) {
    index.Note(batch.base, batch.next, batch.size, batch.max_timestamp);
  }
  return index;
}

}  // namespace

TEST_CASE("Index: an empty one points at the segment's beginning", "[storage][index]") {
  const Index index(Offset(100));
  CHECK(index.empty());
  CHECK(index.FindOffset(Offset(150)) == Index::Place{Offset(100), 0});
  CHECK(index.FindTime(Timestamp(1)) == Index::Place{Offset(100), 0});
  CHECK(index.FindPosition(77) == Index::Place{Offset(100), 0});
  CHECK(index.max_timestamp() == kNoTimestamp);
  const auto again = Index::Decode(index.Encode(), Offset(100), 0);
  REQUIRE(again.ok());
  CHECK(again->empty());
}

TEST_CASE("Index: an entry about every interval, each at a batch", "[storage][index]") {
  const auto batches = RandomBatches(1, 1000, Offset(0));
  const Index index = IndexOf(batches, Offset(0), 4096);
  CHECK(index.next_offset() == batches.back().next);
  CHECK(index.log_length() == batches.back().position + batches.back().size);
  for (std::size_t i = 1; i < index.entries().size(); ++i) {
    const auto gap = index.entries()[i].position - index.entries()[i - 1].position;
    CHECK(gap >= 4096);
    CHECK(gap < 4096 + 400);
  }
}

TEST_CASE("Index: look-ups by offset, position and time find the nearest entry at or before",
          "[storage][index]") {
  for (unsigned seed = 0; seed < 20; ++seed) {
    INFO("seed " << seed);
    const Offset base(5000);
    const auto batches = RandomBatches(seed, 300, base);
    const Index index = IndexOf(batches, base, 1024);
    const auto is_entry = [&](const Index::Place& place) {
      return std::any_of(batches.begin(), batches.end(), [&](const Batch& batch) {
        return batch.base == place.offset && batch.position == place.position;
      });
    };
    for (const Batch& batch : batches) {
      const auto by_offset = index.FindOffset(batch.next - 1);
      CHECK(is_entry(by_offset));
      CHECK(by_offset.offset <= batch.base);
      CHECK(batch.position - by_offset.position < 1024 + 400);

      const auto by_position = index.FindPosition(batch.position);
      CHECK(is_entry(by_position));
      CHECK(by_position.position <= batch.position);
      CHECK(batch.position - by_position.position < 1024 + 400);
    }
    for (std::int64_t time = 990; time <= index.max_timestamp().value(); time += 7) {
      const auto first = std::find_if(batches.begin(), batches.end(), [&](const Batch& batch) {
        return batch.max_timestamp >= Timestamp(time);
      });
      REQUIRE(first != batches.end());
      const auto place = index.FindTime(Timestamp(time));
      CHECK(is_entry(place));
      CHECK(place.position <= first->position);
      CHECK(first->position - place.position < 1024 + 400);
    }
  }
}

TEST_CASE("Index: saved and loaded it says the same", "[storage][index]") {
  TempDir dir;
  const auto batches = RandomBatches(3, 200, Offset(40));
  const Index index = IndexOf(batches, Offset(40), 512);
  REQUIRE(index.Save(dir / "00000000000000000040.index").ok());
  const auto again =
      Index::Load(dir / "00000000000000000040.index", Offset(40), index.log_length(), 512);
  REQUIRE(again.ok());
  CHECK(again->entries() == index.entries());
  CHECK(again->next_offset() == index.next_offset());
  CHECK(again->max_timestamp() == index.max_timestamp());
  CHECK(again->Encode() == index.Encode());
}

TEST_CASE("Index: of another segment, or at another length, it is refused", "[storage][index]") {
  const Index index = IndexOf(RandomBatches(3, 20, Offset(40)), Offset(40), 512);
  const Bytes file = index.Encode();
  CHECK(absl::IsFailedPrecondition(Index::Decode(file, Offset(41), index.log_length()).status()));
  CHECK(
      absl::IsFailedPrecondition(Index::Decode(file, Offset(40), index.log_length() + 1).status()));
}

TEST_CASE("Index: every cut and every changed byte is noticed", "[storage][index]") {
  const Index index = IndexOf(RandomBatches(4, 30, Offset(40)), Offset(40), 512);
  const auto check = [&](const Bytes& damaged, std::size_t at) {
    INFO("damaged at " << at);
    CHECK_FALSE(Index::Decode(damaged, Offset(40), index.log_length()).ok());
  };
  ForEveryCut(index.Encode(), check);
  ForEveryFlip(index.Encode(), check);
}

}  // namespace cairn::storage
