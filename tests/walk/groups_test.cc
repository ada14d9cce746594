// Groups through the socket: what a peer may say of a group that it has no part in, or no more.

#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/walk/running_server.h"

namespace cairn::test {
namespace {

using Codes = std::vector<ErrorCode>;

// A member of group "g" that speaks for itself.
class Peer {
 public:
  explicit Peer(const RunningServer& server)
      : id(NewMemberId()), client_(server.Connect()), uuid_(ToWire(id)) {}

  RawClient::Frame Join(std::string_view instance_id = "", std::uint32_t session_ms = 60'000) {
    auto& builder = client_.builder();
    const auto group = builder.CreateString("g");
    const auto instance = ToWire(builder, instance_id);
    const auto topics = builder.CreateVectorOfStrings(std::vector<std::string>{"t"});
    return client_.Ask(wire::CreateJoinGroup(builder, group, &uuid_, instance, topics,
                                             wire::Assignor::StickyUniform, session_ms));
  }

  // Takes pushes until it is to hold so many partitions; gives their epoch, which is the same.
  std::int64_t AwaitAssigned(std::size_t partitions) {
    for (;;) {
      const RawClient::Frame frame = client_.Take();
      if (frame.kind() != wire::Body::GroupAssignment) continue;
      const auto* rows = frame.as<wire::GroupAssignment>().partitions();
      if (rows == nullptr || rows->size() != partitions) continue;
      return rows->Get(0)->epoch();
    }
  }
  // Until it is told that it is a member no more: why.
  ErrorCode AwaitEnded() {
    for (;;) {
      const RawClient::Frame frame = client_.Take();
      if (frame.kind() != wire::Body::GroupEnded) continue;
      return static_cast<ErrorCode>(frame.as<wire::GroupEnded>().code());
    }
  }

  struct Row {
    int partition;
    std::int64_t offset;
    std::int64_t epoch = 0;
  };
  RawClient::Frame AskCommit(const TopicId& topic, const std::vector<Row>& rows,
                             bool as_member = true) {
    auto& builder = client_.builder();
    std::vector<wire::OffsetCommit> commits;
    for (const Row& row : rows) {
      commits.emplace_back(ToWire(topic), row.partition, -1, row.epoch, row.offset, 0);
    }
    const auto group = builder.CreateString("g");
    const auto vector = builder.CreateVectorOfStructs(commits);
    return client_.Ask(
        wire::CreateCommitOffsets(builder, group, as_member ? &uuid_ : nullptr, vector));
  }
  // One code for each.
  Codes Commit(const TopicId& topic, const std::vector<Row>& rows, bool as_member = true) {
    const RawClient::Frame frame = AskCommit(topic, rows, as_member);
    Codes codes;
    for (const std::uint16_t code : *frame.as<wire::OffsetsCommitted>().codes()) {
      codes.push_back(static_cast<ErrorCode>(code));
    }
    return codes;
  }
  ErrorCode Heartbeat() {
    auto& builder = client_.builder();
    const auto group = builder.CreateString("g");
    const RawClient::Frame frame = client_.Ask(wire::CreateGroupHeartbeat(builder, group, &uuid_));
    return frame.kind() == wire::Body::Failure ? frame.code() : ErrorCode::kOk;
  }
  RawClient& client() { return client_; }

  const MemberId id;

 private:
  RawClient client_;
  const wire::Uuid uuid_;
};

}  // namespace

TEST_CASE("Groups: commits for partitions that are not owned are refused, one by one",
          "[walk][group]") {
  RunningServer server;
  Peer member(server);
  const TopicId topic = member.client().CreateTopic("t", 2);
  member.Join().as<wire::GroupJoined>();
  const std::int64_t epoch = member.AwaitAssigned(2);
  CHECK(member.Commit(topic, {{0, 5, epoch}, {1, 5, epoch - 1}, {1, 6, epoch + 1}}) ==
        Codes{ErrorCode::kOk, ErrorCode::kStaleAssignment, ErrorCode::kStaleAssignment});
  CHECK(member.Commit(topic, {{0, 4, epoch}, {1, 7, epoch}}) ==
        Codes{ErrorCode::kCommitBehind, ErrorCode::kOk});
  // One who never joined, and nobody in particular.
  Peer stranger(server);
  CHECK(stranger.AskCommit(topic, {{0, 9, epoch}}).code() == ErrorCode::kUnknownMember);
  CHECK(stranger.Commit(topic, {{0, 9, epoch}}, false) == Codes{ErrorCode::kGroupNotEmpty});
}

TEST_CASE("Groups: a commit for a partition that is not there is refused, and not kept for ever",
          "[walk][group]") {
  RunningServer server;
  Peer nobody(server);
  const TopicId topic = nobody.client().CreateTopic("t", 2);
  CHECK(nobody.Commit(topic, {{2, 5}, {-1, 5}, {1, 5}}, false) ==
        Codes{ErrorCode::kUnknownPartition, ErrorCode::kUnknownPartition, ErrorCode::kOk});
  CHECK(nobody.Commit(NewTopicId(), {{0, 5}}, false) == Codes{ErrorCode::kUnknownTopic});
}

TEST_CASE("Groups: the older of two with one instance id is told, and refused from then on",
          "[walk][group]") {
  RunningServer server;
  Peer older(server), newer(server);
  const TopicId topic = older.client().CreateTopic("t", 2);
  older.Join("one").as<wire::GroupJoined>();
  const std::int64_t epoch = older.AwaitAssigned(2);
  newer.Join("one").as<wire::GroupJoined>();
  const std::int64_t taken_over = newer.AwaitAssigned(2);
  CHECK(taken_over > epoch);
  CHECK(older.AwaitEnded() == ErrorCode::kFencedInstance);
  CHECK(older.AskCommit(topic, {{0, 5, epoch}}).code() == ErrorCode::kFencedInstance);
  CHECK(older.Heartbeat() == ErrorCode::kFencedInstance);
  const RawClient::Frame again = older.Join("one");
  CHECK(again.code() == ErrorCode::kFencedInstance);
  CHECK(again.text().find("instance id") != std::string::npos);
  CHECK(newer.Heartbeat() == ErrorCode::kOk);
  CHECK(newer.Commit(topic, {{0, 5, taken_over}}) == Codes{ErrorCode::kOk});
}

TEST_CASE("Groups: who was silent for its session commits too late", "[walk][group]") {
  RunningServer server;
  Peer silent(server), other(server);
  const TopicId topic = silent.client().CreateTopic("t", 1);
  silent.Join("", 1000).as<wire::GroupJoined>();
  const std::int64_t epoch = silent.AwaitAssigned(1);
  CHECK(silent.Commit(topic, {{0, 3, epoch}}) == Codes{ErrorCode::kOk});
  other.Join().as<wire::GroupJoined>();
  const std::int64_t later = other.AwaitAssigned(1);  // though nobody released it
  CHECK(silent.AskCommit(topic, {{0, 9, epoch}}).code() == ErrorCode::kUnknownMember);
  CHECK(silent.AwaitEnded() == ErrorCode::kUnknownMember);
  CHECK(other.Commit(topic, {{0, 4, later}}) == Codes{ErrorCode::kOk});
}

}  // namespace cairn::test
