#include "broker/partitions/open_files.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sys/resource.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/partitions/partition.h"
#include "broker/runtime/helper_pool.h"

namespace cairn::broker {
namespace {

// For the program itself: journals, event loops, listeners, whatever a library opens.
constexpr std::int64_t kOwnDescriptors = 128;
constexpr std::int64_t kMapsWithoutLimit =
    65530;  // the kernel's default, should it not be readable

std::int64_t MapsMax() {
  std::ifstream file("/proc/sys/vm/max_map_count");
  std::int64_t maps = 0;
  return file >> maps && maps > 0 ? maps : kMapsWithoutLimit;
}

// Begins to close at 3/4 of the budget and goes down to 1/2: closing a few at a time would mean to
// look at all of them for each few.
constexpr std::int64_t StartAt(std::int64_t files_max) { return files_max / 4 * 3; }
constexpr std::int64_t GoDownTo(std::int64_t files_max) { return files_max / 2; }

}  // namespace

DescriptorShares DescriptorShares::Of(std::int64_t descriptors_max, std::int64_t maps_max) {
  DescriptorShares shares;
  shares.limit = descriptors_max;
  const std::int64_t rest = std::max<std::int64_t>(descriptors_max - kOwnDescriptors, 32);
  shares.connections = rest / 4;
  // Half of the mappings: the allocator and the libraries need some too.
  shares.files = std::max<std::int64_t>(std::min(rest - shares.connections, maps_max / 2), 16);
  return shares;
}

absl::StatusOr<DescriptorShares> DescriptorShares::Derive() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return absl::InternalError(absl::StrFormat("reading the limit of open files: errno %d", errno));
  }
  if (limit.rlim_cur < limit.rlim_max) {
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  }
  // More would help nobody, and "unlimited" is not a number to divide.
  constexpr rlim_t kEnough = 1 << 20;
  return Of(static_cast<std::int64_t>(std::min(limit.rlim_cur, kEnough)), MapsMax());
}

OpenFiles::OpenFiles(std::int64_t files_max, HelperPool& helpers)
    : files_max_(files_max), helpers_(helpers) {}

bool OpenFiles::HasRoom() {
  if (!IsFull()) return true;
  // Those with unsynced writes may have kept the last sweep from closing enough.
  SweepIfAbove();
  return false;
}

void OpenFiles::MakeRoom() {
  if (!IsFull()) return;
  const std::lock_guard one_at_a_time(sweep_mutex_);
  if (IsFull()) SweepLocked();
}

void OpenFiles::NoteActive(std::weak_ptr<Partition> partition, std::int64_t files) {
  clock_.fetch_add(1, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    active_.push_back(std::move(partition));
  }
  NoteOpened(files);
}

void OpenFiles::NoteOpened(std::int64_t files) {
  files_.fetch_add(files, std::memory_order_relaxed);
  SweepIfAbove();
}

void OpenFiles::SweepIfAbove() {
  if (this->files() <= StartAt(files_max_)) return;
  if (sweep_queued_.exchange(true)) return;
  helpers_.Submit(HelperKind::kRead, [this](const absl::Status& status) {
    sweep_queued_.store(false);
    if (status.ok()) Sweep();
  });
}

void OpenFiles::Sweep() {
  const std::lock_guard one_at_a_time(sweep_mutex_);
  SweepLocked();
}

std::int64_t OpenFiles::CloseUnused() {
  const std::lock_guard one_at_a_time(sweep_mutex_);
  const std::int64_t closed = SweepLocked(unused_since_);
  unused_since_ = clock_.fetch_add(1, std::memory_order_relaxed) + 1;
  return closed;
}

std::int64_t OpenFiles::SweepLocked(std::uint64_t unused_before) {
  // What is opened from here on is added to the outcome; counting it twice is mended the next time.
  const std::int64_t before = files();
  std::vector<std::weak_ptr<Partition>> active;
  {
    const std::lock_guard lock(mutex_);
    active.swap(active_);
  }
  struct Candidate {
    std::uint64_t last_used;
    int files;
    std::shared_ptr<Partition> partition;
  };
  std::vector<Candidate> candidates;
  candidates.reserve(active.size());
  std::int64_t open = 0, closed = 0;
  for (const std::weak_ptr<Partition>& weak : active) {
    std::shared_ptr<Partition> partition = weak.lock();
    if (partition == nullptr) continue;
    const int files = partition->open_files();
    open += files;
    candidates.push_back({partition->last_used(), files, std::move(partition)});
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.last_used < b.last_used; });
  std::vector<std::weak_ptr<Partition>> still_active;
  still_active.reserve(candidates.size());
  const bool close = open > StartAt(files_max_);
  for (const Candidate& candidate : candidates) {
    // One with nothing open is asked too: it then counts as inactive.
    if (candidate.files == 0 || candidate.last_used < unused_before ||
        (close && open > GoDownTo(files_max_))) {
      const int left = candidate.partition->CloseIdle();
      open -= candidate.files - left;
      closed += candidate.files - left;
      if (left == 0) continue;
    }
    still_active.push_back(candidate.partition);
  }
  files_.fetch_add(open - before, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  active_.insert(active_.end(), std::make_move_iterator(still_active.begin()),
                 std::make_move_iterator(still_active.end()));
  return closed;
}

}  // namespace cairn::broker
