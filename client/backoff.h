#pragma once

#include <algorithm>

#include "client/options.h"

namespace cairn::client {

// How long to wait before trying again: from `min`, doubling up to `max`, until something succeeds.
class Backoff {
 public:
  Backoff(Duration min, Duration max) : min_(min), max_(max), next_(min) {}

  Duration Next() {
    const Duration now = next_;
    next_ = std::min(next_ * 2, max_);
    return now;
  }
  void Reset() { next_ = min_; }

 private:
  Duration min_, max_, next_;
};

}  // namespace cairn::client
