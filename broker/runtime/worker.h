#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "asio/executor_work_guard.hpp"
#include "asio/io_context.hpp"

namespace cairn::broker {

// One event loop and the one thread that runs it. What lives on a worker (a connection) is only
// touched by that thread, so it needs no lock; other threads reach it with asio::post(context(),
// …).
class Worker {
 public:
  explicit Worker(int index);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();  // requires that it never ran, or was joined

  int index() const { return index_; }
  asio::io_context& context() { return context_; }
  // Any thread.
  bool OnThisThread() const {
    return thread_id_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }

  void Start();
  // Ends the loop after the handler that runs now; what is queued is destroyed unrun with the
  // worker. Any thread.
  void Stop();
  void Join();

 private:
  const int index_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  std::thread thread_;
  std::atomic<std::thread::id> thread_id_;
};

// The broker's workers, as many as there are cores unless told otherwise.
class Workers {
 public:
  // 0: one for each core.
  explicit Workers(int count = 0);
  ~Workers();

  void Start();
  // Round robin, for newly accepted sockets. Any thread.
  Worker& Next();
  Worker& at(int index) { return *workers_[static_cast<std::size_t>(index)]; }
  int size() const { return static_cast<int>(workers_.size()); }

  // Ends all loops and waits for their threads. Handlers that were queued are not run. Must not be
  // called on a worker.
  void StopAndJoin();

 private:
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<unsigned> next_{0};
};

}  // namespace cairn::broker
