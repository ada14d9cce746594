#pragma once

#include <cstdint>
#include <string>

#include "protocol/types.h"

namespace cairn::storage {

// How one partition's log is laid out. Changing a number concerns what is written from then on.
struct LogOptions {
  std::int64_t segment_bytes = std::int64_t{1} << 30;
  std::int64_t segment_ms = 7LL * 24 * 3600 * 1000;  // by append time
  std::int64_t index_interval_bytes = 4096;
  // A segment that is smaller than this is continued after a restart; a larger one is left to be
  // sealed, and a new one is begun. Bounds what continuing costs (it is read and checked whole).
  std::int64_t continue_bytes_max = 4 << 20;
};

// Which log this is. Its directory in the data directory is `<name>-<partition>`.
struct LogIdentity {
  TopicId topic;
  std::string name;
  PartitionIndex partition;
};

}  // namespace cairn::storage
