#pragma once

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace cairn::broker {

// Calls `task(i)` for each i in [0, count), on up to `threads_max` threads, this one included, and
// waits for all. For start and stop, where thousands of short waits for the disk would add up.
template <typename Task>
void ForEachInParallel(std::size_t count, std::size_t threads_max, const Task& task) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) task(i);
  };
  std::vector<std::thread> threads;
  while (threads.size() + 1 < threads_max && threads.size() + 1 < count) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace cairn::broker
