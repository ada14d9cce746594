// What compaction asks of a log and does to it; the cleaning itself is compactor.h.

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/status.h"
#include "storage/log.h"

namespace cairn::storage {
namespace {

// An active segment of a compacted log is out of compaction's reach; it rolls when it is as large
// as what was cleaned, but not for less than this.
constexpr std::int64_t kActiveBytesMin = 4 << 20;

}  // namespace

std::int64_t Log::SegmentBytes() const {
  if (!options_.compaction.enabled || segments_.back()->length() < kActiveBytesMin) {
    return options_.segment_bytes;
  }
  std::int64_t live = 0;
  for (const auto& segment : segments_) {
    if (segment->generation() > 0) live += segment->length();
  }
  return std::min(options_.segment_bytes, std::max(kActiveBytesMin, live));
}

// How many segments, from the first on, may be cleaned.
std::size_t Log::Compactable(Offset below, const CompactionTime& time) const {
  std::size_t count = 0;
  for (const auto& segment : segments_) {
    const bool is_last = segment == segments_.back();
    // One that may be continued cannot be cleaned.
    if (!segment->is_sealed() || segment->next_offset() > below || (is_last && may_continue_))
      break;
    // Without a lag no clock counts: not one that was set back, and not that of a file.
    if (segment->generation() == 0 && options_.compaction.min_lag_ms > 0 &&
        !time.HasPassed(segment->extent().last_append_time, options_.compaction.min_lag_ms)) {
      break;
    }
    ++count;
  }
  return count;
}

double Log::CompactionNeed(Offset below, const CompactionTime& time) const {
  if (!options_.compaction.enabled || !write_state_.ok()) return 0;
  // It would take blocks before it gives some back.
  if (!place_->uses_reserve && !place_->reserve.Admit().ok()) return 0;
  const std::size_t count = Compactable(below, time);
  std::int64_t clean = 0;
  std::int64_t dirty = 0;
  bool is_overdue = false;
  for (std::size_t i = 0; i < count; ++i) {
    const Segment& segment = *segments_[i];
    // What is clean is a beginning; behind it all counts as not looked at.
    const bool is_clean = dirty == 0 && segment.clean_end() == segment.next_offset();
    (is_clean ? clean : dirty) += segment.length();
    is_overdue |= !is_clean && time.HasPassed(segment.extent().first_append_time,
                                              options_.compaction.max_lag_ms);
  }
  if (dirty == 0) return 0;
  if (is_overdue) return 1;
  const double ratio = static_cast<double>(dirty) / static_cast<double>(clean + dirty);
  return ratio >= options_.compaction.min_dirty_ratio ? ratio : 0;
}

std::optional<CompactionPlan> Log::PlanCompaction(Offset below, const CompactionTime& time) const {
  if (CompactionNeed(below, time) == 0) return std::nullopt;
  CompactionPlan plan;
  plan.place = place_;
  plan.options = options_;
  plan.producers = producers_;
  const auto count = static_cast<std::ptrdiff_t>(Compactable(below, time));
  plan.segments.assign(segments_.begin(), segments_.begin() + count);
  const auto dirty = std::find_if(
      plan.segments.begin(), plan.segments.end(),
      [](const auto& segment) { return segment->clean_end() < segment->next_offset(); });
  CAIRN_CHECK(dirty != plan.segments.end());
  plan.clean_end = (*dirty)->clean_end();
  return plan;
}

absl::StatusOr<Log::Trim> Log::Swap(const CleanedSegment& cleaned) {
  if (!write_state_.ok()) return write_state_;
  const auto first = std::find(segments_.begin(), segments_.end(), cleaned.replaced.front());
  const auto count = static_cast<std::ptrdiff_t>(cleaned.replaced.size());
  if (segments_.end() - first < count ||
      !std::equal(cleaned.replaced.begin(), cleaned.replaced.end(), first)) {
    return absl::AbortedError(absl::StrFormat("%s: what it was made of is no longer in the log",
                                              cleaned.segment->LogPath().string()));
  }
  const Segment& segment = *cleaned.segment;
  RETURN_IF_ERROR(Judge(manifest_->RewriteIfLong()));
  RETURN_IF_ERROR(Judge(manifest_->Append(SegmentSwapped{.base = segment.base(),
                                                         .generation = segment.generation(),
                                                         .clean_end = segment.clean_end(),
                                                         .sealed = segment.extent(),
                                                         .first_batch = segment.first_batch()})));
  Trim swap;
  swap.manifest = manifest_->TakeUnsynced();
  swap.dropped = cleaned.replaced;
  *first = cleaned.segment;
  segments_.erase(first + 1, first + count);
  // Its segment is another one now.
  if (synced_.end == log_end_ && segments_.back() == cleaned.segment) synced_ = End();
  return swap;
}

}  // namespace cairn::storage
