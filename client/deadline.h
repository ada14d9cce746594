#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "client/options.h"

namespace cairn::client {

// The moment `wait` after `from`. A wait without end (Duration::max()) is a century: the sum would
// not fit in a clock that counts nanoseconds.
inline std::chrono::steady_clock::time_point DeadlineAfter(
    Duration wait, std::chrono::steady_clock::time_point from = std::chrono::steady_clock::now()) {
  constexpr Duration kLongest = std::chrono::hours(24 * 365 * 100);
  return from + std::min(wait, kLongest);
}

// How long a call may wait in all. The clock is first read when it has to wait at all.
class Patience {
 public:
  explicit Patience(Duration wait) : wait_(wait) {}

  std::chrono::steady_clock::time_point End() {
    if (!end_.has_value()) end_ = DeadlineAfter(wait_);
    return *end_;
  }
  Duration Left() {
    const auto left = End() - std::chrono::steady_clock::now();
    return std::max(std::chrono::duration_cast<Duration>(left), Duration(1));
  }

 private:
  const Duration wait_;
  std::optional<std::chrono::steady_clock::time_point> end_;
};

}  // namespace cairn::client
