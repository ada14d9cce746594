#include "storage/segment.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/fingerprint.h"
#include "storage/seeded_bug.h"
#include "storage/segment_name.h"

namespace cairn::storage {
namespace {

constexpr std::int64_t kReserveMin = 64 << 10;
constexpr std::int64_t kReserveMax = 32 << 20;
// Positions in the index have 32 bits.
constexpr std::int64_t kSegmentBytesMax = std::int64_t{2} << 30;

std::int64_t Capacity(const LogOptions& options, std::int64_t at_least) {
  return std::max(std::min(options.segment_bytes, kSegmentBytesMax), at_least);
}

}  // namespace

Segment::Segment(std::shared_ptr<LogPlace> place, Offset base, const LogOptions& options,
                 SegmentCleaning cleaning)
    : place_(std::move(place)),
      base_(base),
      cleaning_(cleaning),
      index_interval_(options.index_interval_bytes) {}

absl::StatusOr<std::shared_ptr<Segment>> Segment::Create(std::shared_ptr<LogPlace> place,
                                                         Offset base, const LogOptions& options,
                                                         std::size_t first_size, Timestamp now) {
  std::shared_ptr<Segment> segment(new Segment(std::move(place), base, options, {}));
  segment->extent_ = {.next_offset = base,
                      .length = 0,
                      .first_append_time = now,
                      .last_append_time = now,
                      .max_timestamp = kNoTimestamp,
                      .fingerprint = 0};
  segment->capacity_ = Capacity(options, static_cast<std::int64_t>(first_size));
  segment->growing_ = true;
  ASSIGN_OR_RETURN(File file, File::Create(segment->LogPath()));
  segment->file_ = std::make_shared<File>(std::move(file));
  segment->index_ = std::make_unique<Index>(base, options.index_interval_bytes);
  segment->fingerprint_ = std::make_unique<Fingerprint>();
  if (absl::Status reserved = segment->ReserveFor(*segment->file_, first_size); !reserved.ok()) {
    RETURN_IF_ERROR(RemoveFile(segment->LogPath()));
    return reserved;
  }
  return segment;
}

std::shared_ptr<Segment> Segment::OnDisk(std::shared_ptr<LogPlace> place, Offset base,
                                         const SealedSegment& extent, bool is_sealed,
                                         const LogOptions& options, const BatchMark& first_batch,
                                         SegmentCleaning cleaning) {
  std::shared_ptr<Segment> segment(new Segment(std::move(place), base, options, cleaning));
  segment->first_batch_ = first_batch;
  segment->extent_ = extent;
  segment->sealed_ = is_sealed;
  segment->synced_length_ = extent.length;
  segment->capacity_ = extent.length;
  return segment;
}

std::filesystem::path Segment::LogPath() const {
  return place_->directory / LogFileName(base_, generation());
}
std::filesystem::path Segment::IndexPath() const {
  return place_->directory / IndexFileName(base_, generation());
}

absl::Status Segment::Continue(const LogOptions& options, Timestamp now) {
  CAIRN_CHECK(!growing_ && !sealing_ && generation() == 0);
  ASSIGN_OR_RETURN(File opened, File::OpenForWriting(LogPath()));
  auto file = std::make_shared<File>(std::move(opened));
  auto index = std::make_unique<Index>(base_, index_interval_);
  ASSIGN_OR_RETURN(const SealedSegment whole, ReadWhole(*file, *index));
  // Whatever stands behind the end must never fit there later.
  if (!HasBug(SeededBug::kTailNotCut)) RETURN_IF_ERROR(file->Truncate(extent_.length));
  const std::lock_guard lock(mutex_);
  extent_.max_timestamp = whole.max_timestamp;
  extent_.first_append_time = std::min(extent_.first_append_time, now);
  extent_.last_append_time = std::min(extent_.last_append_time, now);
  file_ = std::move(file);
  index_ = std::move(index);
  mapping_.reset();
  verified_.Clear();
  verified_.Add({.begin = 0, .end = extent_.length, .next_offset = extent_.next_offset});
  reserved_ = extent_.length;
  capacity_ = Capacity(options, extent_.length);
  growing_ = true;
  return absl::OkStatus();
}

bool Segment::HasRoomFor(std::size_t size, std::int64_t offsets, std::int64_t segment_bytes) const {
  const std::int64_t end = extent_.length + static_cast<std::int64_t>(size);
  const std::int64_t span = extent_.next_offset - base_ + offsets;
  if (span > std::int64_t{UINT32_MAX}) return false;
  // An empty one takes a batch of any size: rolling would not help.
  return extent_.length == 0 || end <= std::min(segment_bytes, capacity_);
}

absl::Status Segment::ReserveFor(const File& file, std::size_t size) {
  const std::int64_t needed = extent_.length + static_cast<std::int64_t>(size);
  if (needed <= reserved_) return absl::OkStatus();
  Reserve& room = place_->reserve;
  if (!place_->uses_reserve) RETURN_IF_ERROR(room.Admit());
  const std::int64_t step = std::clamp(reserved_, kReserveMin, kReserveMax);
  const std::int64_t target =
      std::min(std::max(reserved_ + step, needed + kReserveMin), std::max(capacity_, needed));
  absl::Status reserved = file.Reserve(reserved_, target - reserved_);
  if (CodeOf(reserved) == ErrorCode::kStorageFull && (target > needed || place_->uses_reserve)) {
    // Nearly full: what is needed now may still fit.
    RETURN_IF_ERROR(file.Truncate(reserved_));
    const auto reserve = [&] { return file.Reserve(reserved_, needed - reserved_); };
    reserved = place_->uses_reserve ? room.Through(reserve) : reserve();
    if (reserved.ok()) {
      reserved_ = needed;
      return reserved;
    }
  }
  if (!reserved.ok()) return RollBack(file, reserved);
  reserved_ = target;
  return reserved;
}

// Cuts what an unfinished write may have left, so that no remains can fit later.
absl::Status Segment::RollBack(const File& file, const absl::Status& why) {
  RETURN_IF_ERROR(file.Truncate(extent_.length));
  reserved_ = extent_.length;
  return why;
}

absl::Status Segment::Append(ByteView batch, Offset next_offset, Timestamp max_timestamp,
                             Timestamp now) {
  CAIRN_CHECK(growing_);
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, Descriptor());
  if (const auto end = extent_.length + static_cast<std::int64_t>(batch.size()); end > capacity_) {
    const std::lock_guard lock(mutex_);
    capacity_ = end;
    mapping_.reset();
  }
  // Behind a file that somebody cut, a batch would stand after a gap.
  RETURN_IF_ERROR(CheckLength(*file));
  RETURN_IF_ERROR(ReserveFor(*file, batch.size()));
  if (absl::Status written = file->WriteAll(extent_.length, batch); !written.ok()) {
    return RollBack(*file, written);
  }
  if (fingerprint_ != nullptr) fingerprint_->Add(batch);
  const std::lock_guard lock(mutex_);
  const auto size = static_cast<std::int64_t>(batch.size());
  index_->Note(extent_.next_offset, next_offset, size, max_timestamp);
  if (extent_.length == 0) first_batch_ = BatchMark::Of(batch);
  verified_.Add(
      {.begin = extent_.length, .end = extent_.length + size, .next_offset = next_offset});
  extent_.length += size;
  extent_.next_offset = next_offset;
  extent_.max_timestamp = std::max(extent_.max_timestamp, max_timestamp);
  extent_.last_append_time = std::max(extent_.last_append_time, now);
  return absl::OkStatus();
}

