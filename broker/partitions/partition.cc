#include "broker/partitions/partition.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/partitions/flusher.h"
#include "broker/partitions/janitor.h"
#include "broker/partitions/open_files.h"
#include "broker/runtime/helper_pool.h"
#include "broker/runtime/logging.h"
#include "broker/runtime/metrics.h"
#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/seeded_bug.h"

namespace cairn::broker {
namespace {

// The active segment, and the manifest while what was written to it is not synced.
constexpr std::int64_t kFilesAtFirstUse = 2;

constexpr std::chrono::milliseconds kAtOnce{0};

}  // namespace

Partition::Partition(std::unique_ptr<storage::Log> log, TopicPartition id, std::string topic_name,
                     PartitionOptions options, PartitionServices services)
    : id_(id),
      topic_name_(std::move(topic_name)),
      services_(services),
      log_(std::move(log)),
      options_(options) {
  CAIRN_CHECK(log_ != nullptr);
  durable_end_ = log_->log_end();
  segments_ = log_->segment_count();
  appended_ = segments_ > 0;  // by the run before
}

Partition::Partition(absl::Status offline, TopicPartition id, std::string topic_name,
                     PartitionOptions options, PartitionServices services)
    : id_(id),
      topic_name_(std::move(topic_name)),
      services_(services),
      offline_(std::move(offline)),
      options_(options) {
  CAIRN_CHECK(!offline_.ok());
}

absl::Status Partition::Usable() const {
  if (deleted_) {
    return MakeError(ErrorCode::kUnknownTopic,
                     absl::StrFormat("topic %s has been deleted", topic_name_));
  }
  return log_ == nullptr ? offline_ : absl::OkStatus();
}

Offset Partition::committed_end() const {
  if (storage::HasBug(storage::SeededBug::kShowsUnsynced)) return log_->log_end();
  if (options_.durability == Durability::kDurable) return std::max(durable_end_, shown_end_);
  return log_->log_end();
}

void Partition::Use() {
  last_used_.store(services_.open_files.now(), std::memory_order_relaxed);
  if (active_) return;
  active_ = true;
  services_.open_files.NoteActive(weak_from_this(), kFilesAtFirstUse);
}

// ---- appending ----

absl::StatusOr<Partition::Appended> Partition::Append(AppendRequest request) {
  ASSIGN_OR_RETURN(const RecordBatchView batch, RecordBatchView::ParseHeader(request.batch));
  Watchers watchers;
  bool visit = false;
  bool rolled = false;
  std::chrono::milliseconds delay = kAtOnce;
  const Durability wait_for = request.wait_for;
  absl::StatusOr<Appended> appended;
  {
    const std::lock_guard lock(mutex_);
    appended = AppendLocked(request, batch);
    if (!appended.ok()) LogFailureOnce();
    if (!appended.ok() || (appended->duplicate && !appended->pending)) return appended;
    if (!appended->duplicate) {
      rolled = NoteRoll();
      appended_ = true;
      visit = !std::exchange(visit_queued_, true);
    }
    if (options_.durability == Durability::kWritten) {
      TakeWatchers(watchers, /*all=*/false);
      if (wait_for != Durability::kDurable) delay = std::chrono::milliseconds(options_.flush_ms);
    }
  }
  MarkDirty(delay);
  if (visit || rolled) services_.janitor.Note(shared_from_this(), rolled);
  Tell(watchers);
  return appended;
}

absl::StatusOr<Partition::Appended> Partition::AppendLocked(AppendRequest& request,
                                                            const RecordBatchView& batch) {
  RETURN_IF_ERROR(Usable());
  if (closed_) return MakeError(ErrorCode::kStopping, "the broker is going down");
  ASSIGN_OR_RETURN(const storage::ProducerTable::Verdict verdict, log_->producers().Check(batch));
  if (verdict.duplicate) return Repeat(request, verdict);
  if (!active_ && !services_.open_files.HasRoom()) {
    return MakeError(
        ErrorCode::kTooManyInFlight,
        absl::StrFormat("partition %s-%d: %d files are open, which is all this process may have; "
                        "some are being closed, try again",
                        topic_name_, id_.partition.value(), services_.open_files.files_max()));
  }
  Use();
  ASSIGN_OR_RETURN(const Offset base, log_->Append(request.batch, request.now));
  Count(services_.metrics.appended_records, batch.record_count());
  Count(services_.metrics.appended_bytes, static_cast<std::int64_t>(batch.size()));
  Appended appended;
  appended.base_offset = base;
  WaitForDurable(request, base + batch.last_offset_delta() + 1, appended);
  return appended;
}

absl::StatusOr<Partition::Appended> Partition::Repeat(
    AppendRequest& request, const storage::ProducerTable::Verdict& verdict) {
  Count(services_.metrics.duplicate_batches);
  Appended appended;
  appended.base_offset = verdict.first_offset;
  appended.duplicate = true;
  if (verdict.next_offset <= durable_end_) {
    appended.durability = Durability::kDurable;
    return appended;
  }
  if (!log_->write_state().ok()) {
    return MakeError(
        ErrorCode::kOutcomeUnknown,
        absl::StrFormat(
            "partition %s-%d: offset %d was appended before, but it could not be synced "
            "(%s); whether it survives shows when the broker has restarted",
            topic_name_, id_.partition.value(), verdict.first_offset.value(),
            log_->write_state().message()));
  }
  WaitForDurable(request, verdict.next_offset, appended);
  return appended;
}

void Partition::WaitForDurable(AppendRequest& request, Offset end, Appended& appended) {
  if (request.wait_for != Durability::kDurable || request.sink == nullptr) return;
  appended.pending = true;
  Waiting waiting;
  waiting.end = end;
  waiting.sink = std::move(request.sink);
  waiting.ack.correlation = request.correlation;
  waiting.ack.base_offset = appended.base_offset;
  waiting.ack.duplicate = appended.duplicate;
  AddWaiting(std::move(waiting));
}

void Partition::AddWaiting(Waiting waiting) {
  // Nearly always the last: only a repeat waits for less than the batches after it.
  const auto place =
      std::upper_bound(waiting_.begin(), waiting_.end(), waiting.end,
                       [](Offset wanted, const Waiting& other) { return wanted < other.end; });
  waiting_.insert(place, std::move(waiting));
}

bool Partition::NoteRoll() {
  const std::int32_t before = std::exchange(segments_, log_->segment_count());
  if (segments_ <= before || before == 0) return false;
  services_.open_files.NoteOpened(1);
  return true;
}

void Partition::MarkDirty(std::chrono::milliseconds delay) {
  // The flusher takes the mark away before it takes what is unsynced. So if the mark is seen here,
  // what was appended before this call will be among it.
  const Queued wanted = delay == kAtOnce ? Queued::kNow : Queued::kLater;
  Queued current = queued_.load();
  while (current < wanted) {
    if (queued_.compare_exchange_weak(current, wanted)) {
      services_.flusher.MarkDirty(shared_from_this(), delay);
      return;
    }
  }
}

// ---- the group commit ----

storage::SyncPlan Partition::TakeUnsynced() {
  const std::lock_guard lock(mutex_);
  return log_ == nullptr || closed_ ? storage::SyncPlan() : log_->TakeUnsynced();
}

absl::Status Partition::Unknown(const absl::Status& why) const {
  return MakeError(ErrorCode::kOutcomeUnknown,
                   absl::StrFormat("partition %s-%d: appended, but the sync failed: %s; "
                                   "whether it survives shows when the broker has restarted",
                                   topic_name_, id_.partition.value(), why.message()));
}

void Partition::LogFailureOnce() {
  if (deleted_ || closed_ || log_ == nullptr || log_->write_state().ok()) return;
  if (std::exchange(told_failed_, true)) return;
  LogError("the partition takes no writes until the broker restarts",
           {{"topic", topic_name_}, {"partition", id_.partition}, {"reason", log_->write_state()}});
}

void Partition::FinishSync(const storage::SyncPlan& plan, const absl::Status& outcome,
                           std::vector<Due>& due) {
  Watchers watchers;
  {
    const std::lock_guard lock(mutex_);
    // A sync that succeeded on a disk that failed otherwise proves nothing any more.
    const bool disk_failed = CodeOf(log_->write_state()) == ErrorCode::kStorageFailed;
    if (outcome.ok() && disk_failed) {
      FailWaiting(Unknown(log_->write_state()), due);
    } else if (outcome.ok()) {
      log_->MarkSynced(plan);
      durable_end_ = std::max(durable_end_, plan.durable_end().end);
      TakeDue(due);
      TakeWatchers(watchers, /*all=*/false);
    } else {
      log_->MarkSyncFailed(plan, outcome);
      // Those that were appended after the plan was made can never become durable either.
      FailWaiting(Unknown(outcome), due);
      told_failed_ = true;  // by the flusher
    }
    if (deleted_) log_->CloseIdle();
  }
  Tell(watchers);
}

void Partition::TakeDue(std::vector<Due>& due) {
  auto each = waiting_.begin();
  for (; each != waiting_.end() && each->end <= durable_end_; ++each) {
    due.push_back({std::move(each->sink), std::move(each->ack)});
  }
  waiting_.erase(waiting_.begin(), each);
}

void Partition::FailWaiting(const absl::Status& why, std::vector<Due>& due) {
  for (Waiting& waiting : waiting_) {
    // One each, since they go to different threads.
    waiting.ack.status =
        MakeError(CodeOf(why), std::string_view(why.message().data(), why.message().size()));
    due.push_back({std::move(waiting.sink), std::move(waiting.ack)});
  }
  waiting_.clear();
}

// ---- reading ----

absl::StatusOr<storage::LogRead> Partition::Read(Offset from, std::size_t bytes_max,
                                                 storage::ReadCursor& cursor) {
  std::unique_lock lock(mutex_);
  if (!active_ && segments_ > 0 && services_.open_files.IsFull()) {
    lock.unlock();
    services_.open_files.MakeRoom();
    lock.lock();
  }
  RETURN_IF_ERROR(Usable());
  const Offset end = committed_end();
  if (from == end) {
    // At the end of what can be served is not the end of what there was.
    if (CodeOf(log_->write_state()) == ErrorCode::kPartitionOffline) return log_->write_state();
    storage::LogRead nothing;
    nothing.next = from;
    return nothing;
  }
  if (segments_ > 0) Use();
  return log_->Read(from, end, bytes_max, cursor);
}

void Partition::Prepare(const storage::LogRead& cold, absl::AnyInvocable<void(absl::Status)> done) {
  services_.helpers.Submit(
      HelperKind::kRead,
      [self = shared_from_this(), segment = cold.cold, position = cold.cold_position,
       done = std::move(done)](absl::Status status) mutable {
        if (status.ok()) {
          self->services_.open_files.MakeRoom();
          status = segment->Prepare(position);
          self->AfterDiskWork(status);
        }
        done(std::move(status));
      });
}

void Partition::AfterDiskWork(const absl::Status& outcome) {
  Watchers watchers;
  {
    const std::lock_guard lock(mutex_);
    if (log_ != nullptr && !deleted_) log_->NoteOutcome(outcome);
    LogFailureOnce();
    // A sweep may have taken it for inactive before the file was opened.
    if (!deleted_) {
      Use();
    } else if (log_ != nullptr) {
      log_->CloseIdle();
    }
    services_.open_files.NoteOpened(1);
    if (!outcome.ok()) TakeWatchers(watchers, /*all=*/true);
  }
  Tell(watchers);
}

void Partition::FindTime(Timestamp time, OnTime done) {
  services_.helpers.Submit(
      HelperKind::kRead,
      [self = shared_from_this(), time, done = std::move(done)](absl::Status status) mutable {
        std::vector<std::shared_ptr<storage::Segment>> segments;
        Offset start, end;
        if (status.ok()) {
          const std::lock_guard lock(self->mutex_);
          status = self->Usable();
          if (status.ok()) {
            segments = self->log_->Segments();
            start = self->log_->log_start();
            end = self->committed_end();
          }
        }
        if (!status.ok()) return done(std::move(status));
        if (segments.empty() || start >= end) return done(std::nullopt);
        self->services_.open_files.MakeRoom();
        auto found = storage::Log::FindTime(segments, time, start, end);
        if (absl::IsAborted(found.status()) && self->HasChanged(segments)) {
          return self->FindTime(time, std::move(done));
        }
        self->AfterDiskWork(found.status());
        done(std::move(found));
      });
}

// Whether segments were dropped or replaced since that look.
bool Partition::HasChanged(const std::vector<std::shared_ptr<storage::Segment>>& segments) const {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return false;
  const auto now = log_->Segments();
  return now.size() < segments.size() || !std::equal(segments.begin(), segments.end(), now.begin());
}

// ---- watching ----

bool Partition::WatchEnd(Offset seen, std::shared_ptr<EndWatcher> watcher) {
  const std::lock_guard lock(mutex_);
  if (!Usable().ok() || CodeOf(log_->write_state()) == ErrorCode::kPartitionOffline) return false;
  if (committed_end() > seen || log_->log_start() > seen) return false;
  watching_.push_back({seen, std::move(watcher)});
  return true;
}

void Partition::Unwatch(const EndWatcher* watcher) {
  const std::lock_guard lock(mutex_);
  std::erase_if(watching_,
                [watcher](const Watching& each) { return each.watcher.get() == watcher; });
}

void Partition::TakeWatchers(Watchers& out, bool all) {
  if (watching_.empty()) return;
  const Offset reached = log_ == nullptr ? Offset(0) : std::max(committed_end(), log_->log_start());
  std::erase_if(watching_, [&](Watching& each) {
    if (!all && reached <= each.seen) return false;
    out.push_back(std::move(each.watcher));
    return true;
  });
}

void Partition::Tell(const Watchers& watchers) {
  for (const std::shared_ptr<EndWatcher>& watcher : watchers) watcher->OnEndMoved();
}

// ---- looking ----

Partition::Ends Partition::ends() const {
  const std::lock_guard lock(mutex_);
  Ends ends;
  if (log_ == nullptr) return ends;
  ends.log_start = log_->log_start();
  ends.log_end = log_->log_end();
  ends.durable_end = durable_end_;
  ends.committed_end = committed_end();
  ends.leader_epoch = log_->leader_epoch();
  return ends;
}

Partition::State Partition::state() const {
  State state;
  state.ends = ends();
  state.write_state = write_state();
  const std::lock_guard lock(mutex_);
  if (log_ != nullptr) {
    state.bytes = log_->bytes();
    state.segments = log_->segment_count();
  }
  return state;
}

absl::Status Partition::write_state() const {
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Usable());
  return log_->write_state();
}

