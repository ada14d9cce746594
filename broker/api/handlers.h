#pragma once

#include <cstdint>
#include <utility>

#include "absl/status/status.h"

#include "broker/api/connection.h"
#include "protocol/messages.h"

// What a client can ask, one function each: the table of contents of this folder. A handler
// decodes, asks a service and encodes the answer; it has no rules of its own. It runs on the
// connection's worker, never waits, and answers at once or leaves something behind that will
// (AnswerLater, an Ack).
namespace cairn::broker {

struct Request {
  Connection& connection;
  std::uint64_t correlation;  // 0: no reply
  MutableBytes attachment;    // in the receive buffer; not to be kept
};

// hello.cc
void HandleHello(const Request& request, const wire::Hello& hello);
void HandlePing(const Request& request);

// produce.cc
void HandleProduce(const Request& request, const wire::Produce& produce);
// producer_id.cc
void HandleInitProducer(const Request& request, const wire::InitProducer& init);

// subscribe.cc
void HandleSubscribe(const Request& request, const wire::Subscribe& subscribe);
void HandleCredit(const Request& request, const wire::Credit& credit);
void HandleUnsubscribe(const Request& request, const wire::Unsubscribe& unsubscribe);

// metadata.cc
void HandleMetadata(const Request& request, const wire::Metadata& metadata);
// offsets.cc
void HandleListOffsets(const Request& request, const wire::ListOffsets& list);

// topics.cc
void HandleCreateTopic(const Request& request, const wire::CreateTopic& create);
void HandleAlterTopic(const Request& request, const wire::AlterTopic& alter);
void HandleDeleteTopic(const Request& request, const wire::DeleteTopic& remove);
void HandleTrimTopic(const Request& request, const wire::TrimTopic& trim);
// describe.cc
void HandleDescribeTopic(const Request& request, const wire::DescribeTopic& describe);

// group_members.cc
void HandleJoinGroup(const Request& request, const wire::JoinGroup& join);
void HandleGroupHeartbeat(const Request& request, const wire::GroupHeartbeat& beat);
void HandleReleasePartitions(const Request& request, const wire::ReleasePartitions& release);
void HandleLeaveGroup(const Request& request, const wire::LeaveGroup& leave);
// group_offsets.cc
void HandleCommitOffsets(const Request& request, const wire::CommitOffsets& asked);
void HandleResetOffsets(const Request& request, const wire::ResetOffsets& asked);
void HandleDescribeReset(const Request& request, const wire::DescribeReset& asked);
// groups.cc
void HandleListGroups(const Request& request, const wire::ListGroups& list);
void HandleDescribeGroup(const Request& request, const wire::DescribeGroup& describe);
void HandleDeleteGroup(const Request& request, const wire::DeleteGroup& remove);

// status.cc
void HandleStatus(const Request& request);

// dispatcher.cc: hands a message to its handler.
void Dispatch(Connection& connection, const wire::Message& message, MutableBytes attachment);

inline const absl::Status& StatusOf(const absl::Status& outcome) { return outcome; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& outcome) {
  return outcome.status();
}

// A callback for an outcome (Status or StatusOr) that comes later, from any thread: it goes back to
// the connection's worker and there answers with Failure, or with what `encode(connection,
// correlation, outcome)` makes of a good one. To be called exactly once.
template <typename Outcome, typename Encode>
auto AnswerLater(const Request& request, Encode encode) {
  request.connection.Expect();
  return [connection = request.connection.shared_from_this(), correlation = request.correlation,
          encode = std::move(encode)](Outcome outcome) mutable {
    connection->Post([correlation, encode = std::move(encode),
                      outcome = std::move(outcome)](Connection& on) mutable {
      on.Answered();
      if (!StatusOf(outcome).ok()) return on.Fail(correlation, StatusOf(outcome));
      encode(on, correlation, outcome);
    });
  };
}

}  // namespace cairn::broker
