#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"
#include "storage/epoch_history.h"
#include "storage/file.h"

namespace cairn::storage {

// Walks the batches of one .log file in order, with pread, so that a bad disk is an error code.
// Every batch must be what belongs there: magic, lengths, base offset = the one expected (in a
// cleaned segment: or beyond), its leader epoch that of the history and, unless only headers are
// wanted, its checksum. Only a cleaned segment may have batches without records.
//
//   BatchScan scan(file, {.end = length, .next_offset = base, .epochs = &epochs});
//   while (scan.Next()) { … scan.batch() … }
//   if (!scan.status().ok()) …
class BatchScan {
 public:
  enum class Depth {
    kHeaders,  // batch() has its header only: its bytes past the header must not be looked at
    kWhole,
  };
  struct From {
    std::int64_t position = 0;
    std::int64_t end = 0;  // the bytes that exist or count; a batch that runs past it is invalid
    Offset next_offset;    // expected at `position`
    const EpochHistory* epochs = nullptr;  // null: epochs are not looked at
    Depth depth = Depth::kWhole;
    bool zeros_end = false;  // nothing but zeros up to `end` is the end, not damage
    bool cleaned = false;    // by compaction: offsets only rise, and next_offset is the least
  };

  // `file` and `from.epochs` must outlive the scan.
  BatchScan(const File& file, const From& from);

  // Goes to the next batch. False at the end, at the first invalid batch, or when reading failed.
  bool Next();

  // The batch that Next went to; borrowed until the next call.
  const RecordBatchView& batch() const { return *batch_; }
  // Where batch() begins in the file.
  std::int64_t batch_position() const { return batch_position_; }
  // Where the next batch begins or would, and its offset.
  std::int64_t position() const { return position_; }
  Offset next_offset() const { return next_offset_; }

  // Why Next gave false. OK: the end was reached. kDataLoss: what stands at position() is not the
  // batch that belongs there; names file, position, expected and found. Others: reading failed.
  const absl::Status& status() const { return status_; }

 private:
  bool Fail(absl::Status status);
  absl::Status Damage(std::string_view what) const;
  absl::Status Fetch(std::size_t size);
  absl::Status Look();
  absl::Status CheckPlace(const RecordBatchView& batch) const;
  ByteView here() const;

  const File& file_;
  From from_;
  std::int64_t position_;
  std::int64_t batch_position_ = 0;
  Offset next_offset_;
  std::optional<RecordBatchView> batch_;
  absl::Status status_;
  Bytes buffer_;
  std::int64_t buffer_begin_ = 0;
  std::size_t buffer_size_ = 0;
  std::size_t chunk_;  // how much is read next: little at first, for most tails are short
};

// Whether [position, end) of the file holds only zeros.
absl::StatusOr<bool> IsZero(const File& file, std::int64_t position, std::int64_t end);
// One past the last byte in [position, end) that is not zero; `position` if there is none.
absl::StatusOr<std::int64_t> LastNonZero(const File& file, std::int64_t position, std::int64_t end);

struct FoundBatches {
  std::int64_t count = 0;
  std::size_t end = 0;  // one past the last of them; 0: none
};
// Looks for whole, valid batches with offsets of at least `from` anywhere in `bytes`, at any byte,
// and counts those that do not overlap. For the leftovers of a crash.
FoundBatches FindBatches(ByteView bytes, Offset from);

}  // namespace cairn::storage
