#include "storage/segment_writer.h"

#include <utility>

#include "protocol/check.h"
#include "protocol/status.h"
#include "storage/seeded_bug.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kBufferBytes = 1u << 20;

}  // namespace

absl::StatusOr<SegmentWriter> SegmentWriter::Create(std::filesystem::path path, Offset base,
                                                    std::int64_t index_interval_bytes,
                                                    const Reserve* room) {
  ASSIGN_OR_RETURN(File file, File::CreateOrEmpty(path));
  return SegmentWriter(std::move(file), base, index_interval_bytes, room);
}

SegmentWriter::~SegmentWriter() {
  if (!file_.is_open() || published_) return;
  // A start removes it otherwise.
  (void)RemoveFile(file_.path());
}

absl::Status SegmentWriter::Append(ByteView bytes) {
  const absl::StatusOr<RecordBatchView> batch = RecordBatchView::ParseHeader(bytes);
  CAIRN_CHECK(batch.ok() && batch->size() == bytes.size());
  if (length() == 0) first_batch_ = BatchMark::Of(bytes);
  index_.Note(batch->base_offset(), batch->next_offset(), static_cast<std::int64_t>(bytes.size()),
              batch->max_timestamp());
  fingerprint_->Add(bytes);
  AppendBytes(buffer_, bytes);
  return buffer_.size() < kBufferBytes ? absl::OkStatus() : Flush();
}

absl::Status SegmentWriter::Flush() {
  if (buffer_.empty()) return absl::OkStatus();
  const auto size = static_cast<std::int64_t>(buffer_.size());
  if (room_ != nullptr) RETURN_IF_ERROR(room_->Admit());
  RETURN_IF_ERROR(file_.Reserve(written_, size));
  RETURN_IF_ERROR(file_.WriteAll(written_, buffer_));
  // So that the sync at the end is not one long stall for all who sync beside it.
  file_.StartWriteback(written_, size);
  written_ += size;
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status SegmentWriter::Sync() {
  RETURN_IF_ERROR(Flush());
  return HasBug(SeededBug::kSwapBeforeSync) ? absl::OkStatus() : file_.Sync();
}

absl::Status SegmentWriter::Publish(const std::filesystem::path& path) {
  CAIRN_CHECK(written_ == length());
  RETURN_IF_ERROR(RenameDurably(file_.path(), path));
  published_ = true;
  return absl::OkStatus();
}

}  // namespace cairn::storage
