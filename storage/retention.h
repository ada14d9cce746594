#pragma once

#include <cstdint>
#include <span>

#include "protocol/types.h"

namespace cairn::storage {

// How much of a log is kept. -1: without limit.
struct RetentionPolicy {
  static constexpr std::int64_t kUnlimited = -1;

  std::int64_t ms = kUnlimited;     // since the last append to a segment
  std::int64_t bytes = kUnlimited;  // of all segments together

  friend bool operator==(const RetentionPolicy&, const RetentionPolicy&) = default;
};

// The broker's own time, by which segments grow old.
struct RetentionTime {
  Timestamp now;
  Timestamp run_began;  // what `now` was when this run of the broker began
};

// What retention looks at in a segment.
struct RetainedSegment {
  Offset next_offset;  // one past its last record
  std::int64_t length = 0;
  Timestamp last_append_time;
};

// Where a log of these segments, oldest first, is to begin: past every segment that is dropped, or
// at `log_start` if none is. Only whole segments go, from the oldest on, and the last (which may
// still grow) like any other.
//
// By size a segment goes if those behind it hold policy.bytes or more. By time it goes if more than
// policy.ms have passed since its last append. When that was is judged so that no wrong clock makes
// a segment look older than it is known to be, nor keeps it for ever:
//   a time after `now` comes from a clock that was wrong: the segment counts as no younger than the
//     next one whose time is possible, or, without such a one, as last written when this run began;
//   a time before that of an older segment likewise: it counts as that of the older one.
//
// A segment that ends beyond `end_max` stays, and so does all behind it. Pure.
Offset PlanRetention(std::span<const RetainedSegment> segments, const RetentionPolicy& policy,
                     const RetentionTime& time, Offset log_start, Offset end_max);

}  // namespace cairn::storage
