#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

namespace cairn::broker {

// What helper threads do. Each kind has threads and a queue of its own, so that one that is slow
// never keeps the others waiting.
enum class HelperKind : std::size_t {
  kRead = 0,   // cold reads, look-ups by time
  kTrim = 1,   // trims and what they remove
  kState = 2,  // what follows a state topic's group commit; one thread: in order
  kAdmin = 3,  // topic administration; one thread: one at a time
};
inline constexpr std::size_t kHelperKinds = 4;

// A few threads for work that may wait for the disk, which the workers must not.
class HelperPool {
 public:
  // Called exactly once: with OK on a helper thread, or with an error instead of being run:
  //   ErrorCode::kTooManyInFlight  the queue of this kind is full; called before Submit returns
  //   ErrorCode::kStopping         the pool is stopped; called before Submit or Stop returns
  using Task = absl::AnyInvocable<void(absl::Status)>;

  struct Options {
    int read_threads = 2;
    std::size_t read_queue_max = 65536;
    std::size_t other_queue_max = 4096;
  };

  HelperPool();
  explicit HelperPool(Options options);
  HelperPool(const HelperPool&) = delete;
  HelperPool& operator=(const HelperPool&) = delete;
  ~HelperPool();  // stops

  // Any thread. First come, first served within a kind. The caller holds no lock that the task
  // takes.
  void Submit(HelperKind kind, Task task);

  // Waits for the tasks that run; those still queued get kStopping. One kind after the other,
  // kState last, for administration waits for what follows from its group commits. Not from a
  // helper thread.
  void Stop();

 private:
  struct Queue {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<Task> tasks;
    std::size_t tasks_max = 0;
    bool stopped = false;
    std::vector<std::thread> threads;
  };
  static void Run(Queue& queue);
  static void Stop(Queue& queue);

  std::array<Queue, kHelperKinds> queues_;
};

}  // namespace cairn::broker
