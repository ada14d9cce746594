// Groups through the socket: what a peer may say of a group that it has no part in, or no more.

#include <algorithm>
#include <optional>
#include <set>
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

  RawClient::Frame Join(std::string_view instance_id = "", std::uint32_t session_ms = 60'000,
                        const std::vector<std::string>& wanted = {"t"}) {
    auto& builder = client_.builder();
    const auto group = builder.CreateString("g");
    const auto instance = ToWire(builder, instance_id);
    const auto topics = builder.CreateVectorOfStrings(wanted);
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
  // As one of many members that speak through this connection.
  void BecomeAnother() {
    id = NewMemberId();
    uuid_ = ToWire(id);
  }
  RawClient& client() { return client_; }

  MemberId id;

 private:
  RawClient client_;
  wire::Uuid uuid_;
};

// Names that together have `bytes` bytes.
std::vector<std::string> LongNames(std::size_t bytes) {
  std::vector<std::string> names;
  while (bytes > 0) {
    const std::size_t size = std::min(bytes, kTopicNameBytesMax);
    names.push_back(std::string(size, 'n'));
    bytes -= size;
  }
  return names;
}

}  // namespace

TEST_CASE("Groups: commits for partitions that are not owned are refused, one by one",
          "[walk][group]") {
  RunningServer server;
  Peer member(server);
  const TopicId topic = member.client().CreateTopic("t", 2);
  member.Join().as<wire::GroupJoined>();
  const std::int64_t epoch = member.AwaitAssigned(2);
  CHECK(member.Commit(topic, {{0, 5, epoch}, {1, 5, epoch - 1}}) ==
        Codes{ErrorCode::kOk, ErrorCode::kStaleAssignment});
  CHECK(member.Commit(topic, {{1, 6, epoch + 1}}) == Codes{ErrorCode::kStaleAssignment});
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

TEST_CASE("Groups: a group of many members with many topics was described in one message",
          "[walk][group]") {
  constexpr std::size_t kMembers = 40, kPartitions = 500;
  RunningServer server;
  Peer peer(server);
  RawClient& client = peer.client();
  const TopicId topic = client.CreateTopic("t", kPartitions);
  {
    auto& builder = client.builder();
    std::vector<wire::OffsetCommit> commits;
    const std::vector<std::string> metadata(kPartitions / 4,
                                            std::string(kCommitMetadataBytesMax, 'm'));
    for (std::size_t i = 0; i < metadata.size(); ++i) {
      commits.emplace_back(ToWire(topic), static_cast<int>(i), -1, 0, 5, 0);
    }
    const auto group = builder.CreateString("g");
    const auto rows = builder.CreateVectorOfStructs(commits);
    const auto texts = builder.CreateVectorOfStrings(metadata);
    client.Ask(wire::CreateCommitOffsets(builder, group, nullptr, rows, texts))
        .as<wire::OffsetsCommitted>();
  }
  std::vector<std::string> names = LongNames(kGroupTopicBytesMax - 1);
  names.push_back("t");
  std::set<MemberId> joined;
  for (std::size_t i = 0; i < kMembers; ++i) {
    peer.BecomeAnother();
    peer.Join("", 60'000, names).as<wire::GroupJoined>();
    joined.insert(peer.id);
  }
  std::set<MemberId> members, holders;
  std::size_t partitions = 0, pages = 0;
  std::optional<wire::Uuid> last;
  for (bool more = true; more; ++pages) {
    auto& builder = client.builder();
    const auto group = builder.CreateString("g");
    const RawClient::Frame frame =
        client.Ask(wire::CreateDescribeGroup(builder, group, static_cast<std::uint32_t>(partitions),
                                             last.has_value() ? &*last : nullptr));
    const auto& page = frame.as<wire::GroupDescription>();
    for (const wire::GroupMember* member : *page.members()) {
      CHECK(members.insert(MemberFromWire(*member->id())).second);
      CHECK(member->topics()->size() == names.size());
      last = *member->id();
    }
    for (const wire::GroupPartition* each : *page.partitions()) {
      const auto place = static_cast<flatbuffers::uoffset_t>(each->target());
      holders.insert(MemberFromWire(*page.holders()->Get(place)));
    }
    partitions += page.partitions()->size();
    more = page.members_more() || partitions < page.partitions_total();
  }
  CHECK(pages > 4);
  CHECK(partitions == kPartitions);
  CHECK(members == joined);
  CHECK(holders == joined);
}

TEST_CASE("Groups: one request committed one partition many times, and more than a group reads",
          "[walk][group]") {
  RunningServer server;
  Peer nobody(server);
  const TopicId topic = nobody.client().CreateTopic("t", 2);
  const RawClient::Frame twice = nobody.AskCommit(topic, {{0, 5}, {1, 5}, {0, 6}}, false);
  CHECK(twice.code() == ErrorCode::kInvalidRequest);
  std::vector<Peer::Row> rows(kGroupPartitionsMax + 1);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].partition = static_cast<int>(i);
  const RawClient::Frame many = nobody.AskCommit(topic, rows, false);
  CHECK(many.code() == ErrorCode::kInvalidRequest);
  CHECK(many.text().find("10001") != std::string::npos);
}

TEST_CASE("Groups: a member of the broker's own topics waited for ever", "[walk][group]") {
  RunningServer server;
  Peer peer(server);
  for (const char* name : {"__consumer_offsets", "__*"}) {
    const RawClient::Frame refused = peer.Join("", 60'000, {"t", name});
    REQUIRE(refused.kind() == wire::Body::Failure);
    CHECK(refused.code() == ErrorCode::kInternalTopic);
  }
}

TEST_CASE("Groups: a reset waited for as long as a client liked, and kept others away",
          "[walk][group]") {
  RunningServer server;
  Peer peer(server);
  const TopicId topic = peer.client().CreateTopic("t", 1);
  const auto reset = [&](std::chrono::milliseconds wait) {
    auto& builder = peer.client().builder();
    const auto group = builder.CreateString("g");
    const std::vector<wire::OffsetChange> changes{wire::OffsetChange(ToWire(topic), 0, -1, 3)};
    const auto rows = builder.CreateVectorOfStructs(changes);
    return peer.client().Ask(wire::CreateResetOffsets(builder, group, rows, 0, false,
                                                      static_cast<std::uint32_t>(wait.count())));
  };
  const auto longest = std::chrono::milliseconds(kResetTimeoutMax);
  CHECK(reset(longest + std::chrono::milliseconds(1)).code() == ErrorCode::kInvalidRequest);
  CHECK(reset(longest).kind() == wire::Body::OffsetsReset);
}

TEST_CASE("Groups: a member names no more topics than a description of it can tell",
          "[walk][group]") {
  RunningServer server;
  Peer member(server);
  const RawClient::Frame frame = member.Join("", 60'000, LongNames(kGroupTopicBytesMax + 1));
  CHECK(frame.code() == ErrorCode::kInvalidRequest);
  CHECK(frame.text().find("65536") != std::string::npos);
}

}  // namespace cairn::test
