#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "client/consumer.h"
#include "client/receive_buffer.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"

namespace cairn::client {

// How a subscription came to its end, as the broker said it.
struct SubscriptionEnd {
  absl::Status status;  // OK: its stop offset is reached
  Offset from = kNoOffset, to = kNoOffset, next_offset = kNoOffset;
};

// One assigned partition as the application reads it: what has been received and not handed out
// yet, where reading stands, and how it goes on after a broken connection, a gap or a seek.
//
// What it asks for is told by `wants_subscription` and request(): the owner then subscribes, calls
// Begin with the subscription's id, and passes on what that subscription brings. Everything of an
// older subscription is ignored.
//
// Pure: no socket, clock or lock. Threads: one at a time.
class PartitionReader {
 public:
  using OutOfRange = ConsumerOptions::OutOfRange;

  // `epoch`: of the record before the offset to start at; kNoEpoch: not known.
  PartitionReader(Assignment assignment, TopicId topic, OutOfRange out_of_range,
                  LeaderEpoch epoch = kNoEpoch);

  const std::string& topic() const { return *topic_; }
  const TopicId& topic_id() const { return topic_id_; }
  PartitionIndex partition() const { return partition_; }

  // ---- subscribing ----

  // What to ask the broker for.
  struct Request {
    StartPosition start = StartPosition::Earliest();
    LeaderEpoch epoch = kNoEpoch;  // of the last record seen before it
    bool stop_at_present_end = false;
    std::optional<Offset> stop_before;
  };
  bool wants_subscription() const { return subscription_ == 0 && !over(); }
  Request request() const;

  std::uint32_t subscription() const { return subscription_; }  // 0: none
  void Begin(std::uint32_t subscription) { subscription_ = subscription; }
  void OnSubscribed(Offset start, Offset committed_end, std::optional<Offset> stop);
  void OnRefused(const absl::Status& why);
  void OnBatches(SharedBytes batches, Offset committed_end);
  void OnEnded(SubscriptionEnd end);
  // The subscription is no more, through nobody's fault: go on from where reading stands.
  void OnLost();

  // ---- reading ----

  // Goes on at `start`; what was received is dropped.
  void Seek(StartPosition start);
  bool paused = false;

  // Whether Take has something to give (though it may turn out to be nothing but gaps).
  bool has_something() const;

  struct Taken {
    std::vector<ConsumedRecord>& records;
    std::vector<ConsumerEvent>& events;
    std::vector<std::shared_ptr<const void>>& keepers;  // what the records borrow from
  };
  // Hands out at most records_max records, up to the first event.
  //   kDataLoss  a batch is damaged; the partition is read no further
  absl::Status Take(std::size_t records_max, Taken& taken);

  // Bytes of batches taken since the last call: credit to give back.
  std::size_t TakeConsumedBytes();
  std::size_t consumed_bytes() const { return consumed_bytes_; }

  std::optional<Offset> position() const { return position_; }
  // Of the last record before position(), as far as it is known.
  LeaderEpoch epoch() const { return epoch_; }
  std::optional<Offset> committed_end() const { return committed_end_; }
  // Read to its end, or failed: nothing more comes before a Seek.
  bool over() const { return over_; }
  // Reads no further, and says why with the next Take.
  void Fail(const absl::Status& why, Offset to = kNoOffset);

 private:
  struct Item {
    SharedBytes batches;
    std::optional<SubscriptionEnd> end;
  };
  // A batch whose records are being handed out, shared with them.
  struct OpenBatch {
    std::shared_ptr<const std::byte[]> owner;
    RecordReader reader;
    Offset next_offset;
    LeaderEpoch epoch;
    bool is_control = false;
    bool is_append_time = false;
  };

  absl::Status OpenNextBatch(Item& item);
  bool HandOut(std::size_t& left, Taken& taken);
  void FinishBatch();
  void ReachStop(Taken& taken);
  void HandleEnd(const SubscriptionEnd& end, Taken& taken);
  void Restart(StartPosition start);
  void FailAtGap(Offset log_start);
  absl::Status Damaged(const absl::Status& why);
  ConsumerEvent Event(ConsumerEvent::Kind kind) const;

  const std::shared_ptr<const std::string> topic_;
  const TopicId topic_id_;
  const PartitionIndex partition_;
  const OutOfRange out_of_range_;

  StartPosition start_;  // until position_ is known
  bool stop_at_present_end_;
  std::optional<Offset> stop_;

  std::uint32_t subscription_ = 0;
  std::optional<Offset> position_;
  LeaderEpoch epoch_ = kNoEpoch;
  std::optional<Offset> committed_end_;
  std::optional<Offset> gap_from_;  // out of range: told once it is known where reading goes on
  // Out of range where that is an error: told once it is known how much is gone.
  std::optional<absl::Status> refused_;
  bool has_begun_ = false;  // the broker has taken the start since the last seek
  bool over_ = false;

  std::deque<Item> items_;
  std::deque<ConsumerEvent> events_;  // to be handed out before the items
  std::shared_ptr<OpenBatch> open_;
  RecordView record_;
  std::optional<Offset> expected_;  // the least base offset of the subscription's next batch
  std::size_t consumed_bytes_ = 0;
};

}  // namespace cairn::client
