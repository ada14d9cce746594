#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

#include "broker/partitions/partition.h"
#include "broker/state/state_record.h"
#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::broker {

class HelperPool;

// The log behind a coordinator, which works as decide → append → apply: it decides against its
// table, appends what it decided, and takes it into the table, by the same Apply that start-up
// replays, only once it is durable. So the table never holds what a power cut could take back, and
// a failed append or sync leaves it as it was; answers wait for `done`. What a failed sync leaves
// behind is unknown until the next start, as it is for any record.
//
// Threads: Append from any. `apply` and `done` are called on the one helper thread of kState, in
// the order of the log; at a stop on the thread that acknowledges. What is refused is so before
// Append returns, and `done` is called from within it.
class StateTopic : public AckSink, public std::enable_shared_from_this<StateTopic> {
 public:
  // Takes one record into the coordinator's table. An error says that the table and the log no
  // longer agree; it is handed to `done` and to every later Append.
  using Apply = std::function<absl::Status(ByteView key, std::optional<ByteView> value)>;
  using Done = absl::AnyInvocable<void(absl::Status)>;

  StateTopic(std::shared_ptr<Partition> partition, HelperPool& helpers, Apply apply);

  // Hands every record of the log to `apply`, on this thread, which may wait for the disk. Once,
  // before the first Append.
  //   kDataLoss, ErrorCode::kPartitionOffline  the log is damaged, or holds what apply refuses
  absl::Status Replay();

  // Appends the records as one batch. `done` is called exactly once: OK when they are durable and
  // applied; the error of Partition::Append or of the sync otherwise.
  void Append(std::span<const StateRecord> records, Timestamp now, Done done);
  // The same, and waits for it. Not from the helper thread of kState.
  absl::Status AppendAndWait(std::span<const StateRecord> records, Timestamp now);

  void Acknowledge(std::span<const Ack> acks) override;

 private:
  struct Pending {
    std::uint64_t correlation = 0;
    Bytes batch;
    Done done;
  };
  void FinishAcked(const absl::Status& helped);
  void Finish(Pending pending, absl::Status status);
  absl::Status ApplyBatch(ByteView batch);

  const std::shared_ptr<Partition> partition_;
  HelperPool& helpers_;
  const Apply apply_;

  std::mutex mutex_;  // also keeps the order of appends and pending_ the same
  std::deque<Pending> pending_;
  std::deque<Ack> acked_;   // of the first of pending_; not looked at yet
  bool finishing_ = false;  // by one thread at a time, so that log order is kept at a stop too
  std::uint64_t next_correlation_ = 1;
  absl::Status broken_;
};

}  // namespace cairn::broker
