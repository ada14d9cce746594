#pragma once

#include <algorithm>
#include <chrono>

#include "client/options.h"

namespace cairn::client {

// The moment `wait` after `from`. A wait without end (Duration::max()) is a century: the sum would
// not fit in a clock that counts nanoseconds.
inline std::chrono::steady_clock::time_point DeadlineAfter(
    Duration wait, std::chrono::steady_clock::time_point from = std::chrono::steady_clock::now()) {
  constexpr Duration kLongest = std::chrono::hours(24 * 365 * 100);
  return from + std::min(wait, kLongest);
}

}  // namespace cairn::client
