#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/record_batch.h"
#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/segment.h"

namespace cairn::storage {
namespace {

// How much one Prepare checks: enough that a sequential reader seldom waits, not so much that the
// first bytes come late.
constexpr std::int64_t kPrepareBytes = 1 << 20;

// Behind the batch at `at`, of bytes that were checked. Should they have been lost since, then what
// stands there need not be a batch: nothing, and the mapping knows.
std::optional<Index::Place> Behind(const MappedFile& mapping, Index::Place at, std::int64_t end) {
  const ByteView bytes = mapping.bytes().subspan(static_cast<std::size_t>(at.position));
  const Offset base(LoadBe<std::int64_t>(bytes, kBaseOffsetAt));
  const std::int32_t last_delta = LoadBe<std::int32_t>(bytes, kLastOffsetDeltaAt);
  const std::int64_t size =
      LoadBe<std::int32_t>(bytes, kBatchLengthAt) + static_cast<std::int64_t>(kBatchLengthOverhead);
  if (base < at.offset || last_delta < 0 || size < static_cast<std::int64_t>(kBatchHeaderBytes) ||
      size > end - at.position) {
    mapping.NoteLost(bytes.data());
    return std::nullopt;
  }
  return Index::Place{base + last_delta + 1, at.position + size};
}

absl::StatusOr<std::optional<Segment::TimeMatch>> FindInBatch(RecordReader& reader,
                                                              const RecordBatchView& batch,
                                                              Timestamp time, Offset start,
                                                              Offset end) {
  RETURN_IF_ERROR(reader.Open(batch, kDecompressedBytesMax));
  RecordView record;
  while (reader.Next(record)) {
    const Timestamp stamp = batch.log_append_time() ? batch.max_timestamp() : record.timestamp;
    if (stamp < time || record.offset < start || record.offset >= end) continue;
    return Segment::TimeMatch{
        .offset = record.offset, .timestamp = stamp, .leader_epoch = batch.leader_epoch()};
  }
  RETURN_IF_ERROR(reader.status());
  return std::nullopt;
}

// What the file gives to a read it need not give to its mapping: for that the kernel may read
// larger pieces, and a piece of which a part cannot be read is none to it. Whoever served such
// bytes would fail, have them checked, and fail again. A file that was cut is left to those who
// check its length.
absl::Status CheckMapped(const MappedFile* mapping, const File& file, std::int64_t begin,
                         std::int64_t end, std::int64_t length) {
  // One that is lost already is mapped anew before it is read.
  if (mapping == nullptr || mapping->is_lost()) return absl::OkStatus();
  CAIRN_CHECK(end <= static_cast<std::int64_t>(mapping->bytes().size()));
  const auto at = static_cast<std::size_t>(begin);
  const absl::Status probed =
      mapping->Probe(mapping->bytes().subspan(at, static_cast<std::size_t>(end) - at));
  if (probed.ok()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  if (size < length) return absl::OkStatus();
  return MakeError(ErrorCode::kStorageFailed, std::string(probed.message()));
}

}  // namespace

absl::StatusOr<Segment::Found> Segment::Read(const Want& want) {
  const std::lock_guard lock(mutex_);
  if (damage_ != nullptr && want.from >= damage_->from) return damage_->status;
  ASSIGN_OR_RETURN(const bool is_open, MapLocked());
  if (!is_open) return Found{.view = {}, .next = want.from, .is_cold = true, .cold_position = -1};
  // Once damage is known, nothing at or behind it is served; before it, the file is what it was.
  if (damage_ == nullptr) {
    ASSIGN_OR_RETURN(const std::int64_t size, file_->Size());
    if (size < extent_.length) return DistrustLocked(want);
  }
  Found found = FindLocked(want);
  return mapping_->is_lost() ? DistrustLocked(want) : std::move(found);
}

Segment::Found Segment::FindLocked(const Want& want) const {
  Walk begin{.place = {.offset = want.from, .position = want.position}};
  if (want.position < 0) begin = WalkLocked(want.from);
  const VerifiedRanges::Range* checked = verified_.Find(begin.place.position);
  if (checked == nullptr) begin.is_cold = true;
  Walk end = begin.is_cold ? begin : EndLocked(want);
  // What was checked does not reach past `want.end`: all of it may be served, whatever stands
  // behind it, be it damage.
  if (!begin.is_cold && end.is_cold && want.end >= checked->next_offset) {
    end = {.place = {.offset = checked->next_offset, .position = checked->end}};
  }
  if (end.is_cold) {
    return Found{
        .view = {}, .next = want.from, .is_cold = true, .cold_position = end.place.position};
  }
  Index::Place stop = end.place;
  if (stop.position > checked->end) stop = {checked->next_offset, checked->end};
  CAIRN_CHECK(stop.position > begin.place.position || mapping_->is_lost());
  stop = StopLocked(begin.place, stop, want.bytes_max);
  const auto size = static_cast<std::size_t>(stop.position - begin.place.position);
  return Found{.view = {.bytes = mapping_->bytes().subspan(
                            static_cast<std::size_t>(begin.place.position), size),
                        .mapping = mapping_},
               .next = stop.offset,
               .next_position = stop.position};
}

// The file was cut under the mapping, or a page of it cannot be read. What was checked does not
// count any more: Prepare reads it again, from the file, and finds what is damaged.
Segment::Found Segment::DistrustLocked(const Want& want) {
  mapping_.reset();
  verified_.Clear();
  const std::int64_t position =
      want.position >= 0 ? want.position : index_->FindOffset(want.from).position;
  return {.view = {}, .next = want.from, .is_cold = true, .cold_position = position};
}

// A descriptor that is open, or that of a growing segment (whose index is always there), needs no
// helper thread: mapping it does not touch the disk.
absl::StatusOr<bool> Segment::MapLocked() {
  if (index_ == nullptr) return false;
  if (mapping_ != nullptr) return true;
  if (file_ == nullptr) {
    if (!growing_) return false;
    ASSIGN_OR_RETURN(File opened, File::OpenForWriting(LogPath()));
    file_ = std::make_shared<File>(std::move(opened));
  }
  ASSIGN_OR_RETURN(mapping_, MappedFile::Map(*file_, std::max(capacity_, extent_.length)));
  std::erase_if(mappings_, [](const auto& mapping) { return mapping.expired(); });
  mappings_.push_back(mapping_);
  return true;
}

// The batch that holds `to`; cold where that leads over bytes that were not checked.
Segment::Walk Segment::WalkLocked(Offset to) const {
  Walk walk{.place = index_->FindOffset(to)};
  while (true) {
    const VerifiedRanges::Range* checked = verified_.Find(walk.place.position);
    if (checked == nullptr) {
      walk.is_cold = true;
      return walk;
    }
    while (walk.place.position < checked->end) {
      const std::optional<Index::Place> next = Behind(*mapping_, walk.place, checked->end);
      walk.is_cold = !next.has_value();
      if (walk.is_cold || next->offset > to) return walk;
      walk.place = *next;
    }
    // Only the end of everything has nothing behind it.
    if (walk.place.offset >= extent_.next_offset) return walk;
  }
}

Segment::Walk Segment::EndLocked(const Want& want) const {
  if (want.end >= extent_.next_offset) {
    return {.place = {.offset = extent_.next_offset, .position = extent_.length}};
  }
  if (want.end_position >= 0) {
    return {.place = {.offset = want.end, .position = want.end_position}};
  }
  return WalkLocked(want.end);
}

Index::Place Segment::StopLocked(Index::Place begin, Index::Place end,
                                 std::size_t bytes_max) const {
  const auto limit = static_cast<std::int64_t>(bytes_max);
  if (end.position - begin.position <= limit) return end;
  const Index::Place known = index_->FindPosition(begin.position + limit);
  if (known.position > begin.position && known.position <= end.position) return known;
  // Batches smaller than the index is fine, or one that is larger than the limit.
  Index::Place stop = begin;
  while (stop.position < end.position) {
    const std::optional<Index::Place> next = Behind(*mapping_, stop, end.position);
    if (!next.has_value()) break;
    if (stop.position > begin.position && next->position - begin.position > limit) break;
    stop = *next;
  }
  return stop;
}

absl::Status Segment::Prepare(std::int64_t position) {
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, Open());
  return position < 0 ? absl::OkStatus() : Check(*file, position);
}

// Descriptor, index and mapping are there afterwards.
absl::StatusOr<std::shared_ptr<File>> Segment::Open() {
  absl::StatusOr<std::shared_ptr<File>> file = Descriptor();
  if (absl::IsNotFound(file.status())) {
    if (IsRemoved()) {
      return absl::AbortedError(LogPath().string() + " was replaced meanwhile; try again");
    }
    return NoteDamage(base_, file.status());
  }
  RETURN_IF_ERROR(file.status());
  bool has_index = false;
  SealedSegment extent;
  {
    const std::lock_guard lock(mutex_);
    has_index = index_ != nullptr;
    extent = extent_;
  }
  absl::Status damage;
  std::unique_ptr<Index> index;
  if (!has_index) {
    ASSIGN_OR_RETURN(const std::int64_t size, (*file)->Size());
    RETURN_IF_ERROR(CheckIsTheRightFile(**file));
    absl::StatusOr<Index> loaded = Index::Load(IndexPath(), base_, extent.length, index_interval_);
    if (!loaded.ok() || size < extent.length || loaded->next_offset() != extent.next_offset) {
      loaded = BuildIndex(**file, extent.length, damage);
    }
    RETURN_IF_ERROR(loaded.status());
    index = std::make_unique<Index>(*std::move(loaded));
  }
  if (!damage.ok()) (void)NoteDamage(index->next_offset(), damage);
  const std::lock_guard lock(mutex_);
  if (index_ == nullptr && index != nullptr) index_ = std::move(index);
  if (file_ == nullptr) file_ = *file;
  RETURN_IF_ERROR(MapLocked().status());
  return *file;
}

bool Segment::IsSealed() const {
  const std::lock_guard lock(mutex_);
  return sealed_;
}

// Another segment's file may have been put in its place.
absl::Status Segment::CheckIsTheRightFile(const File& file) {
  BatchMark expected;
  {
    const std::lock_guard lock(mutex_);
    if (extent_.length > 0) expected = first_batch_;
  }
  const absl::Status status = expected.CheckIn(file);
  return absl::IsDataLoss(status) ? NoteDamage(base_, status) : status;
}

absl::StatusOr<Index> Segment::BuildIndex(const File& file, std::int64_t length,
                                          absl::Status& damage) const {
  Index index(base_, index_interval_);
  BatchScan scan(file, {.end = length,
                        .next_offset = base_,
                        .epochs = &place_->epochs,
                        .depth = BatchScan::Depth::kHeaders,
                        .cleaned = generation() > 0});
  while (scan.Next()) {
    const RecordBatchView& batch = scan.batch();
    index.Note(batch.base_offset(), batch.next_offset(), static_cast<std::int64_t>(batch.size()),
               batch.max_timestamp());
  }
  if (absl::IsDataLoss(scan.status())) {
    damage = scan.status();
  } else {
    RETURN_IF_ERROR(scan.status());
  }
  return index;
}

// Finds where a file that is shorter than it was damages the segment.
absl::Status Segment::CheckLength(const File& file) {
  // In this order, for it may grow meanwhile.
  const SealedSegment extent = Extent();
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  if (size >= extent.length) return absl::OkStatus();
  Index::Place from{.offset = base_, .position = 0};
  {
    const std::lock_guard lock(mutex_);
    if (index_ != nullptr) from = index_->FindPosition(size);
  }
  BatchScan scan(file, {.position = from.position,
                        .end = extent.length,
                        .next_offset = from.offset,
                        .epochs = &place_->epochs,
                        .depth = BatchScan::Depth::kHeaders});
  Offset whole = from.offset;
  while (scan.Next() && scan.position() <= size) whole = scan.next_offset();
  return NoteDamage(whole,
                    absl::DataLossError(absl::StrFormat(
                        "%s, position %d: expected %d bytes, found %d: the file was cut short",
                        file.path().string(), size, extent.length, size)));
}

absl::Status Segment::Check(const File& file, std::int64_t position) {
  if (!damage().has_value()) (void)CheckLength(file);
  for (bool is_again = false;; is_again = true) {
    Index::Place from;
    SealedSegment extent;
    std::shared_ptr<const MappedFile> mapping;
    {
      const std::lock_guard lock(mutex_);
      if (damage_ != nullptr && index_ != nullptr && position >= index_->log_length()) {
        return damage_->status;
      }
      if (index_ == nullptr) return absl::OkStatus();  // closed meanwhile; Read will ask again
      from = index_->FindPosition(position);
      if (const VerifiedRanges::Range* checked = verified_.Find(from.position)) {
        from = {checked->next_offset, checked->end};
      }
      extent = extent_;
      mapping = mapping_;
    }
    BatchScan scan(file, {.position = from.position,
                          .end = extent.length,
                          .next_offset = from.offset,
                          .epochs = &place_->epochs,
                          .cleaned = generation() > 0});
    const std::int64_t target = std::max(position, from.position) + kPrepareBytes;
    while (scan.position() < target && scan.Next()) {
    }
    RETURN_IF_ERROR(
        CheckMapped(mapping.get(), file, from.position, scan.position(), extent.length));
    {
      const std::lock_guard lock(mutex_);
      verified_.Add(
          {.begin = from.position, .end = scan.position(), .next_offset = scan.next_offset()});
    }
    if (scan.status().ok()) return absl::OkStatus();
    if (!absl::IsDataLoss(scan.status())) return scan.status();
    // The index is derived: before the log is blamed, it is built again.
    ASSIGN_OR_RETURN(const bool renewed, is_again ? absl::StatusOr<bool>(false) : RenewIndex(file));
    if (!renewed) return NoteDamage(scan.next_offset(), scan.status());
  }
}

// Builds the index again from the headers; false if it was right.
absl::StatusOr<bool> Segment::RenewIndex(const File& file) {
  absl::Status damage;
  ASSIGN_OR_RETURN(Index built, BuildIndex(file, Extent().length, damage));
  if (!damage.ok()) (void)NoteDamage(built.next_offset(), damage);
  const std::lock_guard lock(mutex_);
  if (growing_) return false;  // noted as it grew
  if (index_ != nullptr && index_->entries() == built.entries()) return false;
  index_ = std::make_unique<Index>(std::move(built));
  return true;
}

absl::Status Segment::NoteWrongEnd(const BatchScan& scan, Offset expected) {
  return NoteDamage(
      scan.next_offset(),
      absl::DataLossError(absl::StrFormat(
          "%s, position %d: expected to end before offset %d, found %d", LogPath().string(),
          scan.position(), expected.value(), scan.next_offset().value())));
}

absl::Status Segment::NoteDamage(Offset from, const absl::Status& what) {
  if (IsRemoved()) {
    return absl::UnavailableError(LogPath().string() + " was dropped while it was read; try again");
  }
  std::string reason(what.message());
  if (place_->damaged_segments != nullptr) {
    const absl::Status noted = place_->damaged_segments->Add({base_, generation()});
    if (!noted.ok()) {
      reason += absl::StrFormat("; it could not be noted for the next start: %s",
                                std::string(noted.message()));
    }
  }
  const absl::Status status = MakeError(ErrorCode::kPartitionOffline, reason);
  const std::lock_guard lock(mutex_);
  if (damage_ == nullptr || from < damage_->from) {
    damage_ = std::make_unique<Damage>(Damage{.from = from, .status = status});
  }
  place_->damaged.store(true);
  return status;
}

bool Segment::IsRemoved() const {
  const std::lock_guard lock(mutex_);
  return removed_;
}

std::optional<Segment::Damage> Segment::damage() const {
  const std::lock_guard lock(mutex_);
  return damage_ == nullptr ? std::nullopt : std::optional<Damage>(*damage_);
}

absl::StatusOr<std::optional<Segment::TimeMatch>> Segment::FindTime(Timestamp time, Offset start,
                                                                    Offset end) {
  if (Extent().max_timestamp < time) return std::nullopt;
  ASSIGN_OR_RETURN(const std::shared_ptr<File> file, Open());
  Index::Place from;
  std::int64_t length = 0;
  {
    const std::lock_guard lock(mutex_);
    if (index_ == nullptr) {
      return absl::UnavailableError(LogPath().string() + " was closed meanwhile; try again");
    }
    if (index_->empty() || index_->max_timestamp() < time) return std::nullopt;
    from = index_->FindTime(time);
    if (const Index::Place at = index_->FindOffset(start); at.position > from.position) from = at;
    length = index_->log_length();
  }
  BatchScan scan(*file, {.position = from.position,
                         .end = length,
                         .next_offset = from.offset,
                         .epochs = &place_->epochs,
                         .cleaned = generation() > 0});
  RecordReader reader;
  while (scan.Next() && scan.batch().base_offset() < end) {
    const RecordBatchView& batch = scan.batch();
    if (batch.max_timestamp() < time || batch.next_offset() <= start) continue;
    ASSIGN_OR_RETURN(const std::optional<TimeMatch> match,
                     FindInBatch(reader, batch, time, start, end));
    if (match.has_value()) return match;
  }
  if (absl::IsDataLoss(scan.status())) return NoteDamage(scan.next_offset(), scan.status());
  RETURN_IF_ERROR(scan.status());
  return std::nullopt;
}

}  // namespace cairn::storage
