#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

namespace cairn::broker {

// Stops new requests and tells when the existing ones are done. Any thread.
//
//   if (Gate::Pass pass = gate.Enter()) { … the gate waits for `pass` … }
class Gate {
 public:
  // Held while something is under way. Movable; empty when the gate was closed.
  class Pass {
   public:
    Pass() = default;
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    ~Pass() {
      if (gate_ != nullptr) gate_->Leave();
    }
    explicit operator bool() const { return gate_ != nullptr; }

   private:
    friend class Gate;
    explicit Pass(Gate* gate) : gate_(gate) {}
    Gate* gate_ = nullptr;
  };

  Pass Enter() {
    const std::lock_guard lock(mutex_);
    if (closed_) return Pass();
    ++inside_;
    return Pass(this);
  }

  // Nobody enters from now on. Does not wait.
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  // Requires that it is closed. Returns when everybody has left.
  void Wait() {
    std::unique_lock lock(mutex_);
    empty_.wait(lock, [this] { return inside_ == 0; });
  }

 private:
  void Leave() {
    const std::lock_guard lock(mutex_);
    if (--inside_ == 0) empty_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable empty_;
  std::int64_t inside_ = 0;
  bool closed_ = false;
};

}  // namespace cairn::broker
