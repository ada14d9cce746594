#include "storage/producer_table.h"

#include <deque>
#include <limits>
#include <map>
#include <random>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "tests/storage/damage.h"

namespace cairn::storage {
namespace {

constexpr std::int32_t kSequenceMax = std::numeric_limits<std::int32_t>::max();

// The header of a batch: all that the table looks at.
class Batch {
 public:
  Batch(std::int64_t producer, int epoch, std::int32_t sequence, std::int32_t count,
        std::int64_t offset = 0)
      : bytes_(kBatchHeaderBytes) {
    const MutableBytes out(bytes_);
    StoreBe(out, kBaseOffsetAt, offset);
    StoreBe(out, kBatchLengthAt,
            static_cast<std::int32_t>(kBatchHeaderBytes - kBatchLengthOverhead));
    StoreBe(out, kMagicAt, kBatchMagic);
    StoreBe(out, kLastOffsetDeltaAt, count - 1);
    StoreBe(out, kProducerIdAt, producer);
    StoreBe(out, kProducerEpochAt, static_cast<std::int16_t>(epoch));
    StoreBe(out, kBaseSequenceAt, sequence);
    StoreBe(out, kRecordCountAt, std::int32_t{1});
  }
  RecordBatchView view() const { return *RecordBatchView::ParseHeader(bytes_); }

