#pragma once

#include <atomic>
#include <cstdint>

namespace cairn::broker {

// Counts what the broker has done since it started. Any thread; each counter is exact, but a reader
// may see one ahead of another.
struct Metrics {
  // On the path of every append: a cache line of their own.
  alignas(64) std::atomic<std::int64_t> appended_records{0};
  std::atomic<std::int64_t> appended_bytes{0};
  std::atomic<std::int64_t> duplicate_batches{0};

  // By the flusher alone.
  alignas(64) std::atomic<std::int64_t> sync_cycles{0};
  std::atomic<std::int64_t> synced_partitions{0};
  std::atomic<std::int64_t> file_system_syncs{0};
  std::atomic<std::int64_t> acknowledgements{0};
  std::atomic<std::int64_t> failed_syncs{0};

  alignas(64) std::atomic<std::int64_t> connections{0};  // now open
  std::atomic<std::int64_t> connections_refused{0};
};

inline void Count(std::atomic<std::int64_t>& counter, std::int64_t by = 1) {
  counter.fetch_add(by, std::memory_order_relaxed);
}

}  // namespace cairn::broker
