// The rules of a group, and that replaying its records gives the same group.

#include "broker/groups/group_draft.h"

#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "broker/groups/group_table.h"

namespace cairn::broker {
namespace {

constexpr Timestamp kNow{1'700'000'000'000};

TopicId Topic(int number) {
  TopicId id;
  id.bytes[15] = static_cast<std::uint8_t>(number);
  return id;
}
MemberId Member(int number) {
  MemberId id;
  id.bytes[0] = 1;
  id.bytes[15] = static_cast<std::uint8_t>(number);
  return id;
}
TopicPartition At(int topic, int partition) { return {Topic(topic), PartitionIndex(partition)}; }

GroupMember Reads(std::vector<std::string> topics, std::string instance = "") {
  GroupMember member;
  member.instance_id = std::move(instance);
  member.client_id = "client";
  member.host = "127.0.0.1";
  member.topics = std::move(topics);
  member.session_timeout_ms = 10'000;
  return member;
}

const GroupTopics kTopics = {{"a", {Topic(1), 4}}, {"b", {Topic(2), 2}}};

// A group whose changes are written down and replayed, as a shard does it.
class Written {
 public:
  template <typename Change>
  void Do(Change change) {
    GroupDraft draft("g", table_.Find("g"));
    change(draft);
    for (const StateRecord& record : draft.records()) {
      const absl::Status applied =
          table_.Apply(record.key, record.value.has_value() ? std::optional<ByteView>(*record.value)
                                                            : std::nullopt);
      INFO(applied);
      REQUIRE(applied.ok());
      log_.push_back(record);
    }
    // What was decided is what came of it.
    REQUIRE(group() == draft.group());
  }
  Group group() const {
    const Group* found = table_.Find("g");
    return found == nullptr ? Group() : *found;
  }
  bool exists() const { return table_.Find("g") != nullptr; }
  const GroupTable& table() const { return table_; }
  const std::vector<StateRecord>& log() const { return log_; }

  void Join(int member, GroupMember row) {
    Do([&](GroupDraft& draft) {
      draft.Join(Member(member), std::move(row), Assignor::kStickyUniform);
      draft.Rebalance(kTopics);
      draft.GiveOut({});
    });
  }
  void Leave(int member) {
    Do([&](GroupDraft& draft) {
      draft.Leave(Member(member));
      draft.Rebalance(kTopics);
      draft.GiveOut({});
    });
  }
  // A member lets go of everything that another one is to have.
  void ReleaseWanted(int member) {
    std::vector<HeldPartition> wanted;
    for (const auto& [partition, holding] : group().holdings) {
      if (holding.owner == Member(member) && holding.target != holding.owner) {
        wanted.push_back({partition, holding.epoch});
      }
    }
    Do([&](GroupDraft& draft) {
      draft.Release(Member(member), wanted);
      draft.GiveOut({});
    });
  }
  std::size_t HeldBy(int member) const {
    std::size_t count = 0;
    for (const auto& [partition, holding] : group().holdings) {
      count += holding.owner == Member(member) ? 1 : 0;
    }
    return count;
  }

