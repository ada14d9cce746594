#include "broker/partitions/cleaner.h"

#include <algorithm>
#include <random>
#include <utility>

#include "broker/runtime/background.h"
#include "broker/runtime/clock.h"
#include "broker/runtime/logging.h"
#include "protocol/error_code.h"

namespace cairn::broker {
namespace {

// What may be read and written at once after a pause.
constexpr std::chrono::milliseconds kBurst{100};

std::uint64_t RandomSeed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

}  // namespace

Cleaner::Cleaner(PartitionMap& map, Options options)
    : map_(map), options_(std::move(options)), hash_seed_(RandomSeed()) {
  if (!options_.clock) options_.clock = &WallNow;
}

Cleaner::~Cleaner() { Stop(); }

void Cleaner::Start() { thread_ = std::thread(&Cleaner::Loop, this); }

void Cleaner::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Cleaner::Loop() {
  GiveWayToOthers();
  do {
    while (const std::shared_ptr<Partition> partition = Neediest()) Clean(partition);
  } while (WaitUntil(Clock::now() + options_.interval));
}

// False: it is time to stop.
bool Cleaner::WaitUntil(Clock::time_point time) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_until(lock, time, [this] { return stopping_; });
}

std::shared_ptr<Partition> Cleaner::Neediest() {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return nullptr;
  }
  const auto now = Clock::now();
  absl::erase_if(not_before_, [now](const auto& each) { return each.second <= now; });
  const storage::CompactionTime time = options_.clock();
  const std::shared_ptr<const ServedTopics> topics = map_.Load();
  std::shared_ptr<Partition> neediest;
  double most = 0;
  for (const auto& [name, topic] : topics->by_name()) {
    if (!topic->options.partition.log.compaction.enabled) continue;
    for (const std::shared_ptr<Partition>& partition : topic->partitions) {
      const double need = partition->CompactionNeed(time);
      if (need <= most || not_before_.contains(partition.get())) continue;
      most = need;
      neediest = partition;
    }
  }
  return neediest;
}

void Cleaner::Clean(const std::shared_ptr<Partition>& partition) {
  storage::Compactor::Options options;
  options.map_bytes = options_.map_bytes;
  options.hash_seed = hash_seed_;
  options.pace = [this](std::int64_t bytes) { return Pace(bytes); };
  const auto begun = Clock::now();
  const auto cleaned = partition->Compact(std::move(options), options_.clock());
  if (cleaned.ok()) {
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun);
    LogInfo("cleaned", {{"topic", partition->topic_name()},
                        {"partition", partition->id().partition},
                        {"keys", cleaned->keys},
                        {"records_before", cleaned->records_read},
                        {"records_after", cleaned->records_kept},
                        {"bytes_read", cleaned->bytes_read},
                        {"bytes_written", cleaned->bytes_written},
                        {"ms", took.count()}});
    return;
  }
  not_before_[partition.get()] = Clock::now() + options_.patience;
  // Trimmed or deleted meanwhile, or it is time to stop: nothing to tell.
  const bool expected = absl::IsAborted(cleaned.status()) || absl::IsCancelled(cleaned.status()) ||
                        CodeOf(cleaned.status()) == ErrorCode::kStopping || partition->deleted();
  if (expected) return;
  LogWarning("cleaning failed; nothing is lost by it, and it is tried again later",
             {{"topic", partition->topic_name()},
              {"partition", partition->id().partition},
              {"reason", cleaned.status()}});
}

absl::Status Cleaner::Pace(std::int64_t bytes) {
  const std::chrono::duration<double> cost(static_cast<double>(bytes) /
                                           static_cast<double>(options_.bytes_per_second));
  paid_until_ = std::max(paid_until_, Clock::now() - kBurst) +
                std::chrono::duration_cast<Clock::duration>(cost);
  if (WaitUntil(paid_until_)) return absl::OkStatus();
  return absl::CancelledError("the broker is going down");
}

}  // namespace cairn::broker
