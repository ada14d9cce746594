#include <utility>

#include "broker/partitions/partition.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/segment.h"

namespace cairn::broker {

double Partition::CompactionNeed(const storage::CompactionTime& time) const {
  const std::lock_guard lock(mutex_);
  return !Usable().ok() || closed_ ? 0 : log_->CompactionNeed(durable_end_, time);
}

absl::StatusOr<storage::Compactor::Summary> Partition::Compact(
    storage::Compactor::Options options, const storage::CompactionTime& time) {
  std::optional<storage::CompactionPlan> plan;
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Usable());
    if (closed_) return MakeError(ErrorCode::kStopping, "the log is closed");
    plan = log_->PlanCompaction(durable_end_, time);
  }
  if (!plan.has_value()) return storage::Compactor::Summary();
  options.names = [this](const std::function<absl::Status()>& step) { return WithNames(step); };
  storage::Compactor compactor(*std::move(plan), std::move(options), time);
  absl::Status status = compactor.ReadKeys();
  while (status.ok()) {
    absl::StatusOr<std::optional<storage::CleanedSegment>> cleaned = compactor.Next();
    if (cleaned.ok() && !cleaned->has_value()) return compactor.summary();
    status = cleaned.ok() ? SwapIn(**cleaned) : cleaned.status();
  }
  // Readers that wait at the end of what is now known to be damaged hear of it.
  if (CodeOf(status) == ErrorCode::kPartitionOffline) AfterDiskWork(status);
  return status;
}

// While the directory is certain to be this topic's.
absl::Status Partition::WithNames(const std::function<absl::Status()>& step) {
  const std::lock_guard names(names_mutex_);
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Usable());
  }
  return step();
}

absl::Status Partition::SwapIn(const storage::CleanedSegment& cleaned) {
  absl::StatusOr<storage::Log::Trim> swap = [&]() -> absl::StatusOr<storage::Log::Trim> {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Usable());
    if (closed_) return MakeError(ErrorCode::kStopping, "the log is closed");
    Use();
    ASSIGN_OR_RETURN(storage::Log::Trim swapped, log_->Swap(cleaned));
    segments_ = log_->segment_count();
    return swapped;
  }();
  if (!swap.ok()) {
    // It never was part of the log. Where it cannot be removed the next start does it.
    (void)WithNames([&] { return cleaned.segment->Remove(); });
    return swap.status();
  }
  const absl::Status synced = swap->Sync();
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Usable());
    RETURN_IF_ERROR(log_->FinishTrim(*swap, synced));
  }
  for (const std::shared_ptr<storage::Segment>& segment : swap->dropped) {
    RETURN_IF_ERROR(WithNames([&] { return segment->Remove(); }));
  }
  return absl::OkStatus();
}

}  // namespace cairn::broker
