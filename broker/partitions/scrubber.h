#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "broker/partitions/partition_map.h"
#include "protocol/types.h"
#include "storage/scrub_state.h"

namespace cairn::broker {

// Reads every sealed segment again, once in an interval and slowly, so that damage at rest is found
// while a backup or a replica may still have the records, and not by the consumer who needs them.
// Damage takes the partition offline from there on, as it does when a reader meets it; others are
// not concerned. How far it has come is kept in DATA/scrub: however often the broker restarts, the
// round goes on where it was.
//
// One thread of its own, which waits most of the time. Start and Stop from its owner; progress()
// from any.
class Scrubber {
 public:
  struct Options {
    std::chrono::milliseconds interval{std::chrono::hours(7 * 24)};  // 0: off
    std::int64_t bytes_per_second = 20 << 20;
    std::function<Timestamp()> clock = {};  // default: WallNow
    // How often it looks whether the next round is due (or as often as one is), and how often
    // progress is written.
    std::chrono::milliseconds look_interval{std::chrono::minutes(1)};
    std::chrono::milliseconds save_interval{std::chrono::seconds(10)};
  };

  Scrubber(PartitionMap& map, std::filesystem::path data_dir);
  Scrubber(PartitionMap& map, std::filesystem::path data_dir, Options options);
  ~Scrubber();  // stops

  void Start();
  // Ends within about the time of one read.
  void Stop();

  struct Progress {
    bool enabled = false;
    bool running = false;  // a round is under way
    storage::ScrubState state;
  };
  Progress progress() const;

 private:
  using Clock = std::chrono::steady_clock;

  void Loop();
  bool IsDue() const;
  bool IsOfWrongClock(Timestamp noted) const;
  void Round();
  std::vector<std::shared_ptr<Partition>> PartitionsInOrder() const;
  void Check(const std::shared_ptr<Partition>& partition,
             const std::shared_ptr<storage::Segment>& segment);
  bool Wait(std::chrono::microseconds time);
  void Save(bool now);

  PartitionMap& map_;
  const std::filesystem::path data_dir_;
  Options options_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool running_ = false;
  storage::ScrubState state_;  // changed by the thread only

  Clock::time_point save_due_;  // the thread's own
  std::thread thread_;
};

}  // namespace cairn::broker
