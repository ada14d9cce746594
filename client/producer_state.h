#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <asio/steady_timer.hpp>

#include "client/batch.h"
#include "client/core.h"
#include "client/deadline.h"
#include "client/partition_queue.h"
#include "client/producer.h"

namespace cairn::client {

// What a Producer is inside. Send fills the open batch of a partition under the mutex; the I/O
// thread takes batches over, packs them, sends them as their PartitionQueue says, and delivers.
//
// Threads: the public functions from any; Core::Listener's and the rest on the I/O thread.
class Producer::State final : public std::enable_shared_from_this<State>, public Core::Listener {
 public:
  State(std::shared_ptr<Core> core, const ProducerOptions& options);

  void Start();
  absl::Status Send(std::string_view topic, const ProduceRecord& record, OnDelivery done);
  absl::Status Flush(Duration timeout);
  absl::Status Close(Duration timeout);
  bool OnIoThread() const { return core_->OnIoThread(); }

  void OnConnected(Connection& connection) override;
  void OnDisconnected(const absl::Status& why) override;

 private:
  using Clock = std::chrono::steady_clock;
  using TimePoint = Clock::time_point;

  struct Topic;
  struct Partition {
    Partition(Topic& of, PartitionIndex its_index, const PartitionQueue::Options& options)
        : topic(of), index(its_index), queue(options) {}

    Topic& topic;
    const PartitionIndex index;
    // Guarded by mutex_.
    std::unique_ptr<Batch> open;
    std::deque<std::unique_ptr<Batch>> sealed;
    std::int32_t undelivered = 0;  // batches that are sealed, here or in the queue
    bool dirty = false;            // on the list
    // The I/O thread's own.
    PartitionQueue queue;
    TimePoint wake_at = TimePoint::max();
    bool awaits_identity = false;
  };
  // Lives as long as the state, so that partitions can be pointed to.
  struct Topic {
    std::string name;
    std::shared_ptr<const TopicInfo> info;  // guarded by mutex_
    std::deque<Partition> partitions;       // guarded by mutex_; elements stay where they are
    std::int32_t sticky = 0;                // guarded by mutex_
    bool refreshing = false;                // guarded by mutex_
    absl::Status retired;                   // guarded by mutex_; not OK: deleted
  };

  // ---- any thread, with mutex_ held ----
  absl::StatusOr<Topic*> FindTopic(std::unique_lock<std::mutex>& lock, std::string_view name,
                                   Patience& patience);
  absl::StatusOr<Partition*> Choose(std::unique_lock<std::mutex>& lock, Topic*& topic,
                                    const ProduceRecord& record, Patience& patience);
  absl::Status AwaitRoom(std::unique_lock<std::mutex>& lock, std::size_t bytes, bool& waited,
                         Patience& patience);
  void Append(Partition& partition, const RecordBatchBuilder::Record& record, std::size_t bound,
              OnDelivery done);
  void OpenBatch(Partition& partition);
  void Close(Partition& partition);
  void Seal(Partition& partition);
  void MarkDirty(Partition& partition);
  void Adopt(Topic& topic, std::shared_ptr<const TopicInfo> info);
  void RefreshIfOld(Topic& topic, TimePoint now);
  std::size_t BatchLimit(const Partition& partition) const;

  // ---- I/O thread ----
  void Pump();
  void Drive(Partition& partition);
  absl::Status TakeOver(Partition& partition, TimePoint now);
  void SendBatch(Partition& partition, const PartitionQueue::ToSend& to_send,
                 Connection& connection);
  absl::Status Pack(const PartitionQueue::ToSend& to_send, std::size_t batch_bytes_max) const;
  void OnProduced(Partition& partition, std::uint64_t serial, const ReceivedFrame& reply);
  void Deliver(Partition& partition);
  void WantIdentity(Partition& partition);
  void AskForIdentity();
  bool AnyAwaitsIdentity();
  void OnIdentity(const absl::Status& status, const wire::Message* message);
  void Retire(Topic& topic, const absl::Status& why);
  void OnRefreshed(Topic& topic, absl::StatusOr<std::shared_ptr<const TopicInfo>> info);
  void WakeAt(Partition& partition, TimePoint when);
  void ArmTimer();
  void OnTimer();
  void Tick();
  template <typename Visit>
  void ForEachPartition(Visit visit);

  const std::shared_ptr<Core> core_;
  const ProducerOptions options_;

  std::mutex mutex_;
  std::condition_variable changed_;  // room, deliveries, closing
  std::deque<Topic> all_topics_;
  std::map<std::string, Topic*, std::less<>> topics_;  // those not retired
  Topic* last_topic_ = nullptr;
  std::vector<Partition*> dirty_;
  bool pump_posted_ = false;
  bool closed_ = false;
  std::size_t buffered_ = 0;
  std::vector<std::unique_ptr<Batch>> spare_;  // delivered, with memory to use again
  std::uint64_t generation_ = 0;
  std::map<std::uint64_t, std::int64_t> outstanding_;  // generation -> batches not delivered

  // The I/O thread's own.
  ProducerIdentity identity_;
  bool asking_ = false;
  Backoff identity_backoff_;
  std::multimap<TimePoint, Partition*> wakes_;
  asio::steady_timer timer_;
  TimePoint timer_at_ = TimePoint::max();
  asio::steady_timer identity_timer_;
  asio::steady_timer tick_timer_;
  bool ticking_ = false;
};

}  // namespace cairn::client
