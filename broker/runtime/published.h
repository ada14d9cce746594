#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

namespace cairn::broker {

// A value that many read and few replace: whoever writes publishes a new one as a whole, readers
// see the old one or the new one, never half of each.
template <typename T>
class Published {
 public:
  explicit Published(std::shared_ptr<const T> value) : value_(std::move(value)) {}

  // Any thread; takes a short lock.
  std::shared_ptr<const T> Load() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  void Store(std::shared_ptr<const T> value) {
    {
      const std::lock_guard lock(mutex_);
      value_.swap(value);
      version_.fetch_add(1, std::memory_order_release);
    }
    // The old value, when this was its last holder, is destroyed here, outside the lock.
  }

  // One thread's view, for paths on which even the lock and the counting would show: one atomic
  // load while nothing changed. Holds the value it saw last.
  class Reader {
   public:
    explicit Reader(const Published& published) : published_(published) {}

    const T& Get() {
      const std::uint64_t version = published_.version_.load(std::memory_order_acquire);
      if (version != version_) {
        // A newer value than `version` may be loaded: then the next Get loads it once more.
        value_ = published_.Load();
        version_ = version;
      }
      return *value_;
    }

   private:
    const Published& published_;
    std::uint64_t version_ = 0;
    std::shared_ptr<const T> value_;
  };

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> value_;
  std::atomic<std::uint64_t> version_{1};
};

}  // namespace cairn::broker
