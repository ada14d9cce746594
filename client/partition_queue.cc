#include "client/partition_queue.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"

namespace cairn::client {
namespace {

std::int32_t SequenceAfter(std::int32_t base, std::int32_t records) {
  constexpr std::int64_t kSequences = std::int64_t{std::numeric_limits<std::int32_t>::max()} + 1;
  return static_cast<std::int32_t>((std::int64_t{base} + records) % kSequences);
}

bool IsAboutSequence(ErrorCode code) {
  return code == ErrorCode::kOutOfOrderSequence || code == ErrorCode::kUnknownProducer ||
         code == ErrorCode::kStaleProducerEpoch;
}

// Whether the broker says by this that the attempt left nothing behind. Of the rest, some come
// after the append.
bool IsDefiniteRefusal(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInternal:
    case ErrorCode::kStopping:
    case ErrorCode::kTimedOut:
    case ErrorCode::kOutcomeUnknown:
    case ErrorCode::kStorageFailed:
      return false;
    default:
      return true;
  }
}

}  // namespace

PartitionQueue::PartitionQueue(const Options& options)
    : options_(options), backoff_(options.backoff_min, options.backoff_max) {
  if (!options_.idempotent) identity_broken_ = false;
}

bool PartitionQueue::AnyOnWire() const {
  return std::any_of(numbered_.begin(), numbered_.end(),
                     [](const Numbered& entry) { return entry.state == State::kOnWire; });
}

bool PartitionQueue::needs_identity() const { return identity_broken_ && !idle() && !AnyOnWire(); }

void PartitionQueue::OnIdentity(const ProducerIdentity& identity) {
  CAIRN_CHECK(needs_identity() && identity.id != kNoProducer && !(identity == identity_));
  // Those that may be in the log cannot be sent again under another epoch; the others can.
  std::deque<std::unique_ptr<Batch>> again;
  for (Numbered& entry : numbered_) {
    if (entry.state == State::kGone) continue;
    if (entry.state == State::kAppended) {
      Settle(entry, absl::OkStatus(), Delivery::Outcome::kAppended);
    } else if (!Certain(entry)) {
      Settle(entry,
             absl::UnknownError(
                 absl::StrFormat("the broker no longer tells whether this batch was appended: %s",
                                 std::string(last_error_.message()))),
             Delivery::Outcome::kUnknown);
    } else {
      again.push_back(std::move(entry.batch));
    }
  }
  numbered_.clear();
  waiting_.insert(waiting_.begin(), std::make_move_iterator(again.begin()),
                  std::make_move_iterator(again.end()));
  identity_ = identity;
  identity_broken_ = false;
  next_sequence_ = 0;
  retry_at_.reset();
}

std::optional<PartitionQueue::ToSend> PartitionQueue::NextToSend(TimePoint now) {
  if (identity_broken_ || (retry_at_.has_value() && now < *retry_at_)) return std::nullopt;
  retry_at_.reset();
  bool refused = false;
  for (Numbered& entry : numbered_) {
    if (entry.state == State::kResend) {
      entry.state = State::kOnWire;
      return ToSend{entry.serial, entry.batch.get(), identity_, entry.base_sequence, false};
    }
    refused = refused || entry.state == State::kTryAgain || entry.state == State::kOutOfOrder;
  }
  if (refused || waiting_.empty() ||
      numbered_.size() >= static_cast<std::size_t>(options_.in_flight_max)) {
    return std::nullopt;
  }
  Numbered entry;
  entry.batch = std::move(waiting_.front());
  waiting_.pop_front();
  entry.serial = ++last_serial_;
  if (options_.idempotent) {
    entry.base_sequence = next_sequence_;
    next_sequence_ = SequenceAfter(next_sequence_, entry.batch->record_count);
  }
  numbered_.push_back(std::move(entry));
  const Numbered& sent = numbered_.back();
  return ToSend{sent.serial, sent.batch.get(), identity_, sent.base_sequence, true};
}

PartitionQueue::Entries::iterator PartitionQueue::Find(std::uint64_t serial) {
  return std::find_if(numbered_.begin(), numbered_.end(),
                      [&](const Numbered& entry) { return entry.serial == serial; });
}

void PartitionQueue::OnAnswer(std::uint64_t serial, const Answer& answer, TimePoint now) {
  const auto entry = Find(serial);
  if (entry == numbered_.end() || entry->state != State::kOnWire) return;
  const ErrorCode code = CodeOf(answer.status);
  // A batch behind a refused one is out of order: the refusal is what a person needs to hear of.
  if (code != ErrorCode::kOk && (last_error_.ok() || !IsAboutSequence(code))) {
    last_error_ = answer.status;
  }
  if (code == ErrorCode::kOk) {
    backoff_.Reset();
    entry->state = State::kAppended;
    entry->answer = answer;
  } else if (IsAboutSequence(code)) {
    entry->state = State::kOutOfOrder;
  } else {
    entry->state = State::kTryAgain;
    if (!IsDefiniteRefusal(code)) entry->maybe_appended = true;
    if (!IsTransient(answer.status)) GiveUp(entry, answer.status);
  }
  DeliverFront();
  ReviewWithBackoff(now);
}

