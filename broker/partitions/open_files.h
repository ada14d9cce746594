#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"

namespace cairn::broker {

class HelperPool;
class Partition;

// How the descriptors of this process are shared out.
struct DescriptorShares {
  std::int64_t limit = 0;        // RLIMIT_NOFILE
  std::int64_t connections = 0;  // for sockets
  std::int64_t files = 0;        // for segments; also within what may be mapped (vm.max_map_count)

  // Raises the soft limit to the hard one and shares out what there is.
  static absl::StatusOr<DescriptorShares> Derive();
  static DescriptorShares Of(std::int64_t descriptors_max, std::int64_t maps_max);
};

// The budget of open segment files (each a descriptor and perhaps a mapping). Partitions say when
// they open files; above the budget the ones used longest ago are closed, and so is what nobody
// uses any more; never those with unsynced writes.
//
// Threads: any.
class OpenFiles {
 public:
  // Above 3/4 of `files_max` files are closed; at `files_max` nothing more is opened.
  OpenFiles(std::int64_t files_max, HelperPool& helpers);

  // A clock for "used longest ago", which advances when a partition opens files. Cheap: partitions
  // note it with every use.
  std::uint64_t now() const { return clock_.load(std::memory_order_relaxed); }

  bool IsFull() const { return files() >= files_max_; }
  // May a partition that has nothing open, open something? If not, files are being closed: the
  // caller tries again later.
  bool HasRoom();
  // Closes files now, should there be no room: for those who cannot try again. The caller holds no
  // partition's lock.
  void MakeRoom();

  // A partition that had nothing open opens its first `files`. May be called with its lock held.
  void NoteActive(std::weak_ptr<Partition> partition, std::int64_t files);
  // One that is active opens `files` more.
  void NoteOpened(std::int64_t files);

  // About how many are open; exact after a sweep.
  std::int64_t files() const { return files_.load(std::memory_order_relaxed); }
  std::int64_t files_max() const { return files_max_; }

  // Counts, and closes what is above the budget. Runs by itself on a helper thread when needed.
  void Sweep();
  // Closes what was not used since the last call: an idle partition holds no file and no mapping.
  // Gives how many files that were.
  std::int64_t CloseUnused();

 private:
  void SweepIfAbove();
  // Gives how many files it closed.
  std::int64_t SweepLocked(std::uint64_t unused_before = 0);

  const std::int64_t files_max_;
  HelperPool& helpers_;
  std::atomic<std::uint64_t> clock_{1};
  std::atomic<std::int64_t> files_{0};
  std::atomic<bool> sweep_queued_{false};

  std::mutex sweep_mutex_;          // one sweep at a time
  std::uint64_t unused_since_ = 0;  // guarded by sweep_mutex_; by clock_
  std::mutex mutex_;
  std::vector<std::weak_ptr<Partition>> active_;  // guarded by mutex_; each once
};

}  // namespace cairn::broker