void Segment::Finish() {
  const std::lock_guard lock(mutex_);
  growing_ = false;
}

SealedSegment Segment::Extent() const {
  const std::lock_guard lock(mutex_);
  return extent_;
}

absl::StatusOr<std::shared_ptr<File>> Segment::Descriptor() {
  bool for_reading = false;
  {
    const std::lock_guard lock(mutex_);
    if (file_ != nullptr) return file_;
    for_reading = sealed_;
  }
  ASSIGN_OR_RETURN(File opened,
                   for_reading ? File::OpenForReading(LogPath()) : File::OpenForWriting(LogPath()));
  auto file = std::make_shared<File>(std::move(opened));
  const std::lock_guard lock(mutex_);
  if (file_ == nullptr) file_ = std::move(file);
  return file_;
}

std::shared_ptr<const File> Segment::OpenFile() const {
  const std::lock_guard lock(mutex_);
  return file_;
}

// Where the file is closed, everything was synced meanwhile.
absl::Status Segment::Sync() const {
  const std::shared_ptr<const File> file = OpenFile();
  return file == nullptr ? absl::OkStatus() : file->Sync();
}

absl::Status Segment::SyncFailure() const {
  const std::shared_ptr<const File> file = OpenFile();
  return file == nullptr ? absl::OkStatus() : file->SyncFailure();
}

void Segment::MarkSynced(std::int64_t length) { synced_length_ = std::max(synced_length_, length); }

