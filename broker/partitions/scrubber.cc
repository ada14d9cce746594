#include "broker/partitions/scrubber.h"

#include <algorithm>
#include <utility>

#include "broker/runtime/background.h"
#include "broker/runtime/clock.h"
#include "broker/runtime/logging.h"
#include "protocol/error_code.h"

namespace cairn::broker {

Scrubber::Scrubber(PartitionMap& map, std::filesystem::path data_dir)
    : Scrubber(map, std::move(data_dir), Options()) {}

Scrubber::Scrubber(PartitionMap& map, std::filesystem::path data_dir, Options options)
    : map_(map), data_dir_(std::move(data_dir)), options_(std::move(options)) {
  if (!options_.clock) options_.clock = &WallNow;
}

Scrubber::~Scrubber() { Stop(); }

void Scrubber::Start() {
  state_ = storage::LoadScrubState(data_dir_);
  if (options_.interval.count() > 0) thread_ = std::thread(&Scrubber::Loop, this);
}

void Scrubber::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Scrubber::Progress Scrubber::progress() const {
  const std::lock_guard lock(mutex_);
  return {.enabled = options_.interval.count() > 0, .running = running_, .state = state_};
}

// False: it is to stop.
bool Scrubber::Wait(std::chrono::microseconds time) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, time, [this] { return stopping_; });
}

// By the wall clock, which may jump: a round too early or too late does no harm, but none at all
// would. One that was begun by a run before goes on at once.
bool Scrubber::IsDue() const {
  const bool is_unfinished = state_.round_began > state_.completed;
  return is_unfinished || state_.completed == kNoTimestamp || IsOfWrongClock(state_.completed) ||
         options_.clock() - state_.completed >= options_.interval.count();
}

// Far ahead: it was noted while the clock was.
bool Scrubber::IsOfWrongClock(Timestamp noted) const {
  return noted - options_.clock() >= options_.interval.count();
}

void Scrubber::Loop() {
  GiveWayToOthers();
  const auto look_interval = std::min(options_.look_interval, options_.interval);
  do {
    if (IsDue()) Round();
  } while (Wait(look_interval));
}

std::vector<std::shared_ptr<Partition>> Scrubber::PartitionsInOrder() const {
  std::vector<std::shared_ptr<Partition>> partitions;
  const std::shared_ptr<const ServedTopics> topics = map_.Load();
  for (const auto& [name, topic] : topics->by_name()) {
    partitions.insert(partitions.end(), topic->partitions.begin(), topic->partitions.end());
  }
  std::sort(partitions.begin(), partitions.end(),
            [](const auto& a, const auto& b) { return a->id() < b->id(); });
  return partitions;
}

void Scrubber::Round() {
  {
    const std::lock_guard lock(mutex_);
    running_ = true;
    if (IsOfWrongClock(state_.completed)) state_.round_began = state_.completed = kNoTimestamp;
    if (state_.round_began <= state_.completed) {
      state_ = {.round_began = std::max(options_.clock(), state_.completed + 1),
                .completed = state_.completed};
    }
  }
  save_due_ = Clock::now() + options_.save_interval;
  bool stopped = false;
  for (const std::shared_ptr<Partition>& partition : PartitionsInOrder()) {
    const bool begun = state_.segment_base != kNoOffset;
    if (begun && partition->id() < state_.partition) continue;
    for (const auto& segment : partition->SealedSegments()) {
      if (begun && partition->id() == state_.partition && segment->base() <= state_.segment_base) {
        continue;
      }
      Check(partition, segment);
      stopped = !Wait(std::chrono::microseconds(0));
      if (stopped) break;
    }
    if (stopped) break;
  }
  {
    const std::lock_guard lock(mutex_);
    running_ = false;
    if (!stopped) state_.completed = std::max(options_.clock(), state_.round_began);
  }
  Save(/*now=*/true);
}

void Scrubber::Check(const std::shared_ptr<Partition>& partition,
                     const std::shared_ptr<storage::Segment>& segment) {
  std::int64_t checked = 0;
  const absl::Status outcome = segment->Scrub([&](std::int64_t bytes) {
    checked += bytes;
    return Wait(std::chrono::microseconds(bytes * 1'000'000 / options_.bytes_per_second));
  });
  if (absl::IsCancelled(outcome)) return;
  const bool is_damage =
      CodeOf(outcome) == ErrorCode::kPartitionOffline && partition->NoticeDamage(*segment);
  if (is_damage) {
    LogError("damage at rest: the partition is offline from there on",
             {{"topic", partition->topic_name()},
              {"partition", partition->id().partition},
              {"reason", outcome}});
  } else if (!outcome.ok() && !partition->deleted()) {
    LogWarning("a segment could not be checked", {{"topic", partition->topic_name()},
                                                  {"partition", partition->id().partition},
                                                  {"reason", outcome}});
  }
  {
    const std::lock_guard lock(mutex_);
    ++state_.segments;
    state_.bytes += checked;
    state_.damages += is_damage ? 1 : 0;
    state_.partition = partition->id();
    state_.segment_base = segment->base();
  }
  Save(/*now=*/false);
}

void Scrubber::Save(bool now) {
  if (!now && Clock::now() < save_due_) return;
  save_due_ = Clock::now() + options_.save_interval;
  const absl::Status saved = storage::SaveScrubState(data_dir_, state_);
  if (!saved.ok()) LogWarning("the scrub's progress is not kept", {{"reason", saved}});
}

}  // namespace cairn::broker
