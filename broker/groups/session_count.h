#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace cairn::broker {

// How many sessions there are, so that nobody watches over none.
//
// Threads: any.
class SessionCount {
 public:
  void Add(std::int64_t more) {
    const std::lock_guard lock(mutex_);
    count_ += more;
    if (count_ > 0) wake_.notify_all();
  }
  void Stop() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  // Waits for `tick`, and then until there is a session. False: stopped.
  bool Wait(std::chrono::milliseconds tick) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, tick, [this] { return stopping_; });
    wake_.wait(lock, [this] { return stopping_ || count_ > 0; });
    return !stopping_;
  }
  bool any() const {
    const std::lock_guard lock(mutex_);
    return count_ > 0;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::int64_t count_ = 0;
  bool stopping_ = false;
};

}  // namespace cairn::broker
