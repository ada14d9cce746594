#include "absl/strings/str_format.h"

#include "broker/api/handlers.h"
#include "protocol/error_code.h"

namespace cairn::broker {
namespace {

void DispatchBody(const Request& request, const wire::Message& message) {
  switch (message.body_type()) {
    case wire::Body::Hello:
      return HandleHello(request, *message.body_as_Hello());
    case wire::Body::Ping:
      return HandlePing(request);
    case wire::Body::Pong:
      return;  // the answer to a ping of ours needs none
    case wire::Body::Produce:
      return HandleProduce(request, *message.body_as_Produce());
    case wire::Body::InitProducer:
      return HandleInitProducer(request, *message.body_as_InitProducer());
    case wire::Body::Subscribe:
      return HandleSubscribe(request, *message.body_as_Subscribe());
    case wire::Body::Credit:
      return HandleCredit(request, *message.body_as_Credit());
    case wire::Body::Unsubscribe:
      return HandleUnsubscribe(request, *message.body_as_Unsubscribe());
    case wire::Body::Metadata:
      return HandleMetadata(request, *message.body_as_Metadata());
    case wire::Body::ListOffsets:
      return HandleListOffsets(request, *message.body_as_ListOffsets());
    case wire::Body::CreateTopic:
      return HandleCreateTopic(request, *message.body_as_CreateTopic());
    case wire::Body::DescribeTopic:
      return HandleDescribeTopic(request, *message.body_as_DescribeTopic());
    case wire::Body::AlterTopic:
      return HandleAlterTopic(request, *message.body_as_AlterTopic());
    case wire::Body::DeleteTopic:
      return HandleDeleteTopic(request, *message.body_as_DeleteTopic());
    case wire::Body::TrimTopic:
      return HandleTrimTopic(request, *message.body_as_TrimTopic());
    case wire::Body::JoinGroup:
      return HandleJoinGroup(request, *message.body_as_JoinGroup());
    case wire::Body::GroupHeartbeat:
      return HandleGroupHeartbeat(request, *message.body_as_GroupHeartbeat());
    case wire::Body::ReleasePartitions:
      return HandleReleasePartitions(request, *message.body_as_ReleasePartitions());
    case wire::Body::LeaveGroup:
      return HandleLeaveGroup(request, *message.body_as_LeaveGroup());
    case wire::Body::CommitOffsets:
      return HandleCommitOffsets(request, *message.body_as_CommitOffsets());
    case wire::Body::ResetOffsets:
      return HandleResetOffsets(request, *message.body_as_ResetOffsets());
    case wire::Body::DescribeReset:
      return HandleDescribeReset(request, *message.body_as_DescribeReset());
    case wire::Body::ListGroups:
      return HandleListGroups(request, *message.body_as_ListGroups());
    case wire::Body::DescribeGroup:
      return HandleDescribeGroup(request, *message.body_as_DescribeGroup());
    case wire::Body::DeleteGroup:
      return HandleDeleteGroup(request, *message.body_as_DeleteGroup());
    case wire::Body::Status:
      return HandleStatus(request);
    default:
      return request.connection.Fail(
          request.correlation, MakeError(ErrorCode::kInvalidRequest,
                                         absl::StrFormat("%s is not something a client says",
                                                         wire::EnumNameBody(message.body_type()))));
  }
}

}  // namespace

void Dispatch(Connection& connection, const wire::Message& message, MutableBytes attachment) {
  const Request request{connection, message.correlation(), attachment};
  if (!connection.greeted() && message.body_type() != wire::Body::Hello) {
    return connection.Finish(
        MakeError(ErrorCode::kMalformed, absl::StrFormat("the first message must be Hello, not %s",
                                                         wire::EnumNameBody(message.body_type()))));
  }
  if (!connection.greeted() && message.correlation() == 0) {
    return connection.Finish(
        MakeError(ErrorCode::kMalformed, "Hello with correlation 0: it must be above 0"));
  }
  if (!attachment.empty() && message.body_type() != wire::Body::Produce) {
    return connection.Fail(
        request.correlation,
        MakeError(ErrorCode::kInvalidRequest,
                  absl::StrFormat("%s carries no attachment, but %d bytes came with it",
                                  wire::EnumNameBody(message.body_type()), attachment.size())));
  }
  DispatchBody(request, message);
}

}  // namespace cairn::broker