 private:
  Bytes bytes_;
};

ErrorCode Refusal(const ProducerTable& table, const Batch& batch) {
  return CodeOf(table.Check(batch.view()).status());
}
bool Accepts(const ProducerTable& table, const Batch& batch) {
  const auto verdict = table.Check(batch.view());
  return verdict.ok() && !verdict->duplicate;
}
void Apply(ProducerTable& table, const Batch& batch, std::int64_t now = 1000) {
  table.Apply(batch.view(), Timestamp(now));
}

}  // namespace

TEST_CASE("ProducerTable: a batch without a producer is always welcome and leaves no trace",
          "[storage][producers]") {
  ProducerTable table;
  CHECK(Accepts(table, Batch(-1, -1, -1, 5)));
  Apply(table, Batch(-1, -1, -1, 5));
  CHECK(table.size() == 0);
}

TEST_CASE("ProducerTable: sequences must join up, from 0", "[storage][producers]") {
  ProducerTable table;
  CHECK(Refusal(table, Batch(7, 0, 3, 1)) == ErrorCode::kUnknownProducer);
  CHECK(Accepts(table, Batch(7, 0, 0, 3)));
  Apply(table, Batch(7, 0, 0, 3, 100));
  CHECK(Accepts(table, Batch(7, 0, 3, 1)));
  CHECK(Refusal(table, Batch(7, 0, 4, 1)) == ErrorCode::kOutOfOrderSequence);
  CHECK(Refusal(table, Batch(7, 0, 2, 1)) == ErrorCode::kOutOfOrderSequence);
  // The same beginning with another length is no repeat.
  CHECK(Refusal(table, Batch(7, 0, 0, 2)) == ErrorCode::kOutOfOrderSequence);
  // Another producer has nothing to do with it.
  CHECK(Accepts(table, Batch(8, 0, 0, 1)));
}

TEST_CASE("ProducerTable: the last five batches are known when they come again",
          "[storage][producers]") {
  ProducerTable table;
  for (int i = 0; i < 7; ++i) Apply(table, Batch(7, 0, i * 10, 10, 1000 + i * 100));
  for (int i = 2; i < 7; ++i) {
    const auto verdict = table.Check(Batch(7, 0, i * 10, 10).view());
    REQUIRE(verdict.ok());
    CHECK(verdict->duplicate);
    CHECK(verdict->first_offset == Offset(1000 + i * 100));
    CHECK(verdict->next_offset == Offset(1010 + i * 100));
  }
  CHECK(Refusal(table, Batch(7, 0, 10, 10)) == ErrorCode::kOutOfOrderSequence);
  CHECK(Accepts(table, Batch(7, 0, 70, 1)));
}

TEST_CASE("ProducerTable: after sequence 2^31-1 comes 0", "[storage][producers]") {
  ProducerTable table;
  Apply(table, Batch(7, 0, kSequenceMax - 1, 2, 50));
  CHECK(Refusal(table, Batch(7, 0, 1, 1)) == ErrorCode::kOutOfOrderSequence);
  CHECK(Accepts(table, Batch(7, 0, 0, 1)));

  // Across the end in the midst of a batch: max-1, max, 0, 1, 2.
  ProducerTable across;
  Apply(across, Batch(7, 0, kSequenceMax - 1, 5, 50));
  CHECK(Accepts(across, Batch(7, 0, 3, 1)));
  CHECK(Refusal(across, Batch(7, 0, 0, 1)) == ErrorCode::kOutOfOrderSequence);
  CHECK(across.Check(Batch(7, 0, kSequenceMax - 1, 5).view())->duplicate);
}

TEST_CASE("ProducerTable: a newer epoch begins at 0 and shuts the older one out",
          "[storage][producers]") {
  ProducerTable table;
  Apply(table, Batch(7, 1, 0, 3, 100));
  CHECK(Refusal(table, Batch(7, 0, 3, 1)) == ErrorCode::kStaleProducerEpoch);
  CHECK(Refusal(table, Batch(7, 2, 3, 1)) == ErrorCode::kOutOfOrderSequence);
  CHECK(Accepts(table, Batch(7, 2, 0, 3)));
  Apply(table, Batch(7, 2, 0, 3, 103));
  // The old epoch's batches are no repeats of the new one's.
  CHECK(table.Check(Batch(7, 2, 0, 3).view())->first_offset == Offset(103));
  CHECK(Refusal(table, Batch(7, 1, 3, 1)) == ErrorCode::kStaleProducerEpoch);
}

TEST_CASE("ProducerTable: who has not written for long is forgotten", "[storage][producers]") {
  ProducerTable table;
  Apply(table, Batch(1, 0, 0, 1), 1000);
  Apply(table, Batch(2, 0, 0, 1), 2000);
  Apply(table, Batch(1, 0, 1, 1), 3000);
  table.Expire(Timestamp(2001));
  CHECK(table.size() == 1);
  CHECK(Accepts(table, Batch(1, 0, 2, 1)));
  CHECK(Refusal(table, Batch(2, 0, 1, 1)) == ErrorCode::kUnknownProducer);
  // It may begin again, and a replay that knows its past comes to the same.
  Apply(table, Batch(2, 0, 0, 4, 9), 4000);
  ProducerTable replayed;
  Apply(replayed, Batch(1, 0, 0, 1));
  Apply(replayed, Batch(2, 0, 0, 1));
  Apply(replayed, Batch(1, 0, 1, 1));
  Apply(replayed, Batch(2, 0, 0, 4, 9));
  CHECK(replayed == table);
}

TEST_CASE("ProducerTable: a snapshot brings back the same table", "[storage][producers]") {
  ProducerTable table;
  for (int i = 0; i < 7; ++i) Apply(table, Batch(7, 3, i, 1, i), 1000 + i);
  Apply(table, Batch(1'000'000, 0, kSequenceMax, 4, 20), 5000);
  const TopicPartition partition{IdOf(4), PartitionIndex(2)};
  const auto again = ProducerTable::FromSnapshot(
      table.Snapshot({partition, Offset(24), Offset(0), 900}), partition);
  REQUIRE(again.ok());
  CHECK(again->second.end == Offset(24));
  CHECK(again->first == table);
  CHECK(again->first.Snapshot({partition, Offset(24), Offset(0), 900}) ==
        table.Snapshot({partition, Offset(24), Offset(0), 900}));

  ProducerTable old = again->first;
  old.Expire(Timestamp(1006));
  CHECK(old.size() == 2);
  old.Expire(Timestamp(1007));
  CHECK(old.size() == 1);

  const TopicPartition other{IdOf(4), PartitionIndex(3)};
  CHECK(absl::IsFailedPrecondition(
      ProducerTable::FromSnapshot(table.Snapshot({partition, Offset(24), Offset(0), 900}), other)
          .status()));
}

TEST_CASE("ProducerTable: every cut and every changed byte of a snapshot is noticed",
          "[storage][producers]") {
  ProducerTable table;
  for (int i = 0; i < 3; ++i) Apply(table, Batch(7, 3, i, 1, i));
  Apply(table, Batch(9, 0, 0, 4, 20));
  const auto check = [](const Bytes& damaged, std::size_t at) {
    INFO("damaged at " << at);
    CHECK_FALSE(ProducerTable::FromSnapshot(damaged).ok());
  };
  ForEveryCut(table.Snapshot({{}, Offset(24), Offset(0), 900}), check);
  ForEveryFlip(table.Snapshot({{}, Offset(24), Offset(0), 900}), check);
}

namespace {

// The rules once more, in the plainest way: every batch ever, and the answer read off from the
// list.
class Model {
 public:
  struct Known {
    int epoch;
    std::int64_t sequence;  // of the first record, not wrapped, counted within the epoch
    std::int32_t count;
    std::int64_t offset;
  };

