#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "bench/limits/segment_file.h"
#include "protocol/bytes.h"

namespace cairn::bench {

// A segment that is written through a mapping, whose pages are populated some MiB ahead.
class MappedSegment {
 public:
  static absl::StatusOr<MappedSegment> Open(std::string path);
  MappedSegment(MappedSegment&& other) noexcept;
  MappedSegment& operator=(MappedSegment&&) = delete;
  ~MappedSegment();

  // The next `size` bytes, to be written; at most SegmentFile::kBytesMax.
  absl::StatusOr<MutableBytes> Tail(std::size_t size);
  // They were written.
  void Advance(std::size_t size) { segment_.Advance(size); }

 private:
  explicit MappedSegment(SegmentFile segment) : segment_(std::move(segment)) {}
  absl::Status Map();
  void Unmap();
  absl::Status PopulateTo(std::int64_t end);

  SegmentFile segment_;
  std::byte* mapping_ = nullptr;
  std::int64_t populated_ = 0;  // up to here
};

}  // namespace cairn::bench
