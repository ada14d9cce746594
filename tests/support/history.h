#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/types.h"

// What the workers of a run did and what came back, for history_checker.h. Each worker appends to a
// part of its own, so that nothing here needs a lock; the checker reads it when all have ended.
//
// Times are nanoseconds of the monotonic clock. Partitions are places in History::partitions.
namespace cairn::test {

// What a record carries: it is sent once, by one producer, so that it can be known again anywhere.
using Value = std::uint64_t;
inline constexpr int kSequenceBits = 40;
constexpr Value MakeValue(int producer, std::int64_t sequence) {
  return (static_cast<Value>(producer) << kSequenceBits) | static_cast<Value>(sequence);
}
constexpr int ProducerOf(Value value) { return static_cast<int>(value >> kSequenceBits); }
constexpr std::int64_t SequenceOf(Value value) {
  return static_cast<std::int64_t>(value & ((Value{1} << kSequenceBits) - 1));
}

// One record that a producer sent; its producer and sequence are its place in History::sends.
struct SentRecord {
  enum class Outcome : std::uint8_t { kAppended, kRefused, kUnknown };

  std::int64_t invoked = 0;
  std::int64_t returned = 0;
  std::int64_t offset = -1;
  std::int32_t partition = 0;
  Outcome outcome = Outcome::kUnknown;
  Durability promised = Durability::kNone;
};

// One thing that a reader was told, in its order.
struct ReadStep {
  enum class Kind : std::uint8_t {
    kAssigned,   // it begins anew, at `offset` (-1: wherever); what it read before is forgotten
    kRecord,     // `value` at `offset`
    kTrimmed,    // [offset, to) was dropped before it was read
    kTruncated,  // [offset, to) was taken back by a power cut
    kFailed,     // the partition is read no further
    kReleased,   // the partition is its concern no more
  };

  std::int64_t time = 0;
  std::int64_t offset = -1;
  Value value = 0;  // of a record; of a notice, `to`
  std::int32_t partition = 0;
  Kind kind = Kind::kRecord;

  std::int64_t to() const { return static_cast<std::int64_t>(value); }
};

struct Reader {
  std::string name;
  std::vector<ReadStep> steps;
  std::vector<std::string> failures;  // one for each kFailed
};

// Somebody asked, from `invoked` on, where a partition's readable records end.
struct EndRead {
  std::int64_t invoked = 0;
  std::int64_t end = 0;
  std::int32_t partition = 0;
};

struct Fault {
  enum class Kind { kKill, kPowerCut };
  Kind kind = Kind::kKill;
  std::int64_t over = 0;  // from then on the broker was certainly gone
};

// What a partition holds when all is over.
struct FinalRead {
  struct Record {
    std::int64_t offset;
    Value value;
  };
  std::int64_t log_start = 0;
  std::vector<Record> records;  // in the order in which they were read
};

// A partition and what it promises.
struct PartitionRules {
  enum class Keeps {
    kAll,
    kFromLogStart,  // retention or trims take from the front
    kNewestOfKey,   // compaction takes what a later record of the same key replaces
  };

  std::string name;  // "orders:0"
  Durability durability = Durability::kDurable;
  Keeps keeps = Keeps::kAll;
};

struct History {
  // On compacted topics, a record's key is its producer and its sequence modulo this.
  std::int64_t keys_per_producer = 1;
  std::vector<PartitionRules> partitions;
  std::vector<std::vector<SentRecord>> sends;  // [producer][sequence]
  std::vector<Reader> readers;
  std::vector<EndRead> end_reads;
  std::vector<Fault> faults;          // in the order in which they happened
  std::vector<FinalRead> final_read;  // [partition]
};

}  // namespace cairn::test