 private:
  GroupTable table_;
  std::vector<StateRecord> log_;
};

GroupTable Replay(const std::vector<StateRecord>& log) {
  GroupTable table;
  for (const StateRecord& record : log) {
    const auto value =
        record.value.has_value() ? std::optional<ByteView>(*record.value) : std::nullopt;
    REQUIRE(table.Apply(record.key, value).ok());
  }
  return table;
}

// What compaction leaves of a log: of each key the last record.
std::vector<StateRecord> Compacted(const std::vector<StateRecord>& log) {
  std::vector<StateRecord> left;
  for (std::size_t i = 0; i < log.size(); ++i) {
    bool is_last = true;
    for (std::size_t j = i + 1; j < log.size() && is_last; ++j) is_last = log[j].key != log[i].key;
    if (is_last) left.push_back(log[i]);
  }
  return left;
}

TEST_CASE("Groups: a partition goes to another member only once its owner lets go", "[groups]") {
  Written group;
  group.Join(1, Reads({"a"}));
  CHECK(group.HeldBy(1) == 4);
  const std::int64_t epoch = group.group().epoch;
  group.Join(2, Reads({"a"}));
  CHECK(group.HeldBy(1) == 4);
  CHECK(group.HeldBy(2) == 0);
  group.ReleaseWanted(1);
  CHECK(group.HeldBy(1) == 2);
  CHECK(group.HeldBy(2) == 2);
  // What stayed has its epoch still.
  for (const auto& [partition, holding] : group.group().holdings) {
    if (holding.owner == Member(1)) CHECK(holding.epoch == epoch);
    if (holding.owner == Member(2)) CHECK(holding.epoch > epoch);
  }
  group.Leave(1);
  CHECK(group.HeldBy(2) == 4);
}

TEST_CASE("Groups: a release under an old epoch or by another member counts for nothing",
          "[groups]") {
  Written group;
  group.Join(1, Reads({"a"}));
  const Group before = group.group();
  group.Do([&](GroupDraft& draft) {
    draft.Release(Member(2), std::vector<HeldPartition>{{At(1, 0), before.epoch}});
    draft.Release(Member(1), std::vector<HeldPartition>{{At(1, 0), before.epoch - 1}});
    draft.Release(Member(1), std::vector<HeldPartition>{{At(9, 0), before.epoch}});
  });
  CHECK(group.group() == before);
}

TEST_CASE("Groups: commits count only of who holds the partition, and never go back", "[groups]") {
  Written group;
  group.Join(1, Reads({"a"}));
  const std::int64_t epoch = group.group().epoch;
  const auto check = [&](int member, const OffsetCommit& commit) {
    return GroupDraft::CheckCommit(group.group(), Member(member), commit);
  };
  OffsetCommit commit{At(1, 0), epoch, Offset(10), LeaderEpoch(1), "where I was", 2};
  CHECK(check(1, commit) == ErrorCode::kOk);
  CHECK(check(2, commit) == ErrorCode::kUnknownMember);
  CHECK(GroupDraft::CheckCommit(group.group(), kNoMember, commit) == ErrorCode::kGroupNotEmpty);
  group.Do([&](GroupDraft& draft) { draft.Commit(commit, kNow); });
  CHECK(group.group().offsets.at(At(1, 0)) ==
        CommittedOffset{Offset(10), LeaderEpoch(1), kNow, "where I was", 2});
  commit.epoch = epoch - 1;
  CHECK(check(1, commit) == ErrorCode::kStaleAssignment);
  commit.epoch = epoch;
  commit.partition = At(2, 0);
  CHECK(check(1, commit) == ErrorCode::kStaleAssignment);
  commit.partition = At(1, 0);
  CHECK(check(1, commit) == ErrorCode::kOk);  // again
  commit.offset = Offset(9);
  CHECK(check(1, commit) == ErrorCode::kCommitBehind);
  commit.leader_epoch = LeaderEpoch(2);  // after a power cut
  CHECK(check(1, commit) == ErrorCode::kOk);
  group.Leave(1);
  commit.leader_epoch = LeaderEpoch(1);
  commit.offset = Offset(11);
  CHECK(GroupDraft::CheckCommit(group.group(), kNoMember, commit) == ErrorCode::kOk);
}

TEST_CASE("Groups: trimmed records are counted once, though their commit is sent again",
          "[groups]") {
  Written group;
  group.Join(1, Reads({"a"}));
  OffsetCommit commit{At(1, 0), group.group().epoch, Offset(2), LeaderEpoch(1), "", 0};
  const auto trimmed_after = [&] {
    group.Do([&](GroupDraft& draft) { draft.Commit(commit, kNow); });
    return group.group().offsets.at(At(1, 0)).trimmed;
  };
  CHECK(trimmed_after() == 0);
  commit.offset = Offset(10);
  commit.trimmed = 4;  // 2 to 6
  CHECK(trimmed_after() == 4);
  CHECK(trimmed_after() == 4);  // its answer was lost
  commit.offset = Offset(13);
  CHECK(trimmed_after() == 7);  // 10 to 13 at the most
}

TEST_CASE("Groups: counts of trimmed records that a peer made up ran over", "[groups]") {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  Written group;
  OffsetCommit commit{At(1, 0), 0, Offset(7), LeaderEpoch(1), "", kMost};
  const auto trimmed_after = [&] {
    group.Do([&](GroupDraft& draft) { draft.Commit(commit, kNow); });
    return group.group().offsets.at(At(1, 0)).trimmed;
  };
  CHECK(trimmed_after() == 7);
  commit.offset = Offset(kMost);
  CHECK(trimmed_after() == kMost);
  group.Do([&](GroupDraft& draft) {
    std::vector<OffsetChange> back{{At(1, 0), kNoOffset, kNoEpoch, Offset(0)}};
    draft.Reset(back, "", 0, kNow);
  });
  CHECK(trimmed_after() == kMost);
}

TEST_CASE("Groups: an instance that comes again takes over at once, and the older is fenced",
          "[groups]") {
  Written group;
  group.Join(1, Reads({"a"}, "one"));
  group.Join(2, Reads({"a"}, "two"));
  group.ReleaseWanted(1);
  const Group before = group.group();
  GroupDraft::Joined joined;
  group.Do([&](GroupDraft& draft) {
    joined = draft.Join(Member(3), Reads({"a"}, "one"), Assignor::kStickyUniform);
    draft.Rebalance(kTopics);
    draft.GiveOut({});
  });
  CHECK(joined.is_new);
  CHECK(joined.fenced == Member(1));
  CHECK(group.HeldBy(3) == 2);
  CHECK(group.HeldBy(2) == 2);
  for (const auto& [partition, holding] : group.group().holdings) {
    const Holding& held = before.holdings.at(partition);
    if (held.owner == Member(1)) CHECK(holding.epoch > held.epoch);
    if (held.owner == Member(2)) CHECK(holding == held);
  }
}

TEST_CASE("Groups: a member that joins again as it was changes nothing", "[groups]") {
  Written group;
  group.Join(1, Reads({"a"}));
  group.Join(2, Reads({"a", "b"}));
  const std::size_t records = group.log().size();
  group.Join(1, Reads({"a"}));
  CHECK(group.log().size() == records);
  group.Join(1, Reads({"b"}));
  CHECK(group.log().size() > records);
}

TEST_CASE("Groups: a reset moves all offsets, keeps what it replaced, and can be taken back",
          "[groups]") {
  Written group;
  group.Join(1, Reads({"a"}));
  const std::int64_t epoch = group.group().epoch;
  group.Do([&](GroupDraft& draft) {
    draft.Commit({At(1, 0), epoch, Offset(10), LeaderEpoch(3), "", 5}, kNow);
  });
  std::vector<OffsetChange> changes(2);
  changes[0].partition = At(1, 0);
  changes[0].new_offset = Offset(2);
  changes[1].partition = At(1, 1);
  changes[1].new_offset = Offset(7);
  std::int64_t number = 0;
  group.Do([&](GroupDraft& draft) { number = draft.Reset(changes, "--to-offset", 0, kNow); });
  CHECK(number == 1);
  CHECK(changes[0].old_offset == Offset(10));
  CHECK(changes[0].old_leader_epoch == LeaderEpoch(3));
  CHECK(changes[1].old_offset == kNoOffset);
  CHECK(group.group().offsets.at(At(1, 0)).offset == Offset(2));
  CHECK(group.group().offsets.at(At(1, 0)).trimmed == 5);
  CHECK(group.group().offsets.at(At(1, 1)).offset == Offset(7));
  // Whoever held them holds them under a new epoch, so commits of before are refused.
  CHECK(group.group().holdings.at(At(1, 0)).epoch > epoch);
  CHECK(group.group().holdings.at(At(1, 2)).epoch == epoch);
  CHECK(
      GroupDraft::CheckCommit(group.group(), Member(1), {At(1, 0), epoch, Offset(11), {}, "", 0}) ==
      ErrorCode::kStaleAssignment);

  std::vector<OffsetChange> undo(2);
  undo[0].partition = At(1, 0);
  undo[0].new_offset = changes[0].old_offset;
  undo[1].partition = At(1, 1);
  undo[1].new_offset = changes[1].old_offset;
  group.Do([&](GroupDraft& draft) { draft.Reset(undo, "--undo", number, kNow); });
  CHECK(group.group().offsets.at(At(1, 0)).offset == Offset(10));
  CHECK_FALSE(group.group().offsets.contains(At(1, 1)));
  CHECK(group.group().resets.at(1).undone_by == 2);
  CHECK(group.group().resets.at(2).undoes == 1);
}

TEST_CASE("Groups: resets that changed nothing pushed others out of the history", "[groups]") {
  Written group;
  std::vector<OffsetChange> changes(1);
  changes[0].partition = At(1, 0);
  std::int64_t number = -1;
  const auto reset = [&](Offset to, std::int64_t undoes) {
    changes[0].new_offset = to;
    group.Do([&](GroupDraft& draft) { number = draft.Reset(changes, "--to", undoes, kNow); });
  };
  reset(kNoOffset, 0);
  CHECK(number == 0);
  CHECK_FALSE(group.exists());  // it did not come into being for that
  reset(Offset(5), 0);
  CHECK(number == 1);
  reset(Offset(5), 0);
  CHECK(number == 0);
  CHECK(group.group().resets.size() == 1);
  // What takes one back is kept all the same: so it is known that this was done.
  reset(Offset(5), 1);
  CHECK(number == 2);
  CHECK(group.group().resets.at(1).undone_by == 2);
}

TEST_CASE("Groups: only the last resets are remembered", "[groups]") {
  Written group;
  for (int i = 0; i < 15; ++i) {
    std::vector<OffsetChange> changes(1);
    changes[0].partition = At(1, 0);
    changes[0].new_offset = Offset(i);
    group.Do([&](GroupDraft& draft) { draft.Reset(changes, "again", 0, kNow); });
  }
  CHECK(group.group().resets.size() == kResetsKept);
  CHECK(group.group().resets.rbegin()->first == 15);
}

TEST_CASE("Groups: with the last member a group goes that remembers nothing, and no other",
          "[groups]") {
  Written group;
  group.Join(1, Reads({"a"}));
  group.Leave(1);
  CHECK_FALSE(group.exists());
  group.Join(1, Reads({"a"}));
  const std::int64_t epoch = group.group().epoch;
  group.Do([&](GroupDraft& draft) { draft.Commit({At(1, 0), epoch, Offset(1), {}, "", 0}, kNow); });
  group.Leave(1);
  CHECK(group.exists());
  CHECK(group.group().holdings.empty());
  group.Do([](GroupDraft& draft) { draft.Delete(); });
  CHECK_FALSE(group.exists());
}

TEST_CASE("Groups: with a topic its offsets go, and its partitions", "[groups]") {
  Written group;
  group.Join(1, Reads({"*"}));
  const std::int64_t epoch = group.group().epoch;
  CHECK(group.HeldBy(1) == 6);
  group.Do([&](GroupDraft& draft) {
    draft.Commit({At(1, 0), epoch, Offset(1), {}, "", 0}, kNow);
    draft.Commit({At(2, 0), epoch, Offset(1), {}, "", 0}, kNow);
  });
  group.Do([](GroupDraft& draft) {
    draft.ForgetTopics({Topic(1)});
    draft.Rebalance({{"a", {Topic(1), 4}}});
  });
  CHECK(group.HeldBy(1) == 4);
  CHECK(group.group().offsets.size() == 1);
}

TEST_CASE("Groups: whatever happens, replay gives the same, compacted or not", "[groups]") {
  const unsigned seed = GENERATE(1u, 2u, 3u, 20261128u);
  std::mt19937 random(seed);
  INFO("seed " << seed);
  Written group;
  std::int64_t committed_max = 0;
  for (int step = 0; step < 400; ++step) {
    const int who = 1 + static_cast<int>(random() % 6);
    switch (random() % 8) {
      case 0:
      case 1: {
        static const std::vector<std::vector<std::string>> kReads = {
            {"a"}, {"b"}, {"*"}, {"a", "b"}, {"none"}};
        group.Join(who,
                   Reads(kReads[random() % kReads.size()], random() % 3 == 0 ? "instance" : ""));
        break;
      }
      case 2:
        group.Leave(who);
        break;
      case 3:
      case 4:
        group.ReleaseWanted(who);
        break;
      case 5:
      case 6: {
        const TopicPartition at = random() % 2 == 0 ? At(1, static_cast<int>(random() % 4))
                                                    : At(2, static_cast<int>(random() % 2));
        const Group now = group.group();
        const auto holding = now.holdings.find(at);
        OffsetCommit commit{at, 0, Offset(static_cast<int>(random() % 1000)), {}, "", 0};
        if (holding != now.holdings.end()) commit.epoch = holding->second.epoch;
        // Of the holder mostly; of others it does not count.
        MemberId member = Member(who);
        if (holding != now.holdings.end() && random() % 4 > 0) {
          member = holding->second.owner;
        }
        if (member == kNoMember) break;
        if (GroupDraft::CheckCommit(group.group(), member, commit) != ErrorCode::kOk) break;
        committed_max = std::max(committed_max, commit.offset.value());
        group.Do([&](GroupDraft& draft) { draft.Commit(commit, kNow); });
        break;
      }
      default: {
        std::vector<OffsetChange> changes(1);
        changes[0].partition = At(1, static_cast<int>(random() % 4));
        changes[0].new_offset = Offset(static_cast<int>(random() % 50) - 1);
        group.Do([&](GroupDraft& draft) { draft.Reset(changes, "random", 0, kNow); });
      }
    }
    // Nobody holds a partition of a topic that it does not read, nor one who is no member.
    for (const auto& [partition, holding] : group.group().holdings) {
      for (const MemberId& member : {holding.owner, holding.target}) {
        if (member != kNoMember) CHECK(group.group().members.contains(member));
      }
    }
  }
  CHECK(committed_max > 0);
  CHECK(Replay(group.log()) == group.table());
  CHECK(Replay(Compacted(group.log())) == group.table());
}

TEST_CASE("Groups: a record that is none is refused, and one of a newer version", "[groups]") {
  GroupTable table;
  const auto apply = [&](std::string key, std::string value) {
    return table.Apply(AsBytes(key), AsBytes(value)).code();
  };
  CHECK(apply("", "") == absl::StatusCode::kDataLoss);
  CHECK(apply(std::string("\1\1g", 3), "nonsense") == absl::StatusCode::kDataLoss);
  CHECK(apply(std::string("\1\5g", 3), "nonsense") == absl::StatusCode::kDataLoss);
  CHECK(apply(std::string("\3\1g", 3), "nonsense") == absl::StatusCode::kDataLoss);
  CHECK(apply(std::string("\77\1g", 3), "") == absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace cairn::broker
