#include "broker/groups/assignor.h"

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

namespace cairn::broker {
namespace {

TopicId Topic(int number) {
  TopicId id;
  id.bytes[0] = static_cast<std::uint8_t>(number >> 8);
  id.bytes[1] = static_cast<std::uint8_t>(number);
  return id;
}

std::vector<AssignedTopic> Topics(std::vector<std::int32_t> partitions) {
  std::vector<AssignedTopic> topics;
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    topics.push_back({Topic(static_cast<int>(i)), partitions[i]});
  }
  return topics;
}

std::vector<AssignedMember> AllReadAll(std::size_t members,
                                       const std::vector<AssignedTopic>& topics) {
  AssignedMember member;
  for (const AssignedTopic& topic : topics) member.topics.push_back(topic.id);
  return std::vector<AssignedMember>(members, member);
}

bool Reads(const AssignedMember& member, const TopicId& topic) {
  return std::find(member.topics.begin(), member.topics.end(), topic) != member.topics.end();
}

std::vector<int> Loads(std::size_t members, const Assignment& assignment) {
  std::vector<int> loads(members, 0);
  for (const auto& [partition, member] : assignment) {
    if (member != kNobody) ++loads[static_cast<std::size_t>(member)];
  }
  return loads;
}

int Moves(const Assignment& before, const Assignment& after) {
  int moves = 0;
  for (const auto& [partition, member] : before) {
    const auto now = after.find(partition);
    if (now != after.end() && now->second != member) ++moves;
  }
  return moves;
}

// Every partition of every topic is with exactly one of its readers.
void CheckComplete(const std::vector<AssignedMember>& members,
                   const std::vector<AssignedTopic>& topics, const Assignment& assignment) {
  std::size_t partitions = 0;
  for (const AssignedTopic& topic : topics) {
    partitions += static_cast<std::size_t>(topic.partitions);
    const bool has_readers = std::any_of(members.begin(), members.end(), [&](const auto& member) {
      return Reads(member, topic.id);
    });
    for (std::int32_t i = 0; i < topic.partitions; ++i) {
      const auto found = assignment.find({topic.id, PartitionIndex(i)});
      REQUIRE(found != assignment.end());
      if (!has_readers) {
        CHECK(found->second == kNobody);
        continue;
      }
      REQUIRE(found->second >= 0);
      REQUIRE(static_cast<std::size_t>(found->second) < members.size());
      CHECK(Reads(members[static_cast<std::size_t>(found->second)], topic.id));
    }
  }
  CHECK(assignment.size() == partitions);
}

// No member has two more than another one that reads a topic of which it has a partition.
void CheckBalanced(const std::vector<AssignedMember>& members, const Assignment& assignment) {
  const std::vector<int> loads = Loads(members.size(), assignment);
  for (const auto& [partition, member] : assignment) {
    if (member == kNobody) continue;
    for (std::size_t other = 0; other < members.size(); ++other) {
      if (!Reads(members[other], partition.topic)) continue;
      CHECK(loads[static_cast<std::size_t>(member)] - loads[other] < 2);
    }
  }
}

// The least number of moves that an even share takes where all read all.
int LeastMoves(std::size_t members, const Assignment& before, int partitions) {
  std::vector<int> kept = Loads(members, before);
  std::sort(kept.rbegin(), kept.rend());
  const int count = static_cast<int>(members);
  int moves = 0;
  for (int i = 0; i < count; ++i) {
    const int share = partitions / count + (i < partitions % count ? 1 : 0);
    moves += std::max(0, kept[static_cast<std::size_t>(i)] - share);
  }
  return moves;
}

TEST_CASE("Assignors: a group of one has everything, a group of none nothing", "[groups]") {
  const auto topics = Topics({3, 2});
  for (const Assignor assignor : {Assignor::kStickyUniform, Assignor::kRange}) {
    const auto one = AllReadAll(1, topics);
    CheckComplete(one, topics, Assign(assignor, one, topics, {}));
    const std::vector<AssignedMember> none;
    CheckComplete(none, topics, Assign(assignor, none, topics, {}));
  }
}

TEST_CASE("Assignors: range gives neighbours, as Kafka's does", "[groups]") {
  const auto topics = Topics({7});
  const auto members = AllReadAll(3, topics);
  const Assignment assignment = Assign(Assignor::kRange, members, topics, {});
  std::vector<MemberIndex> got;
  for (const auto& [partition, member] : assignment) got.push_back(member);
  CHECK(got == std::vector<MemberIndex>{0, 0, 0, 1, 1, 2, 2});
}

TEST_CASE("Assignors: sticky moves as little as can be when members come and go", "[groups]") {
  const unsigned seed = 20261128;
  std::mt19937 random(seed);
  INFO("seed " << seed);
  for (int round = 0; round < 300; ++round) {
    const auto topics = Topics({static_cast<std::int32_t>(1 + random() % 20),
                                static_cast<std::int32_t>(1 + random() % 20)});
    const int partitions = topics[0].partitions + topics[1].partitions;
    std::size_t count = 1 + random() % 8;
    Assignment before;
    for (int step = 0; step < 6; ++step) {
      const auto members = AllReadAll(count, topics);
      const Assignment after = Assign(Assignor::kStickyUniform, members, topics, before);
      CheckComplete(members, topics, after);
      CheckBalanced(members, after);
      CHECK(Moves(before, after) == LeastMoves(count, before, partitions));
      // The same question has the same answer, and nothing moves without a reason.
      CHECK(Assign(Assignor::kStickyUniform, members, topics, before) == after);
      CHECK(Assign(Assignor::kStickyUniform, members, topics, after) == after);
      before = after;
      if (random() % 2 == 0 || count == 1) {
        ++count;
        continue;
      }
      // The last one leaves: what it had is free.
      --count;
      std::erase_if(before,
                    [&](const auto& row) { return row.second == static_cast<MemberIndex>(count); });
    }
  }
}

TEST_CASE("Assignors: members that read different topics are as even as can be", "[groups]") {
  const unsigned seed = 4711;
  std::mt19937 random(seed);
  INFO("seed " << seed);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::int32_t> sizes(1 + random() % 6);
    for (std::int32_t& size : sizes) size = static_cast<std::int32_t>(random() % 12);
    const auto topics = Topics(sizes);
    std::vector<AssignedMember> members(1 + random() % 7);
    for (AssignedMember& member : members) {
      for (const AssignedTopic& topic : topics) {
        if (random() % 2 == 0) member.topics.push_back(topic.id);
      }
    }
    Assignment before;
    for (int i = 0; i < 30; ++i) {
      before[{topics[random() % topics.size()].id,
              PartitionIndex(static_cast<int>(random() % 14))}] =
          static_cast<MemberIndex>(random() % 9) - 1;
    }
    for (const Assignor assignor : {Assignor::kStickyUniform, Assignor::kRange}) {
      const Assignment after = Assign(assignor, members, topics, before);
      CheckComplete(members, topics, after);
      if (assignor != Assignor::kStickyUniform) continue;
      CheckBalanced(members, after);
      CHECK(Assign(assignor, members, topics, after) == after);
    }
  }
}

TEST_CASE("Assignors: load flows through members that lie between", "[groups]") {
  // The first reads a, the second a and b, the third b only.
  const auto topics = Topics({6, 1});
  const std::vector<AssignedMember> members = {{{Topic(0)}}, {{Topic(0), Topic(1)}}, {{Topic(1)}}};
  Assignment before;
  before[{Topic(1), PartitionIndex(0)}] = 1;
  const Assignment after = Assign(Assignor::kStickyUniform, members, topics, before);
  CheckBalanced(members, after);
  CHECK(Loads(3, after) == std::vector<int>{3, 3, 1});
}

TEST_CASE("Assignors: ten thousand partitions over five hundred members", "[groups]") {
  const auto topics = Topics({10'000});
  Assignment held = Assign(Assignor::kStickyUniform, AllReadAll(499, topics), topics, {});
  const auto members = AllReadAll(500, topics);
  const Assignment after = Assign(Assignor::kStickyUniform, members, topics, held);
  CheckComplete(members, topics, after);
  CHECK(Moves(held, after) == 20);
}

}  // namespace
}  // namespace cairn::broker
