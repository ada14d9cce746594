#include <utility>

#include "absl/strings/str_format.h"

#include "broker/partitions/partition.h"
#include "broker/runtime/helper_pool.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/segment.h"

namespace cairn::broker {
namespace {

// Goes on with a trim once the records that it drops are durable: a log whose start lay beyond its
// durable end would have to explain itself after a power cut.
class TrimOnceDurable : public AckSink {
 public:
  using OnTrimmed = absl::AnyInvocable<void(absl::StatusOr<Offset>)>;

  TrimOnceDurable(std::shared_ptr<Partition> partition, Offset before, Timestamp now,
                  OnTrimmed done)
      : partition_(std::move(partition)), before_(before), now_(now), done_(std::move(done)) {}

  void Acknowledge(std::span<const Ack> acks) override {
    if (!acks.front().status.ok()) return done_(acks.front().status);
    partition_->TrimTo(before_, now_, std::move(done_));
  }

 private:
  const std::shared_ptr<Partition> partition_;
  const Offset before_;
  const Timestamp now_;
  OnTrimmed done_;
};

}  // namespace

void Partition::TrimTo(Offset before, Timestamp now, OnTrimmed done) {
  services_.helpers.Submit(HelperKind::kTrim,
                           [self = shared_from_this(), before, now,
                            done = std::move(done)](absl::Status status) mutable {
                             if (!status.ok()) return done(std::move(status));
                             if (self->TrimLater(before, now, done)) return;
                             done(self->TrimNow(before));
                           });
}

absl::StatusOr<Partition::Dropped> Partition::Retain(const storage::RetentionTime& time,
                                                     bool by_time) {
  Dropped dropped;
  {
    const std::lock_guard lock(mutex_);
    // What cannot be written to, because of damage or a failed disk, is kept as it is.
    if (!Usable().ok() || closed_ || !log_->write_state().ok()) return dropped;
    if (options_.cleanup == CleanupPolicy::kCompact) return dropped;
    storage::RetentionPolicy policy = options_.retention;
    if (!by_time) policy.ms = storage::RetentionPolicy::kUnlimited;
    dropped.from = dropped.to = log_->log_start();
    const Offset start = log_->RetentionStart(policy, time, durable_end_);
    if (start == dropped.from) return dropped;
    dropped.to = start;
  }
  RETURN_IF_ERROR(TrimNow(dropped.to).status());
  return dropped;
}

bool Partition::TrimLater(Offset before, Timestamp now, OnTrimmed& done) {
  {
    const std::lock_guard lock(mutex_);
    if (!Usable().ok() || !log_->write_state().ok()) return false;
    if (before <= durable_end_ || before > committed_end()) return false;
    Waiting waiting;
    waiting.end = before;
    waiting.sink =
        std::make_shared<TrimOnceDurable>(shared_from_this(), before, now, std::move(done));
    AddWaiting(std::move(waiting));
  }
  MarkDirty(std::chrono::milliseconds(0));
  return true;
}

absl::StatusOr<Offset> Partition::TrimNow(Offset before) {
  storage::Log::Trim trim;
  Watchers watchers;
  Offset log_start;
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Usable());
    RETURN_IF_ERROR(log_->write_state());
    if (before < Offset(0) || before > durable_end_) {
      return MakeError(
          ErrorCode::kOffsetOutOfRange,
          absl::StrFormat("partition %s-%d holds offsets %d to %d; cannot trim to %d", topic_name_,
                          id_.partition.value(), log_->log_start().value(), durable_end_.value(),
                          before.value()));
    }
    Use();
    ASSIGN_OR_RETURN(trim, log_->TrimTo(before));
    segments_ = log_->segment_count();
    log_start = log_->log_start();
    TakeWatchers(watchers, /*all=*/false);
  }
  MarkDirty(std::chrono::milliseconds(0));
  Tell(watchers);
  const absl::Status synced = trim.Sync();
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Usable());
    RETURN_IF_ERROR(log_->FinishTrim(trim, synced));
  }
  for (const std::shared_ptr<storage::Segment>& segment : trim.dropped) {
    const std::lock_guard names(names_mutex_);
    RETURN_IF_ERROR(write_state());
    RETURN_IF_ERROR(segment->Remove());
  }
  return log_start;
}

}  // namespace cairn::broker
