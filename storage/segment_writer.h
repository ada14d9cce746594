#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"
#include "storage/batch_mark.h"
#include "storage/file.h"
#include "storage/fingerprint.h"
#include "storage/index.h"
#include "storage/reserve.h"

namespace cairn::storage {

// Writes the .log file of a cleaned segment under a name for the time being, and gathers what the
// manifest will say of it. What is not finished is removed by the destructor, by that name.
//
// Threads: one at a time.
class SegmentWriter {
 public:
  // Empties `path` if it is there. Takes blocks only while `room` admits it; null: always.
  static absl::StatusOr<SegmentWriter> Create(std::filesystem::path path, Offset base,
                                              std::int64_t index_interval_bytes,
                                              const Reserve* room);
  SegmentWriter(SegmentWriter&&) = default;
  SegmentWriter& operator=(SegmentWriter&&) = delete;
  ~SegmentWriter();

  // The next batch, by its bytes; its offsets are above those before.
  //   ErrorCode::kStorageFull, kStorageFailed
  absl::Status Append(ByteView batch);

  // Waits until all of it is on stable storage.
  absl::Status Sync();
  // Gives the file its name for good, durably. Requires Sync.
  absl::Status Publish(const std::filesystem::path& path);

  std::int64_t length() const { return index_.log_length(); }
  Offset next_offset() const { return index_.next_offset(); }
  Timestamp max_timestamp() const { return index_.max_timestamp(); }
  std::uint64_t fingerprint() const { return fingerprint_->value(); }
  const BatchMark& first_batch() const { return first_batch_; }
  const Index& index() const { return index_; }

 private:
  SegmentWriter(File file, Offset base, std::int64_t index_interval_bytes, const Reserve* room)
      : file_(std::move(file)),
        room_(room),
        index_(base, index_interval_bytes),
        fingerprint_(std::make_unique<Fingerprint>()) {}
  absl::Status Flush();

  File file_;
  const Reserve* room_;
  Index index_;
  std::unique_ptr<Fingerprint> fingerprint_;
  BatchMark first_batch_;
  Bytes buffer_;
  std::int64_t written_ = 0;
  bool published_ = false;
};

}  // namespace cairn::storage
