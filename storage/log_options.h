#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "protocol/types.h"

namespace cairn::storage {

// Compaction keeps the newest record of each key; see compactor.h.
struct CompactionOptions {
  bool enabled = false;
  // Cleaned when so much of what may be cleaned was not looked at yet, of 1 …
  double min_dirty_ratio = 0.5;
  // … but only what was appended this long ago, and at once what was appended so long ago.
  std::int64_t min_lag_ms = 0;
  std::int64_t max_lag_ms = INT64_MAX;
  // How long tombstones stay once all that they stand against is gone.
  std::int64_t delete_retention_ms = 24LL * 3600 * 1000;
};

// How one partition's log is laid out. Changing a number concerns what is written from then on.
struct LogOptions {
  std::int64_t segment_bytes = std::int64_t{1} << 30;
  std::int64_t segment_ms = 7LL * 24 * 3600 * 1000;  // by append time
  std::int64_t index_interval_bytes = 4096;
  // A segment that is smaller than this is continued after a restart; a larger one is left to be
  // sealed, and a new one is begun. Bounds what continuing costs (it is read and checked whole).
  std::int64_t continue_bytes_max = 4 << 20;
  CompactionOptions compaction{};

  // How old an active segment may grow.
  std::int64_t roll_ms() const {
    return compaction.enabled ? std::min(segment_ms, compaction.max_lag_ms) : segment_ms;
  }
  // Goes on when the disk is full, by means of the Reserve: for the broker's own topics. Does not
  // change.
  bool uses_reserve = false;
};

// Which log this is. Its directory in the data directory is `<name>-<partition>`.
struct LogIdentity {
  TopicId topic;
  std::string name;
  PartitionIndex partition;
};

}  // namespace cairn::storage
