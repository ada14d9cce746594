#include "bench/limits/segment_file.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_format.h"

#include "protocol/status.h"

namespace cairn::bench {
namespace {

// As in storage/segment.cc: the blocks that are allocated at once grow with the file.
constexpr std::int64_t kStepMin = 64 << 10;
constexpr std::int64_t kStepMax = 32 << 20;
constexpr std::int64_t kPage = 4096;

// Up to the end of the page, so that all blocks can be mapped.
std::int64_t PagesOf(std::int64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

absl::StatusOr<Blocks> ParseBlocks(std::string_view variant) {
  if (variant == "growing") return Blocks::kGrowing;
  if (variant == "fallocated" || variant.empty()) return Blocks::kFallocated;
  if (variant == "written") return Blocks::kWritten;
  return absl::InvalidArgumentError(
      absl::StrFormat("variant '%s': growing, fallocated or written", variant));
}

absl::StatusOr<SegmentFile> SegmentFile::Open(std::string path, Blocks blocks) {
  SegmentFile segment(std::move(path), blocks);
  RETURN_IF_ERROR(segment.StartAnew());
  RETURN_IF_ERROR(storage::SyncDirectory(std::filesystem::path(segment.path_).parent_path()));
  if (blocks == Blocks::kWritten) RETURN_IF_ERROR(segment.WriteBefore());
  return segment;
}

absl::Status SegmentFile::StartAnew() {
  if (file_.is_open()) RETURN_IF_ERROR(storage::RemoveFile(path_));
  ASSIGN_OR_RETURN(file_, storage::File::Create(path_));
  length_ = reserved_ = 0;
  return absl::OkStatus();
}

absl::Status SegmentFile::WriteBefore() {
  const Bytes zeros(1 << 20);
  while (reserved_ < bytes_max_) {
    const std::int64_t size =
        std::min<std::int64_t>(static_cast<std::int64_t>(zeros.size()), bytes_max_ - reserved_);
    RETURN_IF_ERROR(
        file_.WriteAll(reserved_, ByteView(zeros).first(static_cast<std::size_t>(size))));
    reserved_ += size;
  }
  return file_.Sync();
}

absl::StatusOr<bool> SegmentFile::Prepare(std::size_t size) {
  const bool is_full = length_ > 0 && length_ + static_cast<std::int64_t>(size) > bytes_max_;
  if (is_full && blocks_ == Blocks::kWritten) length_ = 0;
  if (is_full && blocks_ != Blocks::kWritten) RETURN_IF_ERROR(StartAnew());
  const std::int64_t needed = length_ + static_cast<std::int64_t>(size);
  if (blocks_ != Blocks::kFallocated || needed <= reserved_) return is_full;
  const std::int64_t step = std::clamp(reserved_, kStepMin, kStepMax);
  const std::int64_t target = std::min(std::max(reserved_ + step, PagesOf(needed) + kStepMin),
                                       std::max(bytes_max_, PagesOf(needed)));
  RETURN_IF_ERROR(file_.Reserve(reserved_, target - reserved_));
  reserved_ = target;
  return is_full;
}

absl::Status SegmentFile::Append(ByteView bytes) {
  RETURN_IF_ERROR(Prepare(bytes.size()).status());
  RETURN_IF_ERROR(file_.WriteAll(length_, bytes));
  Advance(bytes.size());
  return absl::OkStatus();
}

}  // namespace cairn::bench
