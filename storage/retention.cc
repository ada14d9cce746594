#include "storage/retention.h"

#include <algorithm>
#include <vector>

namespace cairn::storage {
namespace {

// When each segment was last appended to, as far as it can be believed.
std::vector<Timestamp> BelievedTimes(std::span<const RetainedSegment> segments,
                                     const RetentionTime& time) {
  std::vector<Timestamp> times(segments.size());
  Timestamp next_possible = time.run_began;
  for (std::size_t i = segments.size(); i-- > 0;) {
    if (segments[i].last_append_time <= time.now) next_possible = segments[i].last_append_time;
    times[i] = next_possible;
  }
  for (std::size_t i = 1; i < times.size(); ++i) times[i] = std::max(times[i], times[i - 1]);
  return times;
}

}  // namespace

Offset PlanRetention(std::span<const RetainedSegment> segments, const RetentionPolicy& policy,
                     const RetentionTime& time, Offset log_start, Offset end_max) {
  const bool by_time = policy.ms != RetentionPolicy::kUnlimited;
  const bool by_size = policy.bytes != RetentionPolicy::kUnlimited;
  if (!by_time && !by_size) return log_start;
  std::int64_t behind = 0;
  for (const RetainedSegment& segment : segments) behind += segment.length;
  const std::vector<Timestamp> times = BelievedTimes(segments, time);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const RetainedSegment& segment = segments[i];
    behind -= segment.length;
    const bool is_old = by_time && time.now - times[i] > policy.ms;
    const bool is_over = by_size && behind >= policy.bytes;
    if (!is_old && !is_over) break;
    if (segment.length == 0 || segment.next_offset > end_max) break;
    log_start = std::max(log_start, segment.next_offset);
  }
  return log_start;
}

}  // namespace cairn::storage