bool Partition::deleted() const {
  const std::lock_guard lock(mutex_);
  return deleted_;
}

std::optional<Partition::Lost> Partition::CheckEpoch(LeaderEpoch epoch, Offset offset) const {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr || epoch == kNoEpoch) return std::nullopt;
  const Offset end = log_->EndOfEpoch(epoch);
  if (offset <= end) return std::nullopt;
  return Lost{end, offset};
}

// ---- changing ----

void Partition::SetOptions(const PartitionOptions& options) {
  Watchers watchers;
  {
    const std::lock_guard lock(mutex_);
    // What consumers were shown stays shown.
    if (log_ != nullptr) {
      shown_end_ = std::max(shown_end_, committed_end());
      log_->set_options(options.log);
    }
    options_ = options;
    if (log_ != nullptr) TakeWatchers(watchers, /*all=*/false);
  }
  MarkDirty(kAtOnce);
  Tell(watchers);
}

void Partition::MarkDeleted() {
  Watchers watchers;
  std::vector<Due> due;
  {
    const std::lock_guard names(names_mutex_);
    const std::lock_guard lock(mutex_);
    deleted_ = true;
    FailWaiting(Usable(), due);
    TakeWatchers(watchers, /*all=*/true);
    if (log_ != nullptr) log_->CloseIdle();
  }
  for (const Due& each : due) each.sink->Acknowledge({&each.ack, 1});
  Tell(watchers);
}

