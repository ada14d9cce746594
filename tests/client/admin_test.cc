#include "client/admin.h"

#include <atomic>

#include <catch2/catch.hpp>

#include "tests/client/fake_broker.h"

namespace cairn::client {

using namespace std::chrono_literals;
using test::ClusterOf;
using test::FakeBroker;

TEST_CASE("Admin: a timeout without end is one, and not over at once", "[client][admin]") {
  FakeBroker broker([](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      peer.AnswerTopic(message->correlation(), NewTopicId());
    }
  });
  Admin admin(ClusterOf(broker), Duration::max());
  const auto topics = admin.ListTopics();
  INFO(topics.status());
  CHECK(topics.ok());
}

TEST_CASE("Admin: a list of very many pages ends at its deadline", "[client][admin]") {
  FakeBroker broker([](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    // Far more pages than can come in time; but an end, so that a client that does not keep to its
    // time fails instead of hanging.
    int pages = 0;
    while (const wire::Message* message = peer.Receive()) {
      peer.AnswerTopic(message->correlation(), NewTopicId(), 1, ++pages < 200'000);
    }
  });
  Admin admin(ClusterOf(broker), 100ms);
  const auto topics = admin.ListTopics();
  CHECK(absl::IsDeadlineExceeded(topics.status()));
}

TEST_CASE("Admin: a request larger than any broker takes is refused and harms nobody",
          "[client][admin]") {
  std::atomic<int> connections{0};
  FakeBroker broker([&](FakeBroker::Peer& peer) {
    ++connections;
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      peer.AnswerTopic(message->correlation(), NewTopicId());
    }
  });
  Admin admin(ClusterOf(broker), 30s);
  REQUIRE(admin.ListTopics().ok());
  const absl::Status created =
      admin.CreateTopic("t", 1, {{"retention.ms", std::string(2u << 20, '1')}}).status();
  INFO(created);
  CHECK(absl::IsInvalidArgument(created));
  CHECK(admin.ListTopics().ok());
  CHECK(connections == 1);
}

TEST_CASE("Admin: who owns a partition is right though members left between two pages",
          "[client][admin][group]") {
  const MemberId first = NewMemberId(), second = NewMemberId(), third = NewMemberId();
  MemberId last_seen = kNoMember;
  FakeBroker broker([&](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    // A partition a page: the first page's is the second member's. That one leaves, and another one
    // comes that was on no page.
    std::vector<MemberId> members{first, second};
    std::vector<MemberId> holders{second};
    while (const wire::Message* message = peer.Receive()) {
      const wire::DescribeGroup* describe = message->body_as_DescribeGroup();
      if (describe == nullptr) return;
      const auto page = static_cast<std::int32_t>(describe->partitions_after());
      auto& builder = peer.builder;
      std::vector<flatbuffers::Offset<wire::GroupMember>> rows;
      for (const MemberId& id : members) {
        const wire::Uuid uuid = ToWire(id);
        rows.push_back(wire::CreateGroupMember(builder, &uuid));
      }
      const auto row_vector = builder.CreateVector(rows);
      std::vector<wire::Uuid> holder_rows;
      for (const MemberId& id : holders) holder_rows.push_back(ToWire(id));
      const auto holder_vector = builder.CreateVectorOfStructs(holder_rows);
      const std::vector<wire::GroupPartition> partitions{
          wire::GroupPartition(ToWire(NewTopicId()), page, -1, 0, page, 1, 0, 0, 0, 0, -1, 0)};
      const auto partition_vector = builder.CreateVectorOfStructs(partitions);
      wire::GroupDescriptionBuilder reply(builder);
      reply.add_members(row_vector);
      reply.add_partitions(partition_vector);
      reply.add_partitions_total(2);
      reply.add_members_more(page == 0);
      reply.add_holders(holder_vector);
      if (page == 1) {
        last_seen = describe->members_after() == nullptr
                        ? kNoMember
                        : MemberFromWire(*describe->members_after());
      }
      peer.Reply(message->correlation(), reply.Finish());
      members = {third};
      holders = {third, NewMemberId()};
    }
  });
  const auto group = Admin(ClusterOf(broker), 30s).DescribeGroup("g");
  INFO(group.status());
  REQUIRE(group.ok());
  REQUIRE(group->partitions.size() == 2);
  REQUIRE(group->members.size() == 3);
  CHECK(last_seen == second);
  REQUIRE(group->partitions[0].owner.has_value());
  CHECK(group->members[*group->partitions[0].owner].id == second);
  CHECK(group->members[group->partitions[1].owner.value()].id == third);
  CHECK_FALSE(group->partitions[1].target.has_value());
}

}  // namespace cairn::client