  // What Check should say about it: the first offset of a repeat, -1 if it is welcome, -2 if not.
  std::int64_t Verdict(std::int64_t producer, int epoch, std::int64_t sequence,
                       std::int32_t count) const {
    const auto found = all_.find(producer);
    if (found == all_.end()) return sequence == 0 ? -1 : -2;
    const std::deque<Known>& known = found->second;
    if (epoch != known.back().epoch) return epoch > known.back().epoch && sequence == 0 ? -1 : -2;
    int looked_at = 0;
    for (auto it = known.rbegin(); it != known.rend() && looked_at < 5; ++it, ++looked_at) {
      if (it->epoch != epoch) break;
      if (it->sequence == sequence && it->count == count) return it->offset;
    }
    return sequence == known.back().sequence + known.back().count ? -1 : -2;
  }
  void Append(std::int64_t producer, Known batch) { all_[producer].push_back(batch); }
  std::int64_t NextSequence(std::int64_t producer) const {
    const auto found = all_.find(producer);
    return found == all_.end() ? 0 : found->second.back().sequence + found->second.back().count;
  }
  int Epoch(std::int64_t producer) const {
    const auto found = all_.find(producer);
    return found == all_.end() ? 0 : found->second.back().epoch;
  }

 private:
  std::map<std::int64_t, std::deque<Known>> all_;
};

void RunAgainstModel(unsigned seed) {
  INFO("seed " << seed);
  std::mt19937 random(seed);
  ProducerTable table;
  Model model;
  std::int64_t log_end = 0;
  for (int step = 0; step < 3000; ++step) {
    const std::int64_t producer = random() % 6;
    const int epoch = std::max(
        0, model.Epoch(producer) + (random() % 40 == 0 ? 1 : 0) - (random() % 20 == 0 ? 1 : 0));
    const bool fresh = epoch != model.Epoch(producer) && random() % 2 == 0;
    std::int64_t sequence = fresh ? 0 : model.NextSequence(producer);
    if (random() % 3 == 0) sequence = std::max<std::int64_t>(0, sequence - random() % 30);
    if (random() % 10 == 0) sequence += random() % 4;
    const auto count = static_cast<std::int32_t>(1 + random() % 4);

    const Batch batch(producer, epoch, static_cast<std::int32_t>(sequence), count, log_end);
    const auto verdict = table.Check(batch.view());
    const std::int64_t expected = model.Verdict(producer, epoch, sequence, count);
    INFO("step " << step << " producer " << producer << " epoch " << epoch << " sequence "
                 << sequence << " count " << count);
    REQUIRE(verdict.ok() == (expected != -2));
    if (!verdict.ok()) continue;
    REQUIRE(verdict->duplicate == (expected >= 0));
    if (verdict->duplicate) {
      REQUIRE(verdict->first_offset == Offset(expected));
      REQUIRE(verdict->next_offset == Offset(expected + count));
      continue;
    }
    Apply(table, batch);
    model.Append(producer, {epoch, sequence, count, log_end});
    log_end += count;
    if (step % 100 == 0) {
      auto again =
          ProducerTable::FromSnapshot(table.Snapshot({{}, Offset(log_end), Offset(0), 900}));
      REQUIRE(again.ok());
      REQUIRE(again->first == table);
      table = std::move(again->first);
    }
  }
}

}  // namespace

TEST_CASE("ProducerTable: agrees with a plain list of all batches, whatever comes",
          "[storage][producers]") {
  for (unsigned seed = 1; seed <= 20; ++seed) RunAgainstModel(seed);
}

}  // namespace cairn::storage
