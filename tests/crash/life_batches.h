#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"

namespace cairn::storage {

// What a log keeps of the batches that it is sent.
enum class Keeps {
  kAll,
  kNewestOfKey,  // it is compacted
};

// The batches of a log's life: each carries the number of the attempt to append it, and all else in
// it follows from that number.
class LifeBatches {
 public:
  static constexpr std::int32_t kRecords = 3;  // in a batch

  struct Record {
    std::optional<std::string> key;  // some come again and again, some never
    std::optional<std::string> value;
  };

  explicit LifeBatches(Keeps keeps) : keeps_(keeps) {}

  Bytes Make(std::size_t number) const;
  std::vector<Record> RecordsOf(std::size_t number) const;
  // The number of a batch that is as Make made it but for what the log stamps, and for records that
  // compaction took.
  std::optional<std::size_t> NumberOf(const RecordBatchView& batch) const;

 private:
  bool HoldsOnlyRecordsOf(std::size_t number, const RecordBatchView& batch) const;

  Keeps keeps_;
};

}  // namespace cairn::storage
