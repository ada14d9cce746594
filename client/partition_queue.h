#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"

#include "client/backoff.h"
#include "client/batch.h"
#include "client/producer.h"
#include "protocol/types.h"

namespace cairn::client {

// Who writes: the broker remembers the last five batches of each (id, epoch) and partition.
struct ProducerIdentity {
  ProducerId id = kNoProducer;
  ProducerEpoch epoch{-1};

  friend bool operator==(const ProducerIdentity&, const ProducerIdentity&) = default;
};

// The sealed batches of one producer for one partition, from sealing to delivery: what goes on the
// wire when, under which sequence, and what an answer, or its absence, means. This is where "each
// record once and in order, however often connections break" is kept.
//
//            number, send            answer: appended
//   waiting --------------> on wire ------------------> delivered   (in order, from the front)
//                            |  ^
//     answer: try again, or   |  | all of them again, in order, with the same sequences
//     the connection broke    v  |
//                           resend
//
// A batch is numbered when it is first sent and keeps its number for as long as its identity lasts.
// At most in_flight_max batches are numbered and not delivered. That is no more than the broker
// remembers, so a repeat of any of them is recognised and answered with its first offset.
//
// Nothing is sent again before every answer of this partition is in (or the connection is gone):
// what was on the wire behind a batch that must be sent again is refused by the broker as out of
// order, and then all of them go again, in order, before any new one.
//
// A gap in the sequences (a batch refused for its own fault or given up; a broker that has
// forgotten) ends the identity. What stands behind the gap is not renumbered within it: a late copy
// of an old attempt, still in the broker's hands, could then pass for a new batch. Under a new
// epoch it is refused. So once nothing is on the wire the queue needs_identity(), a higher epoch of
// the same producer, and
//   - batches that were certainly not appended are numbered afresh from 0, in order;
//   - those that may have been are reported unknown and never sent again.
// Certain is: every attempt was answered with a refusal, or a batch before it in the same identity
// was certainly not appended (the broker appends no sequence before its predecessor). Other
// partitions keep their identity, for the broker judges epochs partition by partition. Where the
// refused batch was the last that had been numbered, there is no gap: its sequences are used again.
//
// Pure: no clock, socket or lock. Threads: one.
class PartitionQueue {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  struct Options {
    int in_flight_max = 5;
    bool idempotent = true;  // false (acks=none): no identity, no sequences, nothing sent twice
    Duration backoff_min{20}, backoff_max{1'000};
  };

  // What to put on the wire: the batch, to be stamped with identity and sequence.
  struct ToSend {
    std::uint64_t serial = 0;  // names this batch in OnAnswer; a resend has the same
    Batch* batch = nullptr;    // stays with the queue
    ProducerIdentity identity;
    std::int32_t base_sequence = -1;
    bool first_time = false;
  };

  struct Answer {
    absl::Status status;  // OK: appended at base_offset
    Offset base_offset = kNoOffset;
    Durability durability = Durability::kNone;
  };

  // A batch that has left the queue, with what to tell about its records.
  struct Settled {
    std::unique_ptr<Batch> batch;
    absl::Status status;
    Delivery::Outcome outcome = Delivery::Outcome::kRefused;
    Offset base_offset = kNoOffset;
    Durability durability = Durability::kNone;
  };

  explicit PartitionQueue(const Options& options);

  void Push(std::unique_ptr<Batch> batch) { waiting_.push_back(std::move(batch)); }
  bool idle() const { return numbered_.empty() && waiting_.empty(); }
  std::size_t size() const { return numbered_.size() + waiting_.size(); }

  // True when nothing can go on before OnIdentity. `identity()` is the one that has come to its
  // end (kNoProducer at first); the new one must be another.
  bool needs_identity() const;
  const ProducerIdentity& identity() const { return identity_; }
  void OnIdentity(const ProducerIdentity& identity);

  // The next batch for the wire, which counts as sent; nothing: wait for an event, or retry_at.
  // To be called only while there is a connection.
  std::optional<ToSend> NextToSend(TimePoint now);
  // When NextToSend has something again though nothing happens.
  std::optional<TimePoint> retry_at() const { return retry_at_; }

  // The answer to a batch that was sent; an unknown serial (it expired meanwhile) is ignored.
  void OnAnswer(std::uint64_t serial, const Answer& answer, TimePoint now);
  // Everything on the wire is without an answer now. The same connection answers nothing more.
  void OnDisconnected();

  // Gives up batches whose deadline has passed.
  void Expire(TimePoint now);
  // Gives up all batches that are not on the wire, and with `on_wire_too` all.
  void FailAll(const absl::Status& why, bool on_wire_too);

  // Batches that have left since the last call, in order.
  std::vector<Settled> TakeSettled();

 private:
  enum class State {
    kOnWire,
    kTryAgain,    // refused for the moment  | what follows is decided when nothing
    kOutOfOrder,  // its sequence did not fit | is on the wire any more: see Review
    kResend,      // to be sent again
    kAppended,    // waits only for the batches before it
    kGone,  // reported unknown and not sent again, but it still takes one of the in_flight_max
            // places: the broker may remember it in place of a batch before it
  };
  struct Numbered {
    std::unique_ptr<Batch> batch;
    std::uint64_t serial = 0;
    std::int32_t base_sequence = -1;
    State state = State::kOnWire;
    bool maybe_appended = false;  // an attempt ended without a definite refusal
    bool behind_gap = false;      // nothing of this identity is appended from here on
    Answer answer;
  };
  using Entries = std::deque<Numbered>;

  Entries::iterator Find(std::uint64_t serial);
  void Settle(Numbered& entry, const absl::Status& status, Delivery::Outcome outcome);
  Entries::iterator GiveUp(Entries::iterator entry, const absl::Status& why);
  void DeliverFront();
  bool Review();
  void ReviewWithBackoff(TimePoint now);
  void EndIdentity(Entries::iterator gap);
  void LeaveGap(std::int32_t base_sequence, std::int32_t records, Entries::iterator next);
  bool AnyOnWire() const;
  static bool IsOpen(const Numbered& entry) {
    return entry.state != State::kAppended && entry.state != State::kGone;
  }
  static bool Certain(const Numbered& entry);
  static Delivery::Outcome OutcomeOf(const Numbered& entry);

  const Options options_;
  ProducerIdentity identity_;
  bool identity_broken_ = true;
  std::int32_t next_sequence_ = 0;
  std::uint64_t last_serial_ = 0;
  std::deque<std::unique_ptr<Batch>> waiting_;
  Entries numbered_;  // in the order of their sequences
  Backoff backoff_;
  std::optional<TimePoint> retry_at_;
  absl::Status last_error_;
  std::vector<Settled> settled_;
};

}  // namespace cairn::client