void PartitionQueue::OnDisconnected() {
  for (Numbered& entry : numbered_) {
    if (entry.state != State::kOnWire) continue;
    entry.state = State::kResend;
    entry.maybe_appended = true;
  }
  retry_at_.reset();
  if (options_.idempotent) {
    Review();
    return;
  }
  // Nothing would recognise a repeat, so none is sent.
  for (Numbered& entry : numbered_) {
    Settle(entry, absl::UnavailableError("the connection broke while it was sent"),
           Delivery::Outcome::kUnknown);
  }
  numbered_.clear();
}

// With every answer in: go on, or begin anew under another identity. True: the broker asked for
// patience before anything is sent again.
bool PartitionQueue::Review() {
  if (identity_broken_ || AnyOnWire()) return false;
  const auto first = std::find_if(numbered_.begin(), numbered_.end(), IsOpen);
  if (first == numbered_.end()) return false;
  if (first->state == State::kOutOfOrder) {
    // All before it is appended or gone, so its sequence will never fit again.
    EndIdentity(std::find_if(first, numbered_.end(), Certain));
    return false;
  }
  const bool patience = first->state == State::kTryAgain;
  for (auto entry = first; entry != numbered_.end(); ++entry) {
    if (IsOpen(*entry)) entry->state = State::kResend;
  }
  return patience;
}

void PartitionQueue::ReviewWithBackoff(TimePoint now) {
  if (Review()) retry_at_ = now + backoff_.Next();
}

// From `gap` on nothing was appended nor ever will be under this identity.
void PartitionQueue::EndIdentity(Entries::iterator gap) {
  if (!options_.idempotent) return;
  identity_broken_ = true;
  for (auto entry = gap; entry != numbered_.end(); ++entry) entry->behind_gap = true;
}

// A batch before `next` was certainly not appended and is gone. If it was the last to be numbered,
// all attempts at its sequence are answered, so the next batch may have it; else the identity ends.
void PartitionQueue::LeaveGap(std::int32_t base_sequence, std::int32_t records,
                              Entries::iterator next) {
  if (!identity_broken_ && SequenceAfter(base_sequence, records) == next_sequence_) {
    next_sequence_ = base_sequence;
  } else {
    EndIdentity(next);
  }
}

// Certainly not appended.
bool PartitionQueue::Certain(const Numbered& entry) {
  return IsOpen(entry) &&
         (entry.behind_gap || (!entry.maybe_appended && entry.state != State::kOnWire));
}

Delivery::Outcome PartitionQueue::OutcomeOf(const Numbered& entry) {
  return Certain(entry) ? Delivery::Outcome::kRefused : Delivery::Outcome::kUnknown;
}

// Reports one that is not sent again; returns the one behind it.
PartitionQueue::Entries::iterator PartitionQueue::GiveUp(Entries::iterator entry,
                                                         const absl::Status& why) {
  const Delivery::Outcome outcome = OutcomeOf(*entry);
  const std::int32_t base_sequence = entry->base_sequence;
  const std::int32_t records = entry->batch->record_count;
  Settle(*entry, why, outcome);
  if (outcome == Delivery::Outcome::kUnknown) {
    entry->state = State::kGone;
    return std::next(entry);
  }
  const auto next = numbered_.erase(entry);
  LeaveGap(base_sequence, records, next);
  return next;
}

void PartitionQueue::Settle(Numbered& entry, const absl::Status& status,
                            Delivery::Outcome outcome) {
  settled_.push_back({.batch = std::move(entry.batch),
                      .status = status,
                      .outcome = outcome,
                      .base_offset = entry.answer.base_offset,
                      .durability = entry.answer.durability});
}

void PartitionQueue::DeliverFront() {
  while (!numbered_.empty() && !IsOpen(numbered_.front())) {
    Numbered& front = numbered_.front();
    if (front.state == State::kAppended) {
      Settle(front, absl::OkStatus(), Delivery::Outcome::kAppended);
    }
    numbered_.pop_front();
  }
}

void PartitionQueue::Expire(TimePoint now) {
  const auto late = [&](const std::unique_ptr<Batch>& batch) { return batch->deadline <= now; };
  const auto why = [&] {
    return absl::DeadlineExceededError(absl::StrFormat(
        "not delivered in time%s%s",
        last_error_.ok() ? "" : "; the last error was: ", std::string(last_error_.message())));
  };
  for (auto entry = numbered_.begin(); entry != numbered_.end();) {
    entry = IsOpen(*entry) && late(entry->batch) ? GiveUp(entry, why()) : std::next(entry);
  }
  DeliverFront();
  while (!waiting_.empty() && late(waiting_.front())) {
    settled_.push_back({.batch = std::move(waiting_.front()), .status = why()});
    waiting_.pop_front();
  }
  ReviewWithBackoff(now);
}

void PartitionQueue::FailAll(const absl::Status& why, bool on_wire_too) {
  for (auto entry = numbered_.begin(); entry != numbered_.end();) {
    const bool on_wire = entry->state == State::kOnWire;
    const bool fail = IsOpen(*entry) && (on_wire_too || !on_wire);
    entry = fail ? GiveUp(entry, why) : std::next(entry);
  }
  DeliverFront();
  for (auto& batch : waiting_) settled_.push_back({.batch = std::move(batch), .status = why});
  waiting_.clear();
}

std::vector<PartitionQueue::Settled> PartitionQueue::TakeSettled() {
  return std::exchange(settled_, {});
}

}  // namespace cairn::client