// ---- the janitor ----

bool Partition::BeginVisit() {
  const std::lock_guard lock(mutex_);
  visit_queued_ = false;
  return std::exchange(appended_, false);
}

std::optional<storage::Log::SealTask> Partition::TakeSealTask() {
  const std::lock_guard lock(mutex_);
  if (!Usable().ok() || closed_) return std::nullopt;
  std::optional<storage::Log::SealTask> task = log_->TakeSealTask();
  if (task.has_value()) Use();
  return task;
}

absl::Status Partition::FinishSeal(storage::Log::SealTask task, const absl::Status& outcome) {
  absl::Status status;
  {
    const std::lock_guard lock(mutex_);
    // Once its directory is renamed, another topic may stand where the manifest was.
    RETURN_IF_ERROR(Usable());
    if (closed_) return MakeError(ErrorCode::kStopping, "the log is closed");
    status = log_->FinishSeal(std::move(task), outcome);
  }
  // The manifest stays open until what it says of the seal is synced.
  MarkDirty(kAtOnce);
  return status;
}

absl::Status Partition::RollIfOld(Timestamp now) {
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Usable());
    if (closed_ || !log_->write_state().ok()) return absl::OkStatus();
    RETURN_IF_ERROR(log_->RollIfOld(now));
    if (NoteRoll()) Use();
  }
  MarkDirty(kAtOnce);
  return absl::OkStatus();
}