absl::StatusOr<SealedSegment> Segment::ReadWhole(const File& file, Index& index) {
  RETURN_IF_ERROR(CheckIsTheRightFile(file));
  const SealedSegment expected = Extent();
  SealedSegment found = expected;
  Fingerprint fingerprint;
  BatchScan scan(file, {.end = expected.length, .next_offset = base_, .epochs = &place_->epochs});
  while (scan.Next()) {
    const RecordBatchView& batch = scan.batch();
    fingerprint.Add(batch.bytes());
    index.Note(batch.base_offset(), batch.next_offset(), static_cast<std::int64_t>(batch.size()),
               batch.max_timestamp());
  }
  if (absl::IsDataLoss(scan.status())) return NoteDamage(scan.next_offset(), scan.status());
  RETURN_IF_ERROR(scan.status());
  if (scan.next_offset() != expected.next_offset) return NoteWrongEnd(scan, expected.next_offset);
  found.max_timestamp = index.max_timestamp();
  found.fingerprint = fingerprint.value();
  return found;
}

// Of a segment that this process wrote from its beginning all is known. Reading it again would only
// tell what the page cache has, not what the disk will have: that is for the scrubber.
absl::StatusOr<SealedSegment> Segment::Summarize(const File& file, Index& index) {
  if (fingerprint_ == nullptr) return ReadWhole(file, index);
  RETURN_IF_ERROR(CheckIsTheRightFile(file));
  RETURN_IF_ERROR(CheckLength(file));
  const std::lock_guard lock(mutex_);
  if (damage_ != nullptr) return damage_->status;
  index = *index_;
  SealedSegment sealed = extent_;
  sealed.fingerprint = fingerprint_->value();
  return sealed;
}

absl::Status Segment::BeginSeal() {
  sealing_ = true;
  return Descriptor().status();
}

absl::StatusOr<SealedSegment> Segment::Seal() {
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, Descriptor());
  RETURN_IF_ERROR(file->Sync());
  Index index(base_, index_interval_);
  ASSIGN_OR_RETURN(const SealedSegment sealed, Summarize(*file, index));
  ASSIGN_OR_RETURN(const std::int64_t size, file->Size());
  if (size != sealed.length) {
    RETURN_IF_ERROR(file->Truncate(sealed.length));
    RETURN_IF_ERROR(file->Sync());
  }
  RETURN_IF_ERROR(index.Save(IndexPath()));
  return sealed;
}

void Segment::EndSeal(const std::optional<SealedSegment>& sealed) {
  const std::lock_guard lock(mutex_);
  sealing_ = false;
  fingerprint_.reset();
  if (!sealed.has_value()) return;
  sealed_ = true;
  extent_ = *sealed;
  synced_length_ = extent_.length;
}

void Segment::MarkReopened() {
  const std::lock_guard lock(mutex_);
  sealed_ = false;
}

absl::Status Segment::CloseClean() {
  Finish();
  if (sealed_) return absl::OkStatus();
  CAIRN_CHECK(unsynced() == 0);
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, Descriptor());
  RETURN_IF_ERROR(CheckLength(*file));
  ASSIGN_OR_RETURN(const std::int64_t size, file->Size());
  if (size != extent_.length) {
    RETURN_IF_ERROR(file->Truncate(extent_.length));
    RETURN_IF_ERROR(file->Sync());
  }
  const std::lock_guard lock(mutex_);
  if (index_ != nullptr && damage_ == nullptr) RETURN_IF_ERROR(index_->Save(IndexPath()));
  return absl::OkStatus();
}

int Segment::CloseIdle() {
  if (unsynced() > 0 || sealing_) return 0;
  fingerprint_.reset();
  const std::lock_guard lock(mutex_);
  const int freed = file_ == nullptr ? 0 : 1;
  file_.reset();
  mapping_.reset();
  if (!growing_) {
    index_.reset();
    verified_.Clear();
  }
  return freed;
}

int Segment::open_files() const {
  const std::lock_guard lock(mutex_);
  return file_ == nullptr ? 0 : 1;
}

absl::Status Segment::Remove() {
  RemovedFiles::Mappings mappings;
  {
    const std::lock_guard lock(mutex_);
    removed_ = true;
    mapping_.reset();
    mappings = mappings_;
  }
  RETURN_IF_ERROR(RemoveFile(IndexPath()));
  return place_->removed_files.Remove(LogPath(), std::move(mappings));
}

}  // namespace cairn::storage
