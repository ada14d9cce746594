// Being a member of a consumer group.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "broker/api/group_request.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

void Push(Connection& on, const std::string& group, const MemberId& member,
          const MemberAssignment& assignment) {
  auto& builder = on.builder();
  std::vector<flatbuffers::Offset<wire::GroupTopic>> topics;
  for (const auto& [id, name] : assignment.topics) {
    const wire::Uuid uuid = ToWire(id);
    topics.push_back(wire::CreateGroupTopic(builder, &uuid, ToWire(builder, name)));
  }
  std::vector<wire::AssignedPartition> partitions;
  for (const MemberAssignment::Partition& each : assignment.partitions) {
    partitions.emplace_back(ToWire(each.id.topic), each.id.partition.value(),
                            each.leader_epoch.value(), each.epoch, each.offset.value());
  }
  const wire::Uuid uuid = ToWire(member);
  const auto name = ToWire(builder, group);
  const auto topic_vector = builder.CreateVector(topics);
  const auto partition_vector = builder.CreateVectorOfStructs(partitions);
  on.Push(wire::CreateGroupAssignment(builder, name, &uuid, assignment.version, topic_vector,
                                      partition_vector));
}

// A member's way is the connection that it was last heard of on.
class ConnectionSink final : public MemberSink {
 public:
  explicit ConnectionSink(std::weak_ptr<Connection> connection)
      : connection_(std::move(connection)) {}

  void Assigned(const std::string& group, const MemberId& member,
                const MemberAssignment& assignment) override {
    const auto connection = connection_.lock();
    if (connection == nullptr) return;
    connection->Post(
        [group, member, assignment](Connection& on) { Push(on, group, member, assignment); });
  }

  void Ended(const std::string& group, const MemberId& member, const absl::Status& why) override {
    const auto connection = connection_.lock();
    if (connection == nullptr) return;
    const auto code = static_cast<std::uint16_t>(CodeOf(why));
    connection->Post([group, member, code, text = std::string(why.message())](Connection& on) {
      auto& builder = on.builder();
      const wire::Uuid uuid = ToWire(member);
      const auto name = ToWire(builder, group);
      const auto message = ToWire(builder, text);
      on.Push(wire::CreateGroupEnded(builder, name, &uuid, code, message));
    });
  }

 private:
  const std::weak_ptr<Connection> connection_;
};

std::shared_ptr<MemberSink> SinkOf(Connection& connection) {
  return std::make_shared<ConnectionSink>(connection.weak_from_this());
}

absl::Status CheckTopics(const std::vector<std::string>& topics) {
  if (topics.empty() || topics.size() > kGroupTopicsMax) {
    return MakeError(ErrorCode::kInvalidRequest,
                     absl::StrFormat("a member names 1 to %d topics and patterns, not %d",
                                     kGroupTopicsMax, topics.size()));
  }
  for (const std::string& topic : topics) {
    if (IsInternalTopicName(topic)) {
      return MakeError(ErrorCode::kInternalTopic,
                       absl::StrFormat("'%s': what begins with \"__\" is the broker's own, and no "
                                       "group reads it; read it without a group",
                                       topic));
    }
    if (!topic.empty() && topic.size() <= kTopicNameBytesMax) continue;
    return MakeError(ErrorCode::kInvalidRequest,
                     absl::StrFormat("a topic's name or pattern of %d bytes: 1 to %d are possible",
                                     topic.size(), kTopicNameBytesMax));
  }
  std::size_t bytes = 0;
  for (const std::string& topic : topics) bytes += topic.size();
  if (bytes > kGroupTopicBytesMax) {
    return MakeError(
        ErrorCode::kInvalidRequest,
        absl::StrFormat(
            "a member's topics and patterns of %d bytes together: %d are possible; name "
            "some of them by a pattern",
            bytes, kGroupTopicBytesMax));
  }
  return absl::OkStatus();
}

