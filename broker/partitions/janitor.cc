#include "broker/partitions/janitor.h"

#include <algorithm>
#include <malloc.h>
#include <utility>

#include "broker/runtime/background.h"
#include "broker/runtime/logging.h"
#include "protocol/check.h"
#include "protocol/limits.h"

namespace cairn::broker {
namespace {

// A segment that comes of age is looked at a little later, so that it is old enough by any clock.
constexpr std::chrono::milliseconds kRollGrace{100};
// Fewer files closed at once are not worth giving memory back to the system.
constexpr std::int64_t kManyClosed = 1000;

// Far enough, and no overflow in adding it.
constexpr std::chrono::milliseconds kLongest{std::chrono::hours(24 * 365 * 100)};

void Report(const Partition& partition, std::string_view event, const absl::Status& status) {
  if (status.ok() || partition.deleted()) return;
  LogWarning(event, {{"topic", partition.topic_name()},
                     {"partition", partition.id().partition},
                     {"reason", status}});
}

}  // namespace

Janitor::Janitor(PartitionMap& map, Options options) : map_(map), options_(options) {
  CAIRN_CHECK(options_.clock != nullptr && options_.open_files != nullptr);
}

Janitor::~Janitor() { Stop(); }

void Janitor::Start() {
  expiry_due_ = Clock::now() + options_.expiry_interval;
  retention_due_ = Clock::now() + options_.retention_interval;
  unused_due_ = Clock::now() + options_.unused_interval;
  thread_ = std::thread(&Janitor::Loop, this);
}

void Janitor::Stop() {
  std::deque<absl::AnyInvocable<void()>> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(jobs_);
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool Janitor::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void Janitor::Note(std::shared_ptr<Partition> partition, bool soon) {
  const auto when = Clock::now() + (soon ? std::chrono::milliseconds(0) : options_.visit_delay);
  bool wake;
  {
    const std::lock_guard lock(mutex_);
    const auto entry = visits_.emplace(when, std::move(partition));
    wake = entry == visits_.begin();
  }
  if (wake) wake_.notify_one();
}

void Janitor::Run(absl::AnyInvocable<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Janitor::RetainSoon() {
  {
    const std::lock_guard lock(mutex_);
    retention_due_ = Clock::now();
  }
  wake_.notify_one();
}

void Janitor::Loop() {
  GiveWayToOthers();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto now = Clock::now();
    std::shared_ptr<Partition> visit;
    absl::AnyInvocable<void()> job;
    if (!visits_.empty() && visits_.begin()->first <= now) {
      visit = visits_.begin()->second.lock();
      visits_.erase(visits_.begin());
    } else if (!rolls_.empty() && rolls_.begin()->first <= now) {
      visit = rolls_.begin()->second.lock();
      rolls_.erase(rolls_.begin());
      if (visit != nullptr) roll_due_.erase(visit.get());
    } else if (!jobs_.empty()) {
      job = std::move(jobs_.front());
      jobs_.pop_front();
    } else if (expiry_due_ > now && retention_due_ > now && unused_due_ > now) {
      auto until = std::min({expiry_due_, retention_due_, unused_due_});
      if (!visits_.empty()) until = std::min(until, visits_.begin()->first);
      if (!rolls_.empty()) until = std::min(until, rolls_.begin()->first);
      wake_.wait_until(lock, until);
      continue;
    }
    const bool retain = retention_due_ <= now;
    if (retain) retention_due_ = now + options_.retention_interval;
    lock.unlock();
    if (visit != nullptr) Visit(visit);
    if (job) job();
    if (expiry_due_ <= now) ExpireProducers();
    if (unused_due_ <= now) CloseUnused();
    if (retain) RetainAll();
    lock.lock();
  }
}

void Janitor::Visit(const std::shared_ptr<Partition>& partition) {
  const bool appended = partition->BeginVisit();
  if (partition->deleted()) return;
  Report(*partition, "rolling a segment failed", partition->RollIfOld(options_.clock->Now()));
  Seal(partition);
  if (appended) {
    ScheduleRoll(partition, std::min(std::chrono::milliseconds(partition->segment_ms()), kLongest) +
                                kRollGrace);
  }
}

void Janitor::Seal(const std::shared_ptr<Partition>& partition) {
  bool sealed = false;
  while (!stopping()) {
    std::optional<storage::Log::SealTask> task = partition->TakeSealTask();
    if (!task.has_value()) break;
    const absl::Status outcome = task->Run();
    const absl::Status status = partition->FinishSeal(*std::move(task), outcome);
    Report(*partition, "sealing a segment failed", status);
    if (!outcome.ok() || !status.ok()) break;
    sealed = true;
  }
  // The next start then reads at most what was written since.
  if (sealed || partition->IsProducerSnapshotDue()) {
    Report(*partition, "writing the producer snapshot failed", partition->WriteProducerSnapshot());
  }
}

void Janitor::ScheduleRoll(const std::shared_ptr<Partition>& partition,
                           std::chrono::milliseconds in) {
  const auto due = Clock::now() + in;
  const auto known = roll_due_.find(partition.get());
  if (known != roll_due_.end()) {
    // Its segment may be younger than that visit expects; then that visit schedules none, so this
    // later one must stand.
    const auto [begin, end] = rolls_.equal_range(known->second);
    for (auto each = begin; each != end; ++each) {
      if (each->second.lock() != partition) continue;
      rolls_.erase(each);
      break;
    }
  }
  rolls_.emplace(due, partition);
  roll_due_[partition.get()] = due;
}

void Janitor::RetainAll() {
  const std::shared_ptr<const ServedTopics> topics = map_.Load();
  for (const auto& [name, topic] : topics->by_name()) {
    for (const std::shared_ptr<Partition>& partition : topic->partitions) {
      if (stopping()) return;
      // Read anew for each: those before may have waited for the disk.
      const AppendClock::Ages ages = options_.clock->ForAges();
      const absl::StatusOr<Partition::Dropped> dropped =
          partition->Retain({.now = ages.now, .run_began = ages.run_began}, ages.trusted);
      Report(*partition, "retention failed", dropped.status());
      if (!dropped.ok() || dropped->from == dropped->to) continue;
      LogInfo("retention dropped records", {{"topic", partition->topic_name()},
                                            {"partition", partition->id().partition},
                                            {"from", dropped->from},
                                            {"to", dropped->to}});
    }
  }
}

void Janitor::CloseUnused() {
  unused_due_ = Clock::now() + options_.unused_interval;
  if (options_.open_files->CloseUnused() < kManyClosed) return;
#ifdef __GLIBC__
  // What they took while they were used lies between what stays; the allocator keeps it otherwise.
  malloc_trim(0);
#endif
}

void Janitor::ExpireProducers() {
  expiry_due_ = Clock::now() + options_.expiry_interval;
  const Timestamp before =
      options_.clock->Now() -
      std::chrono::duration_cast<std::chrono::milliseconds>(kProducerIdleExpiry).count();
  const std::shared_ptr<const ServedTopics> topics = map_.Load();
  for (const auto& [name, topic] : topics->by_name()) {
    for (const std::shared_ptr<Partition>& partition : topic->partitions) {
      partition->ExpireProducers(before);
    }
  }
}

}  // namespace cairn::broker
