#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"

#include "broker/partitions/open_files.h"
#include "broker/partitions/partition_map.h"
#include "broker/runtime/append_clock.h"
#include "protocol/types.h"

namespace cairn::broker {

// Background work that nobody waits for, one thread: seals complete segments, rolls old ones,
// writes producer snapshots, forgets idle producers, closes files that nobody uses, applies
// retention, and runs jobs such as removing deleted directories. For sealing and rolling it visits
// only partitions that were written to, and those whose segment has come of age; retention looks at
// every partition at its interval.
//
// Threads: Note and Run from any, the rest from its owner.
class Janitor {
 public:
  struct Options {
    std::chrono::milliseconds visit_delay{5000};  // after an append, so that one visit serves many
    std::chrono::milliseconds expiry_interval{std::chrono::hours(1)};
    std::chrono::milliseconds retention_interval{std::chrono::minutes(1)};
    std::chrono::milliseconds unused_interval{std::chrono::seconds(30)};
    AppendClock* clock = nullptr;     // outlives the janitor
    OpenFiles* open_files = nullptr;  // likewise
  };

  Janitor(PartitionMap& map, Options options);
  ~Janitor();  // stops

  void Start();
  // Ends after the piece of work that runs now; jobs that have not begun are dropped (they are
  // found again at the next start).
  void Stop();

  // `partition` was appended to; soon: it has a segment to seal.
  void Note(std::shared_ptr<Partition> partition, bool soon);

  // Runs `job` on the janitor's thread, after those before it. `job` should look at stopping()
  // between steps that take long.
  void Run(absl::AnyInvocable<void()> job);
  bool stopping() const;
  // Applies retention as soon as the janitor gets to it, not only when its interval is over: for
  // when room is needed.
  void RetainSoon();

 private:
  using Clock = std::chrono::steady_clock;

  void Loop();
  void Visit(const std::shared_ptr<Partition>& partition);
  void Seal(const std::shared_ptr<Partition>& partition);
  void ScheduleRoll(const std::shared_ptr<Partition>& partition, std::chrono::milliseconds in);
  void ExpireProducers();
  void CloseUnused();
  void RetainAll();

  PartitionMap& map_;
  Options options_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::multimap<Clock::time_point, std::weak_ptr<Partition>> visits_;
  std::deque<absl::AnyInvocable<void()>> jobs_;
  Clock::time_point retention_due_;
  Clock::time_point unused_due_;
  bool stopping_ = false;

  // The thread's own: which partitions have a visit scheduled for their segment's coming of age.
  std::multimap<Clock::time_point, std::weak_ptr<Partition>> rolls_;
  absl::flat_hash_map<const Partition*, Clock::time_point> roll_due_;
  Clock::time_point expiry_due_;

  std::thread thread_;
};

}  // namespace cairn::broker
