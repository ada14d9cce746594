#include "broker/api/subscription_set.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"

namespace cairn::broker {
namespace {

// What is queued for a peer before it takes some; with the frame that crosses it, per connection.
constexpr std::size_t kDataBytesQueuedMax = 512u << 10;
constexpr std::size_t kSubscriptionsMax = 100'000;

}  // namespace

SubscriptionSet::~SubscriptionSet() { Clear(); }

absl::Status SubscriptionSet::Reserve(std::uint32_t id, std::uint64_t correlation) {
  if (slots_.contains(id)) {
    return MakeError(ErrorCode::kDuplicateSubscription,
                     absl::StrFormat("subscription %d is in use on this connection", id));
  }
  if (slots_.size() >= kSubscriptionsMax) {
    return MakeError(ErrorCode::kTooManyInFlight,
                     absl::StrFormat("this connection has %d subscriptions already, the most it "
                                     "may have",
                                     slots_.size()));
  }
  slots_.emplace(id, Slot{.live = nullptr, .correlation = correlation});
  return absl::OkStatus();
}

bool SubscriptionSet::Reserved(std::uint32_t id, std::uint64_t correlation) const {
  const auto found = slots_.find(id);
  return found != slots_.end() && !found->second.live && found->second.correlation == correlation;
}

void SubscriptionSet::Release(std::uint32_t id) { slots_.erase(id); }

void SubscriptionSet::Begin(std::shared_ptr<Subscription> subscription) {
  slots_[subscription->id()] = Slot{.live = subscription, .correlation = 0};
  Wake(subscription);
}

std::uint64_t SubscriptionSet::Remove(std::uint32_t id, Outbox& out) {
  const auto found = slots_.find(id);
  if (found == slots_.end()) {
    // Its end may be queued already; after the reply nothing may follow.
    out.Drop(id);
    return 0;
  }
  const std::uint64_t correlation = found->second.correlation;
  if (found->second.live) found->second.live->Abandon();
  slots_.erase(found);
  out.Drop(id);
  return correlation;
}

void SubscriptionSet::AddCredit(std::uint32_t id, std::uint64_t bytes) {
  const auto found = slots_.find(id);
  // It may have ended while the credit was on its way.
  if (found == slots_.end() || !found->second.live) return;
  found->second.live->AddCredit(bytes);
  Wake(found->second.live);
}

void SubscriptionSet::Wake(const std::shared_ptr<Subscription>& subscription) {
  if (subscription->ended_ || subscription->queued_) return;
  subscription->queued_ = true;
  ready_.push_back(subscription);
}

void SubscriptionSet::Woken(const std::shared_ptr<Subscription>& subscription) {
  subscription->watching_ = false;
  Wake(subscription);
}

void SubscriptionSet::Pump(flatbuffers::FlatBufferBuilder& builder, Outbox& out) {
  while (!ready_.empty() && out.data_bytes() < kDataBytesQueuedMax) {
    const std::shared_ptr<Subscription> turn = std::move(ready_.front());
    ready_.pop_front();
    turn->queued_ = false;
    if (turn->Step(builder, out)) Wake(turn);
    if (turn->ended_) Forget(*turn);
  }
}

void SubscriptionSet::Forget(const Subscription& subscription) {
  const auto found = slots_.find(subscription.id());
  if (found != slots_.end() && found->second.live.get() == &subscription) slots_.erase(found);
}

void SubscriptionSet::Clear() {
  for (auto& [id, slot] : slots_) {
    if (slot.live) slot.live->Abandon();
  }
  slots_.clear();
  ready_.clear();
}

}  // namespace cairn::broker
