#include "broker/runtime/helper_pool.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"

namespace cairn::broker {

HelperPool::HelperPool() : HelperPool(Options()) {}

HelperPool::HelperPool(Options options) {
  for (std::size_t kind = 0; kind < kHelperKinds; ++kind) {
    Queue& queue = queues_[kind];
    const bool reads = kind == static_cast<std::size_t>(HelperKind::kRead);
    queue.tasks_max = reads ? options.read_queue_max : options.other_queue_max;
    const int threads = reads ? options.read_threads : 1;
    for (int i = 0; i < threads; ++i) queue.threads.emplace_back([&queue] { Run(queue); });
  }
}

HelperPool::~HelperPool() { Stop(); }

void HelperPool::Submit(HelperKind kind, Task task) {
  Queue& queue = queues_[static_cast<std::size_t>(kind)];
  absl::Status refused;
  {
    const std::lock_guard lock(queue.mutex);
    if (queue.stopped) {
      refused = MakeError(ErrorCode::kStopping, "the broker is going down");
    } else if (queue.tasks.size() >= queue.tasks_max) {
      refused = MakeError(ErrorCode::kTooManyInFlight,
                          absl::StrFormat("%d requests already wait for the disk; try again later",
                                          queue.tasks_max));
    } else {
      queue.tasks.push_back(std::move(task));
    }
  }
  if (refused.ok()) {
    queue.wake.notify_one();
  } else {
    task(std::move(refused));
  }
}

void HelperPool::Run(Queue& queue) {
  std::unique_lock lock(queue.mutex);
  while (true) {
    queue.wake.wait(lock, [&queue] { return queue.stopped || !queue.tasks.empty(); });
    if (queue.stopped) return;
    Task task = std::move(queue.tasks.front());
    queue.tasks.pop_front();
    lock.unlock();
    task(absl::OkStatus());
    task = nullptr;  // what it holds is let go before the next wait
    lock.lock();
  }
}

void HelperPool::Stop() {
  for (const HelperKind kind :
       {HelperKind::kAdmin, HelperKind::kRead, HelperKind::kTrim, HelperKind::kState}) {
    Stop(queues_[static_cast<std::size_t>(kind)]);
  }
}

void HelperPool::Stop(Queue& queue) {
  std::deque<Task> left;
  {
    const std::lock_guard lock(queue.mutex);
    queue.stopped = true;
    left.swap(queue.tasks);
  }
  queue.wake.notify_all();
  for (std::thread& thread : queue.threads) thread.join();
  queue.threads.clear();
  for (Task& task : left) task(MakeError(ErrorCode::kStopping, "the broker is going down"));
}

}  // namespace cairn::broker