absl::StatusOr<GroupMember> MemberOf(const Request& request, const wire::JoinGroup& join) {
  GroupMember row;
  row.instance_id = std::string(FromWire(join.instance_id()));
  if (row.instance_id.size() > kInstanceIdBytesMax) {
    return MakeError(ErrorCode::kInvalidRequest,
                     absl::StrFormat("an instance id of %d bytes; %d are allowed",
                                     row.instance_id.size(), kInstanceIdBytesMax));
  }
  row.client_id = request.connection.client_id();
  row.host = request.connection.peer_host();
  if (join.topics() != nullptr) {
    for (const flatbuffers::String* topic : *join.topics())
      row.topics.emplace_back(FromWire(topic));
  }
  RETURN_IF_ERROR(CheckTopics(row.topics));
  const std::chrono::milliseconds session(join.session_timeout_ms());
  if (session < kSessionTimeoutMin || session > kSessionTimeoutMax) {
    return MakeError(
        ErrorCode::kInvalidRequest,
        absl::StrFormat("a session timeout of %d ms; %d to %d are possible", session.count(),
                        std::chrono::milliseconds(kSessionTimeoutMin).count(),
                        std::chrono::milliseconds(kSessionTimeoutMax).count()));
  }
  row.session_timeout_ms = join.session_timeout_ms();
  return row;
}

// Every third of a session, and every three seconds at the latest.
std::uint32_t HeartbeatMs(std::uint32_t session_timeout_ms) {
  return std::min<std::uint32_t>(session_timeout_ms / 3, 3000);
}

}  // namespace

void HandleJoinGroup(const Request& request, const wire::JoinGroup& join) {
  GroupShard* shard = ShardOf(request, FromWire(join.group()));
  if (shard == nullptr) return;
  absl::StatusOr<GroupMember> member = MemberOf(request, join);
  if (!member.ok()) return request.connection.Fail(request.correlation, member.status());
  GroupShard::JoinRequest joining;
  joining.group = std::string(FromWire(join.group()));
  joining.member = MemberFromWire(*join.member());
  joining.assignor =
      join.assignor() == wire::Assignor::Range ? Assignor::kRange : Assignor::kStickyUniform;
  joining.rejoins = join.rejoins();
  joining.sink = SinkOf(request.connection);
  const std::uint32_t heartbeat_ms = HeartbeatMs(member->session_timeout_ms);
  joining.row = *std::move(member);
  if (joining.member == kNoMember) {
    return request.connection.Fail(
        request.correlation, MakeError(ErrorCode::kInvalidRequest, "a member id of zeros only"));
  }
  using Outcome = absl::StatusOr<bool>;
  shard->Join(
      std::move(joining),
      AnswerLater<Outcome>(request, [heartbeat_ms](Connection& on, std::uint64_t correlation,
                                                   const Outcome& is_new) {
        on.Reply(correlation, wire::CreateGroupJoined(on.builder(), *is_new, heartbeat_ms));
      }));
}

void HandleGroupHeartbeat(const Request& request, const wire::GroupHeartbeat& beat) {
  GroupShard* shard = ShardOf(request, FromWire(beat.group()));
  if (shard == nullptr) return;
  const absl::Status alive = shard->Heartbeat(
      std::string(FromWire(beat.group())), MemberFromWire(*beat.member()), beat.version(),
      SinkOf(request.connection), std::chrono::steady_clock::now());
  if (!alive.ok()) return request.connection.Fail(request.correlation, alive);
  request.connection.Reply(request.correlation,
                           wire::CreateGroupAlive(request.connection.builder()));
}

void HandleReleasePartitions(const Request& request, const wire::ReleasePartitions& release) {
  GroupShard* shard = ShardOf(request, FromWire(release.group()));
  if (shard == nullptr) return;
  if (const absl::Status fits = CheckRows(release.keeps()); !fits.ok()) {
    return request.connection.Fail(request.correlation, fits);
  }
  std::vector<HeldPartition> keeps;
  if (release.keeps() != nullptr) {
    for (const wire::HeldPartition* each : *release.keeps()) {
      keeps.push_back(
          {{FromWire(each->topic()), PartitionIndex(each->partition())}, each->epoch()});
    }
  }
  shard->Release(std::string(FromWire(release.group())), MemberFromWire(*release.member()),
                 release.version(), std::move(keeps),
                 AnswerLater<absl::Status>(
                     request, [](Connection& on, std::uint64_t correlation, const absl::Status&) {
                       on.Reply(correlation, wire::CreatePartitionsReleased(on.builder()));
                     }));
}

void HandleLeaveGroup(const Request& request, const wire::LeaveGroup& leave) {
  GroupShard* shard = ShardOf(request, FromWire(leave.group()));
  if (shard == nullptr) return;
  shard->Leave(std::string(FromWire(leave.group())), MemberFromWire(*leave.member()),
               AnswerLater<absl::Status>(
                   request, [](Connection& on, std::uint64_t correlation, const absl::Status&) {
                     on.Reply(correlation, wire::CreateGroupLeft(on.builder()));
                   }));
}

}  // namespace cairn::broker
