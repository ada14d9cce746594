#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"

#include "broker/partitions/partition_map.h"
#include "protocol/types.h"

namespace cairn::broker {

// Compaction: one thread that cleans the partition which wants it most, and then the next. A thread
// of its own, since one cleaning may take minutes; its reads and writes are held to so many bytes a
// second, so that those who produce and consume hardly feel it.
//
// Threads: Start, Stop and the destructor from its owner.
class Cleaner {
 public:
  struct Options {
    std::int64_t map_bytes = 64 << 20;           // for the keys of one cleaning
    std::int64_t bytes_per_second = 64 << 20;    // read and written together
    std::chrono::milliseconds interval{1000};    // between two looks at all partitions
    std::chrono::milliseconds patience{60'000};  // before one that failed is tried again
    // Default: WallNow, and trusted.
    std::function<storage::CompactionTime()> clock;
  };

  Cleaner(PartitionMap& map, Options options);
  ~Cleaner();  // stops

  void Start();
  // Ends within one step of a cleaning; what was not swapped yet is given up.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;

  void Loop();
  std::shared_ptr<Partition> Neediest();
  void Clean(const std::shared_ptr<Partition>& partition);
  absl::Status Pace(std::int64_t bytes);
  bool WaitUntil(Clock::time_point time);

  PartitionMap& map_;
  Options options_;
  const std::uint64_t hash_seed_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;

  // The thread's own.
  Clock::time_point paid_until_;  // when what was read and written so far is within the budget
  absl::flat_hash_map<const Partition*, Clock::time_point> not_before_;

  std::thread thread_;
};

}  // namespace cairn::broker
