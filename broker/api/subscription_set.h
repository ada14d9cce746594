#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"

#include "broker/api/outbox.h"
#include "broker/api/subscription.h"

namespace cairn::broker {

// The live subscriptions of one connection, and whose turn it is to be sent something. Lives on the
// connection's worker.
class SubscriptionSet {
 public:
  ~SubscriptionSet();

  // Takes an id while the subscription's start is looked for.
  //   ErrorCode::kDuplicateSubscription  the id is in use
  //   ErrorCode::kTooManyInFlight        too many subscriptions on this connection
  absl::Status Reserve(std::uint32_t id, std::uint64_t correlation);
  // False: the peer has given it up meanwhile, or has even taken the id anew.
  bool Reserved(std::uint32_t id, std::uint64_t correlation) const;
  // It comes to nothing.
  void Release(std::uint32_t id);
  // Requires that its id is reserved.
  void Begin(std::shared_ptr<Subscription> subscription);

  // Ends it without another word; what is queued for it is dropped. Gives the correlation of its
  // Subscribe if that was not answered yet, else 0.
  std::uint64_t Remove(std::uint32_t id, Outbox& out);
  void AddCredit(std::uint32_t id, std::uint64_t bytes);

  // Lets it step again. Does nothing for one that has ended.
  void Wake(const std::shared_ptr<Subscription>& subscription);
  // The same, for one whose partition has called its watcher.
  void Woken(const std::shared_ptr<Subscription>& subscription);
  // Fills the outbox with data, in turn, as far as its size and the credits allow.
  void Pump(flatbuffers::FlatBufferBuilder& builder, Outbox& out);

  void Clear();

 private:
  struct Slot {
    std::shared_ptr<Subscription> live;  // nullptr: reserved
    std::uint64_t correlation = 0;       // of its Subscribe while reserved
  };
  void Forget(const Subscription& subscription);

  absl::flat_hash_map<std::uint32_t, Slot> slots_;
  std::deque<std::shared_ptr<Subscription>> ready_;
};

}  // namespace cairn::broker