absl::Status Partition::WriteProducerSnapshot() {
  std::optional<storage::Log::ProducerSnapshot> snapshot;
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Usable());
    if (!closed_) snapshot = log_->TakeProducerSnapshot();
  }
  return snapshot.has_value() ? snapshot->Write() : absl::OkStatus();
}

bool Partition::IsProducerSnapshotDue() const {
  const std::lock_guard lock(mutex_);
  return log_ != nullptr && !closed_ && !deleted_ && log_->IsProducerSnapshotDue();
}

void Partition::ExpireProducers(Timestamp before) {
  const std::lock_guard lock(mutex_);
  if (log_ != nullptr) log_->ExpireProducers(before);
}

std::int64_t Partition::segment_ms() const {
  const std::lock_guard lock(mutex_);
  return options_.log.roll_ms();
}

// ---- the scrubber ----

std::vector<std::shared_ptr<storage::Segment>> Partition::SealedSegments() const {
  std::vector<std::shared_ptr<storage::Segment>> segments;
  const std::lock_guard lock(mutex_);
  if (!Usable().ok() || closed_) return segments;
  segments = log_->Segments();
  std::erase_if(segments, [](const auto& segment) { return !segment->is_sealed(); });
  return segments;
}

bool Partition::NoticeDamage(const storage::Segment& segment) {
  Watchers watchers;
  {
    const std::lock_guard lock(mutex_);
    if (!Usable().ok() || closed_) return false;
    const std::vector<std::shared_ptr<storage::Segment>> segments = log_->Segments();
    const bool is_listed = std::any_of(segments.begin(), segments.end(),
                                       [&](const auto& each) { return each.get() == &segment; });
    if (!is_listed) return false;
    log_->NoticeDamage();
    TakeWatchers(watchers, /*all=*/true);
  }
  Tell(watchers);
  return true;
}

// ---- open files ----

int Partition::CloseIdle() {
  const std::lock_guard lock(mutex_);
  if (log_ == nullptr) return 0;
  log_->CloseIdle();
  const int left = log_->open_files();
  if (left == 0) active_ = false;
  return left;
}

int Partition::open_files() const {
  const std::lock_guard lock(mutex_);
  return log_ == nullptr ? 0 : log_->open_files();
}

absl::StatusOr<std::optional<storage::DurableEnd>> Partition::CloseClean() {
  const std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Usable());
  if (std::exchange(closed_, true)) return std::nullopt;
  return log_->CloseClean();
}

}  // namespace cairn::broker
