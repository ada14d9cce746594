#include "protocol/messages.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"

namespace cairn {
namespace {

absl::Status Malformed(std::string_view what) { return MakeError(ErrorCode::kMalformed, what); }

// The least a Message can take: root offset, identifier, a vtable and a table.
constexpr std::size_t kMessageBytesMin = 16;

absl::Status Require(bool present, std::string_view kind, std::string_view field) {
  if (present) return absl::OkStatus();
  return Malformed(absl::StrFormat("%s without its %s", kind, field));
}

template <typename Table>
absl::Status RequireGroup(const Table& table, std::string_view kind) {
  return Require(table.group() != nullptr, kind, "group");
}

template <typename Table>
absl::Status RequireMember(const Table& table, std::string_view kind) {
  if (absl::Status group = RequireGroup(table, kind); !group.ok()) return group;
  return Require(table.member() != nullptr, kind, "member");
}

// The parts without which a message of its kind cannot mean anything. Kinds that are not listed
// need none; absent strings and vectors elsewhere read as empty.
absl::Status CheckRequiredParts(const wire::Message& message) {
  switch (message.body_type()) {
    case wire::Body::Welcome:
      return Require(message.body_as_Welcome()->cluster_id() != nullptr, "Welcome", "cluster_id");
    case wire::Body::Produce:
      return Require(message.body_as_Produce()->topic() != nullptr, "Produce", "topic");
    case wire::Body::Subscribe:
      return Require(message.body_as_Subscribe()->topic() != nullptr, "Subscribe", "topic");
    case wire::Body::ListOffsets:
      return Require(message.body_as_ListOffsets()->topic() != nullptr, "ListOffsets", "topic");
    case wire::Body::CreateTopic:
      return Require(message.body_as_CreateTopic()->name() != nullptr, "CreateTopic", "name");
    case wire::Body::TopicCreated:
      return Require(message.body_as_TopicCreated()->id() != nullptr, "TopicCreated", "id");
    case wire::Body::DescribeTopic:
      return Require(message.body_as_DescribeTopic()->name() != nullptr, "DescribeTopic", "name");
    case wire::Body::TopicDescription:
      return Require(message.body_as_TopicDescription()->id() != nullptr, "TopicDescription", "id");
    case wire::Body::AlterTopic:
      return Require(message.body_as_AlterTopic()->name() != nullptr, "AlterTopic", "name");
    case wire::Body::DeleteTopic:
      return Require(message.body_as_DeleteTopic()->name() != nullptr, "DeleteTopic", "name");
    case wire::Body::TrimTopic:
      return Require(message.body_as_TrimTopic()->name() != nullptr, "TrimTopic", "name");
    case wire::Body::StatusReply:
      return Require(message.body_as_StatusReply()->cluster_id() != nullptr, "StatusReply",
                     "cluster_id");
    case wire::Body::JoinGroup:
      return RequireMember(*message.body_as_JoinGroup(), "JoinGroup");
    case wire::Body::GroupAssignment:
      return RequireMember(*message.body_as_GroupAssignment(), "GroupAssignment");
    case wire::Body::GroupEnded:
      return RequireMember(*message.body_as_GroupEnded(), "GroupEnded");
    case wire::Body::GroupHeartbeat:
      return RequireMember(*message.body_as_GroupHeartbeat(), "GroupHeartbeat");
    case wire::Body::ReleasePartitions:
      return RequireMember(*message.body_as_ReleasePartitions(), "ReleasePartitions");
    case wire::Body::LeaveGroup:
      return RequireMember(*message.body_as_LeaveGroup(), "LeaveGroup");
    case wire::Body::CommitOffsets:
      return RequireGroup(*message.body_as_CommitOffsets(), "CommitOffsets");
    case wire::Body::DescribeGroup:
      return RequireGroup(*message.body_as_DescribeGroup(), "DescribeGroup");
    case wire::Body::DeleteGroup:
      return RequireGroup(*message.body_as_DeleteGroup(), "DeleteGroup");
    case wire::Body::ResetOffsets:
      return RequireGroup(*message.body_as_ResetOffsets(), "ResetOffsets");
    case wire::Body::DescribeReset:
      return RequireGroup(*message.body_as_DescribeReset(), "DescribeReset");
    case wire::Body::ResetDescription:
      return Require(message.body_as_ResetDescription()->reset() != nullptr, "ResetDescription",
                     "reset");
    default:
      return absl::OkStatus();
  }
}

template <typename Id>
wire::Uuid UuidToWire(const Id& id) {
  return wire::Uuid(flatbuffers::span<const std::uint8_t, 16>(id.bytes.data(), 16));
}

template <typename Id>
Id UuidFromWire(const wire::Uuid& id) {
  Id result;
  std::copy(id.bytes()->begin(), id.bytes()->end(), result.bytes.begin());
  return result;
}

}  // namespace

absl::StatusOr<const wire::Message*> ParseMessage(ByteView control) {
  CAIRN_CHECK(reinterpret_cast<std::uintptr_t>(control.data()) % 8 == 0);
  // The verifier only asserts what it expects of the size, so that is ours to check.
  if (control.size() < kMessageBytesMin || control.size() > kControlBytesMax) {
    return Malformed(absl::StrFormat("a control of %d bytes: between %d and %d are possible",
                                     control.size(), kMessageBytesMin, kControlBytesMax));
  }
  const auto* data = reinterpret_cast<const std::uint8_t*>(control.data());
  flatbuffers::Verifier verifier(data, control.size(), kControlDepthMax, kControlTablesMax);
  if (!wire::VerifyMessageBuffer(verifier)) {
    return Malformed("a control that is not a valid CRN1 message");
  }
  const wire::Message* message = wire::GetMessage(data);
  if (message->body_type() == wire::Body::NONE || message->body_type() > wire::Body::MAX ||
      message->body() == nullptr) {
    return Malformed(
        absl::StrFormat("a message of unknown kind %d", static_cast<int>(message->body_type())));
  }
  if (absl::Status parts = CheckRequiredParts(*message); !parts.ok()) return parts;
  return message;
}

wire::Uuid ToWire(const TopicId& id) { return UuidToWire(id); }
wire::Uuid ToWire(const MemberId& id) { return UuidToWire(id); }
TopicId FromWire(const wire::Uuid& id) { return UuidFromWire<TopicId>(id); }
MemberId MemberFromWire(const wire::Uuid& id) { return UuidFromWire<MemberId>(id); }

Durability FromWire(wire::Durability durability) {
  switch (durability) {
    case wire::Durability::Durable:
      return Durability::kDurable;
    case wire::Durability::Written:
      return Durability::kWritten;
    default:
      return Durability::kNone;
  }
}

wire::Durability ToWire(Durability durability) {
  return static_cast<wire::Durability>(static_cast<std::uint8_t>(durability));
}

void FinishFrameAs(flatbuffers::FlatBufferBuilder& builder, std::uint64_t correlation,
                   wire::Body kind, flatbuffers::Offset<void> body, std::size_t attachment_bytes,
                   Bytes& out) {
  wire::MessageBuilder message(builder);
  message.add_correlation(correlation);
  message.add_body(body);
  message.add_body_type(kind);
  wire::FinishMessageBuffer(builder, message.Finish());

  const std::size_t control_bytes = PadTo8(builder.GetSize());
  const std::size_t at = out.size();
  out.resize(at + kFrameHeaderBytes + control_bytes);  // zeros, so the padding is there already
  StoreFrameHeader(MutableBytes(out).subspan(at), control_bytes, attachment_bytes);
  std::memcpy(out.data() + at + kFrameHeaderBytes, builder.GetBufferPointer(), builder.GetSize());
  builder.Clear();
}

void FinishFailure(flatbuffers::FlatBufferBuilder& builder, std::uint64_t correlation,
                   const absl::Status& status, Bytes& out) {
  const auto text =
      ToWire(builder, std::string_view(status.message().data(), status.message().size()));
  const auto failure =
      wire::CreateFailure(builder, static_cast<std::uint16_t>(CodeOf(status)), text);
  FinishFrame(builder, correlation, failure, 0, out);
}

absl::Status StatusFromWire(std::uint16_t code, std::string_view message) {
  return MakeError(static_cast<ErrorCode>(code), message);
}

}  // namespace cairn
