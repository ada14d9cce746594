#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "flatbuffers/flatbuffers.h"

#include "broker/api/outbox.h"
#include "broker/partitions/partition.h"
#include "protocol/types.h"
#include "storage/log.h"

namespace cairn::broker {

class Connection;

// One reader of one partition: where it is, how much it may still be sent, and what it waits for.
// It waits for exactly one thing at a time: credit, more records, or a helper thread that checks
// bytes nobody has read yet.
//
// Lives on its connection's worker; OnEndMoved comes from any thread.
class Subscription final : public EndWatcher, public std::enable_shared_from_this<Subscription> {
 public:
  struct Options {
    std::uint32_t id = 0;
    Offset start;
    std::optional<Offset> stop;  // ends before it
    std::uint64_t credit = 0;
  };

  Subscription(std::weak_ptr<Connection> connection, std::shared_ptr<Partition> partition,
               const Options& options);

  std::uint32_t id() const { return id_; }

  // Puts at most one frame of batches into the outbox, and the last frame of all when it ends.
  // True: there is more to do at once.
  bool Step(flatbuffers::FlatBufferBuilder& builder, Outbox& out);
  bool ended() const { return ended_; }

  void AddCredit(std::uint64_t bytes);
  // Ends it from the inside: SubscriptionEnded is the last the peer hears of it. TRIMMED and
  // TRUNCATED name the offsets [from, to) that are gone.
  void End(flatbuffers::FlatBufferBuilder& builder, Outbox& out, const absl::Status& why,
           Offset from = kNoOffset, Offset to = kNoOffset);
  // Ends it from the outside: nothing more is sent.
  void Abandon();

  void OnEndMoved() override;

 private:
  friend class SubscriptionSet;

  bool Await();
  void Prepare(const storage::LogRead& cold);
  bool Deliver(storage::LogRead read, flatbuffers::FlatBufferBuilder& builder, Outbox& out);
  void EndOnError(const absl::Status& error, flatbuffers::FlatBufferBuilder& builder, Outbox& out);

  const std::uint32_t id_;
  const std::weak_ptr<Connection> connection_;
  const std::shared_ptr<Partition> partition_;
  const std::optional<Offset> stop_;
  Offset next_;
  std::int64_t credit_ = 0;  // below 0 where the last batch overshot
  storage::ReadCursor cursor_;
  bool watching_ = false;
  bool preparing_ = false;
  absl::Status prepared_;  // of the last Prepare
  bool ended_ = false;
  bool queued_ = false;  // on the set's list of those with something to do
};

}  // namespace cairn::broker
