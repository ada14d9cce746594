#include "broker/partitions/flusher.h"

#include <algorithm>
#include <utility>

#include "broker/runtime/logging.h"
#include "protocol/error_code.h"

namespace cairn::broker {
namespace {

// How much of what was acknowledged a power cut may make doubtful, should it also damage the
// frontier.
constexpr std::chrono::seconds kFrontierSyncInterval{1};

constexpr std::chrono::milliseconds kFullDiskRetry{250};
constexpr std::chrono::milliseconds kDescriptorsRetry{50};

}  // namespace

Flusher::Flusher(storage::DataDir& data_dir, Metrics& metrics)
    : Flusher(data_dir, metrics, Options()) {}

Flusher::Flusher(storage::DataDir& data_dir, Metrics& metrics, Options options)
    : data_dir_(data_dir), metrics_(metrics), options_(std::move(options)) {
  if (!options_.sync) options_.sync = [](const storage::SyncPlan& plan) { return plan.Sync(); };
  if (!options_.sync_file_system) {
    options_.sync_file_system = [this] { return data_dir_.SyncFileSystem(); };
  }
}

Flusher::~Flusher() { Stop(); }

void Flusher::Start() { thread_ = std::thread(&Flusher::Run, this); }

void Flusher::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Flusher::MarkDirty(std::shared_ptr<Partition> partition, std::chrono::milliseconds delay) {
  bool wake;
  {
    const std::lock_guard lock(mutex_);
    if (delay.count() == 0) {
      urgent_.push_back(std::move(partition));
      wake = urgent_.size() == 1;
    } else {
      wake = AddLater(std::move(partition), Clock::now() + delay);
    }
  }
  if (wake) wake_.notify_one();
}

// Whether it is the next one now.
bool Flusher::AddLater(std::shared_ptr<Partition> partition, Clock::time_point due) {
  const Partition* key = partition.get();
  if (const auto known = later_of_.find(key); known != later_of_.end()) {
    if (known->second->first <= due) return false;
    later_.erase(known->second);
  }
  const auto entry = later_.emplace(due, std::move(partition));
  later_of_[key] = entry;
  return entry == later_.begin();
}

Flusher::Clock::time_point Flusher::NextDue() const {
  auto due = Clock::time_point::max();
  if (!later_.empty()) due = later_.begin()->first;
  if (frontier_changed_) due = std::min(due, frontier_due_);
  if (!synced_.empty()) due = std::min(due, note_due_);
  return due;
}

void Flusher::Run() {
  bool last = false;
  while (!last) {
    {
      std::unique_lock lock(mutex_);
      while (!stopping_ && urgent_.empty()) {
        const auto until = NextDue();
        if (until <= Clock::now()) break;
        if (until == Clock::time_point::max()) {
          wake_.wait(lock);
        } else {
          wake_.wait_until(lock, until);
        }
      }
      last = stopping_;
      TakeDue(last);
    }
    Cycle(last);
    if (frontier_changed_ && (last || frontier_due_ <= Clock::now())) SyncFrontier();
  }
}

void Flusher::TakeDue(bool all) {
  taken_.swap(urgent_);
  // One that became urgent while it waited for its time need not wait for that any more.
  for (const std::shared_ptr<Partition>& partition : taken_) {
    const auto known = later_of_.find(partition.get());
    if (known == later_of_.end()) continue;
    later_.erase(known->second);
    later_of_.erase(known);
  }
  const auto end = all ? later_.end() : later_.upper_bound(Clock::now());
  for (auto each = later_.begin(); each != end; ++each) {
    later_of_.erase(each->second.get());
    taken_.push_back(std::move(each->second));
  }
  later_.erase(later_.begin(), end);
  // One that was marked by two threads, one before and one after it was last taken, is there twice.
  std::sort(taken_.begin(), taken_.end());
  taken_.erase(std::unique(taken_.begin(), taken_.end()), taken_.end());
}

void Flusher::Cycle(bool last) {
  std::vector<Work>& works = works_;
  for (std::shared_ptr<Partition>& partition : taken_) {
    partition->BeginFlush();
    storage::SyncPlan plan = partition->TakeUnsynced();
    if (plan.empty()) continue;
    works.push_back({std::move(partition), std::move(plan), absl::OkStatus()});
  }
  taken_.clear();
  if (!works.empty()) {
    Count(metrics_.sync_cycles);
    Count(metrics_.synced_partitions, static_cast<std::int64_t>(works.size()));
    if (disk_failed_ || works.size() <= options_.alone_max) {
      SyncEach(works);
    } else {
      SyncTogether(works);
    }
    if (!last) TryAgainLater(works);
    const auto failed = std::stable_partition(works.begin(), works.end(),
                                              [](const Work& work) { return work.outcome.ok(); });
    // That of a deleted one fails because its directory is gone.
    disk_failed_ = disk_failed_ || std::any_of(failed, works.end(), [](const Work& work) {
                     return !work.partition->deleted();
                   });
    synced_.insert(synced_.end(), std::make_move_iterator(works.begin()),
                   std::make_move_iterator(failed));
    works.erase(works.begin(), failed);
    Answer(works);
    works.clear();
  }
  if (!synced_.empty()) NoteInFrontier(last);
}

void Flusher::SyncEach(std::vector<Work>& works) {
  for (Work& work : works) work.outcome = options_.sync(work.plan);
}

void Flusher::SyncTogether(std::vector<Work>& works) {
  Count(metrics_.file_system_syncs);
  const absl::Status together = options_.sync_file_system();
  if (together.ok()) {
    for (Work& work : works) work.outcome = work.plan.EarlierFailure();
    return;
  }
  LogError("sync of the file system failed", {{"reason", together}});
  // The descriptor that wrote a file is told of its error, once. If none is, some file of the cycle
  // is still not what was written to it, and nobody knows which.
  SyncEach(works);
  const bool found =
      std::any_of(works.begin(), works.end(), [](const Work& work) { return !work.outcome.ok(); });
  if (found) return;
  for (Work& work : works) work.outcome = together;
}

void Flusher::TryAgainLater(std::vector<Work>& works) {
  const auto wants = std::stable_partition(works.begin(), works.end(), [](const Work& work) {
    return !absl::IsUnavailable(work.outcome);
  });
  if (wants == works.end()) {
    told_waiting_ = false;
    return;
  }
  if (!std::exchange(told_waiting_, true)) {
    LogWarning("a sync has no descriptor; acknowledgements wait", {{"reason", wants->outcome}});
  }
  const std::lock_guard lock(mutex_);
  for (auto work = wants; work != works.end(); ++work) {
    AddLater(std::move(work->partition), Clock::now() + kDescriptorsRetry);
  }
  works.erase(wants, works.end());
}

void Flusher::NoteInFrontier(bool last) {
  absl::Status outcome = frontier_status_;
  if (outcome.ok()) {
    for (const Work& work : synced_) ends_.push_back(work.plan.durable_end());
    outcome = data_dir_.frontier().Note(ends_);
    ends_.clear();
    if (CodeOf(outcome) == ErrorCode::kStorageFull && !last) {
      // The records are safe; only nobody may be told before the frontier knows.
      LogWarning("the frontier has no room; acknowledgements wait", {{"reason", outcome}});
      note_due_ = Clock::now() + kFullDiskRetry;
      return;
    }
    frontier_status_ = outcome;
    if (!std::exchange(frontier_changed_, true))
      frontier_due_ = Clock::now() + kFrontierSyncInterval;
  }
  for (Work& work : synced_) work.outcome = outcome;
  Answer(synced_);
  synced_.clear();
}

void Flusher::Answer(std::vector<Work>& works) {
  for (Work& work : works) {
    if (!work.outcome.ok()) {
      Count(metrics_.failed_syncs);
      if (!work.partition->deleted()) {
        LogError("sync failed; the partition takes no writes until the broker restarts",
                 {{"topic", work.partition->topic_name()},
                  {"partition", work.partition->id().partition},
                  {"reason", work.outcome}});
      }
    }
    work.partition->FinishSync(work.plan, work.outcome, due_);
    work.plan = storage::SyncPlan();  // it keeps descriptors open
  }
  Count(metrics_.acknowledgements, static_cast<std::int64_t>(due_.size()));
  // Those of one sink side by side, in the order in which they became due. The sort takes memory,
  // and often there is one sink only.
  const auto by_sink = [](const Partition::Due& a, const Partition::Due& b) {
    return a.sink.get() < b.sink.get();
  };
  if (!std::is_sorted(due_.begin(), due_.end(), by_sink)) {
    std::stable_sort(due_.begin(), due_.end(), by_sink);
  }
  for (std::size_t i = 0; i < due_.size();) {
    AckSink& sink = *due_[i].sink;
    acks_.clear();
    std::size_t next = i;
    for (; next < due_.size() && due_[next].sink.get() == &sink; ++next) {
      acks_.push_back(std::move(due_[next].ack));
    }
    sink.Acknowledge(acks_);
    i = next;
  }
  due_.clear();
  acks_.clear();
}

void Flusher::SyncFrontier() {
  frontier_changed_ = false;
  if (!frontier_status_.ok()) return;
  frontier_status_ = data_dir_.frontier().Sync();
  if (!frontier_status_.ok()) {
    LogError("sync of the frontier failed; nothing more is acknowledged as durable",
             {{"reason", frontier_status_}});
  }
}

}  // namespace cairn::broker
