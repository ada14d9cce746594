#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

#include "storage/data_dir.h"

namespace cairn::broker {

// How much of its disk a data directory takes. Counting takes long where there are many files, so
// it is done at most once a second, however many ask. Any thread.
class DiskUsage {
 public:
  using Clock = std::chrono::steady_clock;

  struct Seen {
    std::int64_t used = 0;  // bytes of blocks
    storage::DataDir::DiskSpace space;
  };

  // Borrows it.
  explicit DiskUsage(const storage::DataDir& data_dir) : data_dir_(data_dir) {}

  // Waits for the disk, or for whoever is counting already.
  Seen Look(Clock::time_point now);

 private:
  const storage::DataDir& data_dir_;
  std::mutex mutex_;  // guards what follows
  Seen seen_;
  Clock::time_point fresh_until_{};
};

}  // namespace cairn::broker
