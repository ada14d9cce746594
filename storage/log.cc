#include "storage/log.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/seeded_bug.h"

namespace cairn::storage {

Log::Log(DataDir& data_dir, LogIdentity identity, const LogOptions& options)
    : data_dir_(data_dir),
      identity_(std::move(identity)),
      options_(options),
      place_(new LogPlace{.directory = data_dir.PartitionPath(identity_),
                          .removed_files = data_dir.removed_files(),
                          .reserve = data_dir.reserve(),
                          .uses_reserve = options.uses_reserve,
                          .damaged_segments = std::make_unique<DamagedSegments>(
                              data_dir.PartitionPath(identity_), id(), data_dir.reserve())}) {}

Log::~Log() = default;

Offset Log::log_start() const { return log_start_; }
Offset Log::log_end() const { return log_end_; }
LeaderEpoch Log::leader_epoch() const { return place_->epochs.current(); }

LeaderEpoch Log::EpochBefore(Offset offset) const {
  return offset <= Offset(0) ? kNoEpoch : place_->epochs.At(offset - 1);
}

Offset Log::EndOfEpoch(LeaderEpoch epoch) const { return place_->epochs.EndOf(epoch, log_end_); }

std::int64_t Log::bytes() const {
  std::int64_t sum = 0;
  for (const auto& segment : segments_) sum += segment->length();
  return sum;
}

std::int32_t Log::segment_count() const { return static_cast<std::int32_t>(segments_.size()); }
const absl::Status& Log::write_state() const { return write_state_; }
const ProducerTable& Log::producers() const { return producers_; }
void Log::set_options(const LogOptions& options) { options_ = options; }
std::vector<std::shared_ptr<Segment>> Log::Segments() const { return segments_; }
void Log::ExpireProducers(Timestamp before) { producers_.Expire(before); }

// Remembers what is final.
absl::Status Log::Judge(const absl::Status& status) {
  if (status.ok()) return status;
  NoticeDamage();
  if (CodeOf(status) == ErrorCode::kStorageFull) data_dir_.reserve().NoteFull();
  const bool is_final =
      CodeOf(status) == ErrorCode::kStorageFailed || HasBug(SeededBug::kFullDiskIsFinal);
  if (write_state_.ok() && is_final) write_state_ = status;
  return status;
}

void Log::NoticeDamage() {
  if (!place_->damaged.load(std::memory_order_relaxed)) return;
  for (const auto& segment : segments_) {
    const std::optional<Segment::Damage> damage = segment->damage();
    if (!damage.has_value()) continue;
    if (offline_from_ == kNoOffset || damage->from < offline_from_) {
      offline_from_ = damage->from;
      damage_ = damage->status;
    }
    break;
  }
  if (write_state_.ok()) write_state_ = damage_;
}

absl::StatusOr<Offset> Log::Append(MutableBytes batch, Timestamp now) {
  NoticeDamage();
  if (!write_state_.ok()) return write_state_;
  const absl::StatusOr<RecordBatchView> view = RecordBatchView::ParseHeader(batch);
  CAIRN_CHECK(view.ok() && view->size() == batch.size());
  const std::int64_t offsets = std::int64_t{view->last_offset_delta()} + 1;
  RETURN_IF_ERROR(Judge(MakeRoom(batch, offsets, now)));
  const Offset base = log_end_;
  StampBatch(batch, base, leader_epoch());
  RETURN_IF_ERROR(
      Judge(segments_.back()->Append(batch, base + offsets, view->max_timestamp(), now)));
  producers_.Apply(*view, now);
  bytes_since_snapshot_ += static_cast<std::int64_t>(batch.size());
  log_end_ = base + offsets;
  return base;
}

absl::Status Log::MakeRoom(ByteView batch, std::int64_t offsets, Timestamp now) {
  if (segments_.empty()) return BeginSegment(batch, now);
  const Segment& last = *segments_.back();
  if (last.is_growing()) {
    const bool is_old =
        last.length() > 0 && now - last.extent().first_append_time >= options_.roll_ms();
    if (is_old || !last.HasRoomFor(batch.size(), offsets, SegmentBytes())) {
      return BeginSegment(batch, now);
    }
    return last.length() > 0 ? absl::OkStatus() : NoteFirst(batch);
  }
  if (last.length() == 0) {
    RETURN_IF_ERROR(ContinueLast(now));
    return NoteFirst(batch);
  }
  const std::int64_t length = last.length() + static_cast<std::int64_t>(batch.size());
  if (MayContinue(last, now) && length <= SegmentBytes()) return ContinueLast(now);
  return BeginSegment(batch, now);
}

// The one for which it was begun did not get in.
absl::Status Log::NoteFirst(ByteView batch) {
  const Segment& last = *segments_.back();
  const BatchMark first_batch = BatchMark::Of(batch);
  if (manifest_->state().segments.back().first_batch == first_batch) return absl::OkStatus();
  return Note(SegmentOpened{.base = last.base(),
                            .first_append_time = last.extent().first_append_time,
                            .first_batch = first_batch});
}

bool Log::MayContinue(const Segment& last, Timestamp now) const {
  return may_continue_ && !last.is_sealing() && last.generation() == 0 &&
         last.length() < options_.continue_bytes_max &&
         now - last.extent().first_append_time < options_.roll_ms();
}

// Notes an entry, and before it the epoch under which everything from now on is appended.
absl::Status Log::Note(const ManifestEntry& entry) {
  if (!pending_epoch_.has_value()) return manifest_->Append(entry);
  const std::array<ManifestEntry, 2> entries{
      LeaderEpochRaised{.epoch = pending_epoch_->epoch,
                        .first_offset = pending_epoch_->first_offset},
      entry};
  RETURN_IF_ERROR(manifest_->Append(entries));
  pending_epoch_.reset();
  return absl::OkStatus();
}

absl::Status Log::BeginSegment(ByteView batch, Timestamp now) {
  Reserve& room = data_dir_.reserve();
  if (place_->uses_reserve) return room.Through([&] { return TryBeginSegment(batch, now); });
  RETURN_IF_ERROR(room.Admit());
  return TryBeginSegment(batch, now);
}

absl::Status Log::TryBeginSegment(ByteView batch, Timestamp now) {
  if (manifest_ == nullptr) {
    ++directory_changes_;
    ASSIGN_OR_RETURN(File meta, data_dir_.CreatePartition(identity_));
    // The group commit that makes the first batch durable does so with this as well.
    meta_ = std::make_shared<const File>(std::move(meta));
    ASSIGN_OR_RETURN(manifest_, Manifest::Create(place_->directory, identity_));
    manifest_->UseReserve(data_dir_.reserve());
  }
  ++directory_changes_;
  ASSIGN_OR_RETURN(std::shared_ptr<Segment> segment,
                   Segment::Create(place_, log_end_, options_, batch.size(), now));
  if (absl::Status noted = Note(SegmentOpened{
          .base = log_end_, .first_append_time = now, .first_batch = BatchMark::Of(batch)});
      !noted.ok()) {
    RETURN_IF_ERROR(segment->Remove());
    return noted;
  }
  if (!segments_.empty()) segments_.back()->Finish();
  if (HasBug(SeededBug::kWrongBaseAfterRoll) && !segments_.empty()) log_end_ = log_end_ + 1;
  segments_.push_back(std::move(segment));
  may_continue_ = false;
  return absl::OkStatus();
}

absl::Status Log::ContinueLast(Timestamp now) {
  Segment& last = *segments_.back();
  RETURN_IF_ERROR(last.Continue(options_, now));
  absl::Status noted;
  if (last.is_sealed()) {
    noted = Note(SegmentReopened{.base = last.base()});
  } else if (pending_epoch_.has_value()) {
    noted = manifest_->Append(LeaderEpochRaised{.epoch = pending_epoch_->epoch,
                                                .first_offset = pending_epoch_->first_offset});
    if (noted.ok()) pending_epoch_.reset();
  }
  if (!noted.ok()) {
    last.Finish();
    return noted;
  }
  last.MarkReopened();
  return absl::OkStatus();
}

const std::shared_ptr<Segment>& Log::SegmentOf(Offset offset) const {
  if (segments_.back()->base() <= offset) return segments_.back();
  const auto it =
      std::upper_bound(segments_.begin(), segments_.end(), offset,
                       [](Offset at, const auto& segment) { return at < segment->base(); });
  CAIRN_CHECK(it != segments_.begin());
  return *std::prev(it);
}

absl::StatusOr<LogRead> Log::Read(Offset from, Offset end, std::size_t bytes_max,
                                  ReadCursor& cursor) {
  NoticeDamage();
  if (offline_from_ != kNoOffset && from >= offline_from_) return damage_;
  end = std::min(end, log_end_);
  if (from < log_start_ || from >= end) {
    return MakeError(ErrorCode::kOffsetOutOfRange,
                     absl::StrFormat("offset %d is not between %d and %d", from.value(),
                                     log_start_.value(), end.value()));
  }
  const std::shared_ptr<Segment>& segment = SegmentOf(from);
  const bool is_next = cursor.next == from && cursor.segment_base == segment->base() &&
                       cursor.generation == segment->generation();
  Segment::Want want{.from = from,
                     .position = is_next ? cursor.position : -1,
                     .end = end,
                     .end_position = -1,
                     .bytes_max = bytes_max};
  if (from == segment->base()) want.position = 0;
  if (synced_.end == end && synced_.segment_base == segment->base()) {
    want.end_position = synced_.position;
  }
  absl::StatusOr<Segment::Found> found = segment->Read(want);
  RETURN_IF_ERROR(Judge(found.status()));
  if (found->is_cold) {
    return LogRead{
        .view = {}, .next = from, .cold = segment, .cold_position = found->cold_position};
  }
  cursor = {.next = found->next,
            .segment_base = segment->base(),
            .position = found->next_position,
            .generation = segment->generation()};
  return LogRead{.view = std::move(found->view), .next = found->next, .cold = nullptr};
}

absl::StatusOr<std::optional<Log::TimeMatch>> Log::FindTime(
    const std::vector<std::shared_ptr<Segment>>& segments, Timestamp time, Offset start,
    Offset end) {
  for (const auto& segment : segments) {
    if (segment->base() >= end) break;
    ASSIGN_OR_RETURN(std::optional<TimeMatch> match, segment->FindTime(time, start, end));
    if (match.has_value()) return match;
  }
  return std::nullopt;
}

}  // namespace cairn::storage
