#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "client/cluster.h"
#include "client/options.h"
#include "client/record.h"

namespace cairn::client {

// What became of one record.
struct Delivery {
  // OK: it has its offset, and `durability` says how safe it was when the broker answered.
  // Otherwise `outcome` says whether it may be in the log all the same.
  absl::Status status;
  enum class Outcome {
    kAppended,  // in the log
    kRefused,   // certainly not in the log
    kUnknown,   // it may be: the answer was lost for good, or the sync failed
  } outcome = Outcome::kRefused;
  PartitionIndex partition{-1};
  Offset offset = kNoOffset;  // kNoOffset with acks=none
  Durability durability = Durability::kNone;
};

// Sends records to one broker's topics, batched per partition, each exactly once and in order
// however often connections break: every producer is idempotent (see protocol/WIRE.md).
//
// A batch is sent at once when nothing of its partition is in flight, else when it is full or
// lingered long enough. Transient errors are retried with backoff until delivery_timeout.
//
// Threads: any thread may call anything. Delivery callbacks run on the cluster's I/O thread, in
// offset order per partition: they must be quick, must not block and may call Send of a producer
// with WhenFull::kFail. Every accepted record gets exactly one callback, at the latest in Close.
class Producer {
 public:
  using OnDelivery = std::function<void(const Delivery&)>;

  static absl::StatusOr<std::unique_ptr<Producer>> Open(std::shared_ptr<Cluster> cluster,
                                                        ProducerOptions options);
  ~Producer();  // Close with a deadline of zero

  // Accepts one record; `done` may be empty. After an error the record was not accepted and `done`
  // is never called.
  //   kResourceExhausted   the buffer is full (WhenFull::kFail) or stayed so (kDeadlineExceeded)
  //   kNotFound            no such topic, or no such partition
  //   kInvalidArgument     larger than the topic's max.message.bytes allows
  //   kUnavailable         the topic's metadata could not be had within block_timeout
  //   kFailedPrecondition  closed
  absl::Status Send(std::string_view topic, const ProduceRecord& record, OnDelivery done = nullptr);

  // Send and wait for its delivery.
  absl::StatusOr<Delivery> SendAndWait(std::string_view topic, const ProduceRecord& record);

  // Waits until every record accepted before the call has its delivery.
  //   kDeadlineExceeded  some have not; they go on
  absl::Status Flush(Duration timeout);

  // Flushes, then answers what is left with kCancelled and outcome unknown or refused. Idempotent.
  absl::Status Close(Duration timeout);

 private:
  class State;
  Producer(std::shared_ptr<Cluster> cluster, std::shared_ptr<State> state);

  std::shared_ptr<Cluster> cluster_;
  std::shared_ptr<State> state_;
};

}  // namespace cairn::client
