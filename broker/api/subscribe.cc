#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/api/connection_table.h"
#include "broker/api/handlers.h"
#include "protocol/error_code.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

// What a Subscribe asks for, kept while its start is looked for.
struct Wanted {
  std::uint64_t correlation;
  std::uint32_t id;
  std::uint64_t credit;
  bool stop_at_present_end;
  std::optional<Offset> stop;
  std::shared_ptr<Partition> partition;
};

absl::Status CheckInRange(Offset start, const Partition& partition) {
  const Partition::Ends ends = partition.ends();
  if (start >= ends.log_start && start <= ends.committed_end) return absl::OkStatus();
  return MakeError(
      ErrorCode::kOffsetOutOfRange,
      absl::StrFormat("offset %d of %s:%d: the partition holds offsets from %d up to its end %d",
                      start.value(), partition.topic_name(), partition.id().partition.value(),
                      ends.log_start.value(), ends.committed_end.value()));
}

// Answers, and begins to push.
std::shared_ptr<Subscription> Begin(Connection& connection, const Wanted& wanted, Offset start) {
  const Partition::Ends ends = wanted.partition->ends();
  std::optional<Offset> stop = wanted.stop;
  // Where damage stands in for the end, reaching it is an error, and not the end of a bounded read.
  const bool damaged = CodeOf(wanted.partition->write_state()) == ErrorCode::kPartitionOffline;
  if (wanted.stop_at_present_end && !damaged)
    stop = std::min(stop.value_or(ends.committed_end), ends.committed_end);
  connection.Reply(
      wanted.correlation,
      wire::CreateSubscribed(connection.builder(), start.value(), ends.log_start.value(),
                             ends.committed_end.value(), stop.value_or(kNoOffset).value()));
  auto subscription = std::make_shared<Subscription>(
      connection.shared_from_this(), wanted.partition,
      Subscription::Options{
          .id = wanted.id, .start = start, .stop = stop, .credit = wanted.credit});
  connection.subscriptions().Begin(subscription);
  return subscription;
}

void Refuse(Connection& connection, const Wanted& wanted, const absl::Status& why) {
  connection.subscriptions().Release(wanted.id);
  connection.Fail(wanted.correlation, why);
}

// The reader has seen records that a power cut or a repair took back: it is told which, as the only
// thing this subscription ever says.
void BeginTruncated(Connection& connection, const Wanted& wanted, const Partition::Lost& lost) {
  const auto subscription = Begin(connection, wanted, lost.from);
  const absl::Status why = MakeError(
      ErrorCode::kTruncated,
      absl::StrFormat("offsets %d to %d of %s:%d were lost in a power cut or a repair; others may "
                      "stand in their place",
                      lost.from.value(), lost.to.value() - 1, wanted.partition->topic_name(),
                      wanted.partition->id().partition.value()));
  subscription->End(connection.builder(), connection.outbox(), why, lost.from, lost.to);
}

void BeginAtOffset(Connection& connection, const Wanted& wanted, Offset offset, LeaderEpoch epoch) {
  if (epoch != kNoEpoch) {
    if (const auto lost = wanted.partition->CheckEpoch(epoch, offset)) {
      return BeginTruncated(connection, wanted, *lost);
    }
  }
  const absl::Status in_range = CheckInRange(offset, *wanted.partition);
  if (!in_range.ok()) return Refuse(connection, wanted, in_range);
  Begin(connection, wanted, offset);
}

void BeginAtTime(const Request& request, Wanted wanted, Timestamp time) {
  using Found = absl::StatusOr<std::optional<storage::Log::TimeMatch>>;
  request.connection.Expect();
  const std::shared_ptr<Partition> partition = wanted.partition;
  partition->FindTime(time, [connection = request.connection.shared_from_this(),
                             wanted = std::move(wanted)](Found found) mutable {
    connection->Post([wanted = std::move(wanted), found = std::move(found)](Connection& on) {
      on.Answered();
      if (!on.subscriptions().Reserved(wanted.id, wanted.correlation)) return;
      if (!found.ok()) return Refuse(on, wanted, found.status());
      // No record is that young: what comes next is.
      Begin(on, wanted, *found ? (*found)->offset : wanted.partition->ends().committed_end);
    });
  });
}

absl::StatusOr<Wanted> Decode(const Request& request, const wire::Subscribe& subscribe) {
  ASSIGN_OR_RETURN(const ServedTopics::Place place,
                   request.connection.table().topics().Find(
                       {FromWire(*subscribe.topic()), PartitionIndex(subscribe.partition())}));
  Wanted wanted{.correlation = request.correlation,
                .id = subscribe.subscription(),
                .credit = subscribe.credit(),
                .stop_at_present_end = subscribe.stop_at_present_end(),
                .stop = std::nullopt,
                .partition = *place.partition};
  if (subscribe.stop_offset() >= 0) wanted.stop = Offset(subscribe.stop_offset());
  return wanted;
}

}  // namespace

void HandleSubscribe(const Request& request, const wire::Subscribe& subscribe) {
  Connection& connection = request.connection;
  absl::StatusOr<Wanted> decoded = Decode(request, subscribe);
  if (!decoded.ok()) return connection.Fail(request.correlation, decoded.status());
  Wanted wanted = *std::move(decoded);
  const absl::Status reserved = connection.subscriptions().Reserve(wanted.id, request.correlation);
  if (!reserved.ok()) return connection.Fail(request.correlation, reserved);

  switch (subscribe.start_at()) {
    case wire::StartAt::Offset:
      return BeginAtOffset(connection, wanted, Offset(subscribe.offset()),
                           LeaderEpoch(subscribe.leader_epoch()));
    case wire::StartAt::Earliest:
      Begin(connection, wanted, wanted.partition->ends().log_start);
      return;
    case wire::StartAt::Latest:
      Begin(connection, wanted, wanted.partition->ends().committed_end);
      return;
    case wire::StartAt::Timestamp:
      return BeginAtTime(request, std::move(wanted), Timestamp(subscribe.timestamp()));
  }
  Refuse(connection, wanted,
         MakeError(
             ErrorCode::kInvalidRequest,
             absl::StrFormat("start_at %d is not known", static_cast<int>(subscribe.start_at()))));
}

void HandleCredit(const Request& request, const wire::Credit& credit) {
  request.connection.subscriptions().AddCredit(credit.subscription(), credit.bytes());
}

void HandleUnsubscribe(const Request& request, const wire::Unsubscribe& unsubscribe) {
  Connection& connection = request.connection;
  const std::uint64_t unanswered =
      connection.subscriptions().Remove(unsubscribe.subscription(), connection.outbox());
  connection.Fail(unanswered,
                  MakeError(ErrorCode::kInvalidRequest, "unsubscribed before its start was found"));
  connection.Reply(request.correlation,
                   wire::CreateUnsubscribed(connection.builder(), unsubscribe.subscription()));
}

}  // namespace cairn::broker
