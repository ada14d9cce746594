#include "bench/limits/mapped_segment.h"

#include <algorithm>
#include <sys/mman.h>
#include <utility>

#include "protocol/status.h"

namespace cairn::bench {
namespace {

constexpr std::int64_t kAheadBytes = 4 << 20;

}  // namespace

absl::StatusOr<MappedSegment> MappedSegment::Open(std::string path) {
  ASSIGN_OR_RETURN(SegmentFile segment, SegmentFile::Open(std::move(path), Blocks::kFallocated));
  MappedSegment mapped(std::move(segment));
  RETURN_IF_ERROR(mapped.Map());
  return mapped;
}

MappedSegment::MappedSegment(MappedSegment&& other) noexcept
    : segment_(std::move(other.segment_)),
      mapping_(std::exchange(other.mapping_, nullptr)),
      populated_(other.populated_) {}

MappedSegment::~MappedSegment() { Unmap(); }

absl::Status MappedSegment::Map() {
  void* const address = ::mmap(nullptr, SegmentFile::kBytesMax, PROT_READ | PROT_WRITE, MAP_SHARED,
                               segment_.file().descriptor(), 0);
  if (address == MAP_FAILED) return storage::ErrnoError("map", segment_.file().path(), errno);
  mapping_ = static_cast<std::byte*>(address);
  populated_ = 0;
  return absl::OkStatus();
}

void MappedSegment::Unmap() {
  if (mapping_ != nullptr) ::munmap(mapping_, SegmentFile::kBytesMax);
  mapping_ = nullptr;
}

absl::Status MappedSegment::PopulateTo(std::int64_t end) {
  while (populated_ < end) {
    const std::int64_t size = std::min(kAheadBytes, segment_.reserved() - populated_);
    if (::madvise(mapping_ + populated_, static_cast<std::size_t>(size), MADV_POPULATE_WRITE) !=
        0) {
      return storage::ErrnoError("populate a mapping of", segment_.file().path(), errno);
    }
    populated_ += size;
  }
  return absl::OkStatus();
}

absl::StatusOr<MutableBytes> MappedSegment::Tail(std::size_t size) {
  ASSIGN_OR_RETURN(const bool is_new, segment_.Prepare(size));
  if (is_new) {
    Unmap();
    RETURN_IF_ERROR(Map());
  }
  RETURN_IF_ERROR(PopulateTo(segment_.length() + static_cast<std::int64_t>(size)));
  return MutableBytes(mapping_ + segment_.length(), size);
}

}  // namespace cairn::bench
