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

}  // namespace cairn::storage
