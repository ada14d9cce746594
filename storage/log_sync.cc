// Making a log durable: group commits, sealing, trimming, closing.

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/log.h"
#include "storage/seeded_bug.h"

namespace cairn::storage {
namespace {

// The headers of so many bytes of batches are read soon enough at the next start.
constexpr std::int64_t kSnapshotBytes = 64 << 20;

}  // namespace

absl::Status SyncPlan::Sync() const {
  if (HasBug(SeededBug::kAckBeforeSync)) return absl::OkStatus();
  for (const Part& part : files_) RETURN_IF_ERROR(part.segment->Sync());
  if (manifest_.has_value()) RETURN_IF_ERROR(manifest_->file->Sync());
  if (meta_ != nullptr) RETURN_IF_ERROR(meta_->Sync());
  for (const std::filesystem::path& directory : directories_) {
    RETURN_IF_ERROR(SyncDirectory(directory));
  }
  return absl::OkStatus();
}

absl::Status SyncPlan::EarlierFailure() const {
  for (const Part& part : files_) RETURN_IF_ERROR(part.segment->SyncFailure());
  if (manifest_.has_value()) RETURN_IF_ERROR(manifest_->file->SyncFailure());
  return meta_ != nullptr ? meta_->SyncFailure() : absl::OkStatus();
}

DurableEnd Log::End() const {
  if (segments_.empty()) {
    return {.partition = id(), .end = log_end_, .segment_base = log_end_, .position = 0};
  }
  const Segment& last = *segments_.back();
  return {
      .partition = id(), .end = log_end_, .segment_base = last.base(), .position = last.length()};
}

SyncPlan Log::TakeUnsynced() {
  SyncPlan plan;
  if (sync_failed_ || ends_at_damage_) return plan;
  plan.end_ = End();
  if (HasBug(SeededBug::kFrontierAhead)) (void)data_dir_.frontier().Note({&plan.end_, 1});
  // What is not synced stands at the end; only an empty segment can hide it.
  for (auto it = segments_.rbegin(); it != segments_.rend(); ++it) {
    const std::int64_t unsynced = (*it)->unsynced();
    if (unsynced == 0 && (*it)->length() > 0) break;
    if (unsynced == 0) continue;
    plan.files_.push_back({*it, (*it)->length()});
    plan.bytes_ += unsynced;
  }
  if (manifest_ != nullptr) plan.manifest_ = manifest_->TakeUnsynced();
  plan.meta_ = meta_;
  if (directory_changes_ != directory_changes_synced_ && manifest_ != nullptr) {
    plan.directories_ = {place_->directory, data_dir_.path()};
  }
  plan.directory_changes_ = directory_changes_;
  return plan;
}

void Log::MarkSynced(const SyncPlan& plan) {
  for (const SyncPlan::Part& part : plan.files_) part.segment->MarkSynced(part.length);
  if (plan.manifest_.has_value()) manifest_->MarkSynced(*plan.manifest_);
  if (plan.meta_ == meta_) meta_.reset();
  directory_changes_synced_ = std::max(directory_changes_synced_, plan.directory_changes_);
  if (plan.end_.end >= synced_.end) synced_ = plan.end_;
}

void Log::MarkSyncFailed(const SyncPlan& plan, const absl::Status& why) {
  if (HasBug(SeededBug::kSyncTriedAgain)) return;
  sync_failed_ = true;
  if (!write_state_.ok()) return;
  write_state_ =
      MakeError(ErrorCode::kStorageFailed,
                absl::StrFormat(
                    "%s: making offsets up to %d durable failed, nothing is appended any more "
                    "until a restart: %s",
                    place_->directory.string(), plan.end_.end.value(), std::string(why.message())));
}

bool Log::HasUnsynced() const {
  return std::any_of(segments_.begin(), segments_.end(),
                     [](const auto& segment) { return segment->unsynced() > 0; });
}

absl::Status Log::SealTask::Run() {
  RETURN_IF_ERROR(opened_);
  ASSIGN_OR_RETURN(sealed_, segment_->Seal());
  return absl::OkStatus();
}

std::optional<Log::SealTask> Log::TakeSealTask() {
  if (!write_state_.ok()) return std::nullopt;
  for (const auto& segment : segments_) {
    if (segment->is_sealed() || segment->is_growing() || segment->is_sealing()) continue;
    const bool is_last = segment == segments_.back();
    // The last one of the run before may still grow; a small one costs little unsealed.
    if (is_last && may_continue_ && segment->length() < options_.continue_bytes_max) continue;
    if (is_last) may_continue_ = false;
    SealTask task;
    task.segment_ = segment;
    task.opened_ = segment->BeginSeal();
    return task;
  }
  return std::nullopt;
}

absl::Status Log::FinishSeal(SealTask task, const absl::Status& outcome) {
  Segment& segment = *task.segment_;
  if (std::find(segments_.begin(), segments_.end(), task.segment_) == segments_.end()) {
    // Trimmed meanwhile: the index was perhaps written after its removal.
    segment.EndSeal(std::nullopt);
    return segment.Remove();
  }
  if (!outcome.ok()) {
    segment.EndSeal(std::nullopt);
    return Judge(outcome);
  }
  CAIRN_CHECK(task.sealed_.has_value());
  const absl::Status noted =
      manifest_->Append(SegmentSealed{.base = segment.base(), .sealed = *task.sealed_});
  segment.EndSeal(noted.ok() ? task.sealed_ : std::nullopt);
  return Judge(noted);
}

absl::Status Log::RollIfOld(Timestamp now) {
  if (segments_.empty()) return absl::OkStatus();
  Segment& last = *segments_.back();
  if (last.length() == 0 || now - last.extent().first_append_time < options_.roll_ms()) {
    return absl::OkStatus();
  }
  // One of the run before, which nobody has continued, is of age as well.
  last.Finish();
  may_continue_ = false;
  return absl::OkStatus();
}

absl::Status Log::Trim::Sync() const {
  return manifest.has_value() ? manifest->file->Sync() : absl::OkStatus();
}

absl::StatusOr<Log::Trim> Log::TrimTo(Offset before) {
  Trim trim;
  if (before <= log_start_) return trim;
  if (before > log_end_) {
    return MakeError(ErrorCode::kOffsetOutOfRange,
                     absl::StrFormat("cannot trim to offset %d, the log is from %d to %d",
                                     before.value(), log_start_.value(), log_end_.value()));
  }
  std::vector<ManifestEntry> entries{LogStartMoved{.log_start = before}};
  for (const auto& segment : segments_) {
    const bool needed = HasBug(SeededBug::kTrimmedTooFar) ? segment->base() >= before
                                                          : segment->next_offset() > before;
    if (needed || segment->length() == 0) break;
    entries.push_back(SegmentDropped{.base = segment->base()});
  }
  // Before, not after: the entry is how the next start knows a file whose removal was cut short.
  RETURN_IF_ERROR(Judge(manifest_->RewriteIfLong()));
  RETURN_IF_ERROR(Judge(manifest_->Append(entries)));
  trim.manifest = manifest_->TakeUnsynced();
  log_start_ = before;
  const auto count = static_cast<std::ptrdiff_t>(entries.size() - 1);
  trim.dropped.assign(segments_.begin(), segments_.begin() + count);
  segments_.erase(segments_.begin(), segments_.begin() + count);
  for (const auto& segment : trim.dropped) segment->Finish();
  if (segments_.empty()) may_continue_ = false;
  return trim;
}

Offset Log::RetentionStart(const RetentionPolicy& policy, const RetentionTime& time,
                           Offset end_max) const {
  std::vector<RetainedSegment> retained;
  retained.reserve(segments_.size());
  for (const auto& segment : segments_) {
    retained.push_back({.next_offset = segment->next_offset(),
                        .length = segment->length(),
                        .last_append_time = segment->extent().last_append_time});
  }
  return PlanRetention(retained, policy, time, log_start_, end_max);
}

absl::Status Log::FinishTrim(const Trim& trim, const absl::Status& outcome) {
  RETURN_IF_ERROR(Judge(outcome));
  if (!trim.manifest.has_value()) return absl::OkStatus();
  manifest_->MarkSynced(*trim.manifest);
  return absl::OkStatus();
}

absl::Status Log::ProducerSnapshot::Write() const { return ReplaceFile(path, bytes); }

Log::ProducerSnapshot Log::MakeProducerSnapshot() {
  bytes_since_snapshot_ = 0;
  return {.path = place_->directory / kProducerSnapshotName,
          .bytes = producers_.Snapshot(End()),
          .end = log_end_};
}

std::optional<Log::ProducerSnapshot> Log::TakeProducerSnapshot() {
  if (manifest_ == nullptr || !write_state_.ok()) return std::nullopt;
  if (waiting_snapshot_ == nullptr) {
    ProducerSnapshot snapshot = MakeProducerSnapshot();
    if (!HasUnsynced()) return snapshot;
    waiting_snapshot_ = std::make_unique<ProducerSnapshot>(std::move(snapshot));
  }
  if (waiting_snapshot_->end > synced_.end) return std::nullopt;
  return std::move(*std::exchange(waiting_snapshot_, nullptr));
}

bool Log::IsProducerSnapshotDue() const {
  const bool is_durable_now = waiting_snapshot_ != nullptr && waiting_snapshot_->end <= synced_.end;
  return is_durable_now || bytes_since_snapshot_ >= kSnapshotBytes;
}

int Log::CloseIdle() {
  int freed = 0;
  for (const auto& segment : segments_) freed += segment->CloseIdle();
  return freed;
}

int Log::open_files() const {
  int count = manifest_ != nullptr && manifest_->is_open() ? 1 : 0;
  if (meta_ != nullptr) ++count;
  for (const auto& segment : segments_) count += segment->open_files();
  return count;
}

absl::StatusOr<std::optional<DurableEnd>> Log::CloseClean() {
  NoticeDamage();
  if (offline_from_ != kNoOffset) return damage_;
  if (manifest_ == nullptr) return std::optional<DurableEnd>();
  RETURN_IF_ERROR(write_state_);
  if (HasUnsynced()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s: offsets below %d are not durable yet, sync them before closing",
                        place_->directory.string(), log_end_.value()));
  }
  if (pending_epoch_.has_value()) {
    RETURN_IF_ERROR(Judge(manifest_->Append(LeaderEpochRaised{
        .epoch = pending_epoch_->epoch, .first_offset = pending_epoch_->first_offset})));
    pending_epoch_.reset();
  }
  RETURN_IF_ERROR(Judge(manifest_->Sync()));
  for (const auto& segment : segments_) RETURN_IF_ERROR(Judge(segment->CloseClean()));
  // Derived, and one for each partition: a sync each would make the stop long.
  const ProducerSnapshot snapshot = MakeProducerSnapshot();
  RETURN_IF_ERROR(ReplaceFileUnsynced(snapshot.path, snapshot.bytes));
  CloseIdle();
  write_state_ = MakeError(ErrorCode::kStopping, place_->directory.string() + " is closed");
  return std::optional<DurableEnd>(End());
}

}  // namespace cairn::storage
