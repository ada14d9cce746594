#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "storage/file.h"

namespace cairn::bench {

// What stands where a file is appended to.
enum class Blocks {
  kGrowing,     // nothing: the file grows with each write
  kFallocated,  // blocks allocated in steps, as those of the broker's segments
  kWritten,     // zeros, written and made durable before
};

// "growing", "fallocated" or "written"; empty: fallocated.
//   kInvalidArgument  anything else
absl::StatusOr<Blocks> ParseBlocks(std::string_view variant);

// A file that is appended to like a segment. Where it would be longer than a segment, it is deleted
// and one is started anew; where its blocks are written before, it is started over.
class SegmentFile {
 public:
  static constexpr std::int64_t kBytesMax = 1 << 30;
  // What is written before costs time: as much as is needed to be sure that a disk's cache of a few
  // blocks does not help.
  static constexpr std::int64_t kWrittenBytes = 64 << 20;

  static absl::StatusOr<SegmentFile> Open(std::string path, Blocks blocks);

  // Makes sure of blocks for the next `size` bytes; true where a file was started anew for that.
  absl::StatusOr<bool> Prepare(std::size_t size);
  absl::Status Append(ByteView bytes);
  // For who wrote `size` prepared bytes there in another way.
  void Advance(std::size_t size) { length_ += static_cast<std::int64_t>(size); }
  absl::Status Sync() const { return file_.Sync(); }

  const storage::File& file() const { return file_; }
  std::int64_t length() const { return length_; }
  // The end of the blocks that are there.
  std::int64_t reserved() const { return reserved_; }

 private:
  SegmentFile(std::string path, Blocks blocks)
      : path_(std::move(path)),
        blocks_(blocks),
        bytes_max_(blocks == Blocks::kWritten ? kWrittenBytes : kBytesMax) {}
  absl::Status StartAnew();
  absl::Status WriteBefore();

  std::string path_;
  Blocks blocks_;
  std::int64_t bytes_max_;
  storage::File file_;
  std::int64_t length_ = 0;
  std::int64_t reserved_ = 0;
};

}  // namespace cairn::bench
