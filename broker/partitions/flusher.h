#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"

#include "broker/partitions/partition.h"
#include "broker/runtime/metrics.h"
#include "storage/data_dir.h"

namespace cairn::broker {

// The group commit. One thread takes all partitions that have something to make durable, syncs what
// they wrote (one fdatasync each for a few, one syncfs for many), notes their durable ends in the
// frontier, and only then tells them; each waiting sink hears once a cycle, with all that became
// due.
//
// A failed sync is final for the partition (it takes no writes until the restart), and its waiters
// are told that the outcome is unknown. After a failed syncfs each file is synced through the
// descriptor that wrote it: those that fail are out; if none does, all are, for nobody knows which
// it was. A syncfs that succeeded proves nothing for a file whose sync failed elsewhere (a seal
// syncs, too): that file remembers. Once any sync has failed, syncfs is not used any more: it would
// tell of that error again, to partitions that have nothing to do with it. A frontier that cannot
// be written fails the partitions of the cycle, and all later ones.
//
// Where the process is out of descriptors, nothing was synced and nothing failed: it is tried again
// a little later, and the waiters go on waiting.
//
// Idle it sleeps. Threads: MarkDirty from any; the rest from the one that owns it.
class Flusher {
 public:
  // What tests replace.
  struct Options {
    std::size_t alone_max = 4;  // up to so many partitions are synced one by one
    std::function<absl::Status(const storage::SyncPlan&)> sync;  // default: SyncPlan::Sync
    std::function<absl::Status()> sync_file_system;              // default: DataDir's
  };

  Flusher(storage::DataDir& data_dir, Metrics& metrics);
  Flusher(storage::DataDir& data_dir, Metrics& metrics, Options options);
  ~Flusher();  // stops

  void Start();
  // Makes everything durable that was marked before the call, tells the waiters, and ends the
  // thread. What is marked afterwards stays as it is.
  void Stop();

  // `partition` has something that must be durable within `delay`; zero: at once.
  void MarkDirty(std::shared_ptr<Partition> partition, std::chrono::milliseconds delay);

 private:
  using Clock = std::chrono::steady_clock;
  struct Work {
    std::shared_ptr<Partition> partition;
    storage::SyncPlan plan;
    absl::Status outcome;
  };

  void Run();
  bool AddLater(std::shared_ptr<Partition> partition, Clock::time_point due);
  void TakeDue(bool all);
  Clock::time_point NextDue() const;
  void Cycle(bool last);
  void SyncEach(std::vector<Work>& works);
  void SyncTogether(std::vector<Work>& works);
  void TryAgainLater(std::vector<Work>& works);
  void NoteInFrontier(bool last);
  void Answer(std::vector<Work>& works);
  void SyncFrontier();

  storage::DataDir& data_dir_;
  Metrics& metrics_;
  Options options_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<Partition>> urgent_;
  using Later = std::multimap<Clock::time_point, std::shared_ptr<Partition>>;
  Later later_;  // each partition once
  absl::flat_hash_map<const Partition*, Later::iterator> later_of_;
  bool stopping_ = false;

  // The flusher thread's own. Between two cycles the vectors are empty, but for synced_; they are
  // members because they keep their memory.
  std::vector<std::shared_ptr<Partition>> taken_;
  std::vector<Work> works_;
  std::vector<Work> synced_;  // not in the frontier yet
  Clock::time_point note_due_;
  bool frontier_changed_ = false;
  Clock::time_point frontier_due_;
  absl::Status frontier_status_;
  bool disk_failed_ = false;   // some sync has
  bool told_waiting_ = false;  // that descriptors are wanted
  std::vector<storage::DurableEnd> ends_;
  std::vector<Partition::Due> due_;
  std::vector<Ack> acks_;

  std::thread thread_;
};

}  // namespace cairn::broker
