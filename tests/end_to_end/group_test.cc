// Consumer groups from the consumer's side, against a broker.

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "tests/end_to_end/live_broker.h"

namespace cairn::test {
namespace {

using client::Consumer;
using client::ConsumerOptions;
using client::Duration;
using client::GroupPartition;
using client::LostHow;

constexpr Duration kPatience{30'000};

std::set<std::string> Numbers(int from, int to) {
  std::set<std::string> numbers;
  for (int i = from; i < to; ++i) numbers.insert(std::to_string(i));
  return numbers;
}

// Values [from, to) in turn over the partitions of the topic.
void SendNumbers(std::uint16_t port, const std::string& topic, int partitions, int from, int to) {
  auto producer = client::Producer::Open(ClusterAt(port), {});
  REQUIRE(producer.ok());
  for (int i = from; i < to; ++i) {
    const std::string value = std::to_string(i);
    client::ProduceRecord record;
    record.value = value;
    record.partition = PartitionIndex(i % partitions);
    REQUIRE((*producer)->Send(topic, record, {}).ok());
  }
  REQUIRE((*producer)->Flush(kPatience).ok());
}

// A member of group "g" and what it has read.
class Member {
 public:
  explicit Member(std::uint16_t port, std::vector<std::string> topics = {"t"},
                  const std::function<void(client::GroupOptions&)>& change = {})
      : cluster_(ClusterAt(port)) {
    ConsumerOptions options;
    options.group.emplace();
    options.group->group = std::string("g");
    options.group->auto_commit_interval = Duration(20);
    options.group->on_lost = [this](const std::vector<GroupPartition>& partitions, LostHow how) {
      lost.insert(lost.end(), partitions.begin(), partitions.end());
      last_lost = how;
      if (in_on_lost) in_on_lost(partitions);
    };
    if (change) change(*options.group);
    consumer_ = *Consumer::Open(cluster_, options);
    const absl::Status subscribed = consumer_->Subscribe(std::move(topics));
    INFO(subscribed);
    REQUIRE(subscribed.ok());
  }

  Consumer& operator*() { return *consumer_; }
  Consumer* operator->() { return consumer_.get(); }
  // As if it had never been closed.
  void Forget() { consumer_.reset(); }

  void Poll(Duration timeout = Duration(10)) {
    const auto polled = consumer_->Poll(timeout, records_max);
    status = polled.status();
    if (!polled.ok()) return;
    for (const auto& record : polled->records()) values.emplace(*record.value);
    for (const auto& event : polled->events()) events.push_back(event);
  }
  std::size_t held() const { return consumer_->assignment().size(); }

  std::multiset<std::string> values;
  std::vector<client::ConsumerEvent> events;
  std::vector<GroupPartition> lost;
  std::optional<LostHow> last_lost;
  std::function<void(const std::vector<GroupPartition>&)> in_on_lost;
  std::size_t records_max = 1000;
  absl::Status status;

 private:
  const std::shared_ptr<client::Cluster> cluster_;
  std::unique_ptr<Consumer> consumer_;
};

// Polls them all until it is so.
template <typename Condition>
void PollUntil(std::vector<Member*> members, Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    REQUIRE(std::chrono::steady_clock::now() < deadline);
    for (Member* member : members) {
      member->Poll();
      INFO(member->status);
      REQUIRE(member->status.ok());
    }
  }
}

std::set<std::string> Distinct(const Member& member) {
  return {member.values.begin(), member.values.end()};
}

// The committed offsets of the group, by partition; −1 without one.
std::vector<std::int64_t> Committed(std::uint16_t port) {
  std::vector<std::int64_t> offsets;
  const auto group = client::Admin(ClusterAt(port)).DescribeGroup("g");
  INFO(group.status());
  REQUIRE(group.ok());
  for (const auto& partition : group->partitions) {
    offsets.push_back(partition.committed.value_or(kNoOffset).value());
  }
  return offsets;
}

}  // namespace

TEST_CASE("Group: two members share a topic, and who is left takes over", "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 4);
  SendNumbers(broker.port(), "t", 4, 0, 100);
  Member first(broker.port());
  PollUntil({&first}, [&] { return first.values.size() == 100; });
  CHECK(first.held() == 4);

  auto second = std::make_unique<Member>(broker.port());
  PollUntil({&first, second.get()}, [&] { return first.held() == 2 && second->held() == 2; });
  CHECK(first.lost.size() == 2);
  CHECK(first.last_lost == LostHow::kInGoodOrder);
  SendNumbers(broker.port(), "t", 4, 100, 200);
  PollUntil({&first, second.get()},
            [&] { return first.values.size() + second->values.size() >= 200; });
  // Nothing twice: what was read before the move had been committed with it.
  CHECK(first.values.size() + second->values.size() == 200);

  const bool in_good_order = GENERATE(true, false);
  if (in_good_order) {
    CHECK((*second)->Close(kPatience).ok());
  } else {
    second->Forget();  // says good-bye, but waits for nothing
  }
  PollUntil({&first}, [&] { return first.held() == 4; });
  SendNumbers(broker.port(), "t", 4, 200, 300);
  PollUntil({&first}, [&] {
    const auto values = Distinct(first);
    const auto wanted = Numbers(200, 300);
    return std::includes(values.begin(), values.end(), wanted.begin(), wanted.end());
  });
}

TEST_CASE("Group: offsets go on where they were, after a close and a restart of the broker",
          "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 2);
  SendNumbers(broker.port(), "t", 2, 0, 50);
  {
    Member member(broker.port());
    PollUntil({&member}, [&] { return member.values.size() == 50; });
    CHECK(member->Commit(kPatience).ok());
    CHECK(member->Close(kPatience).ok());
  }
  broker.Stop();
  broker.Start();
  SendNumbers(broker.port(), "t", 2, 50, 60);
  Member again(broker.port());
  PollUntil({&again}, [&] { return again.values.size() == 10; });
  CHECK(Distinct(again) == Numbers(50, 60));
}

TEST_CASE("Group: a restart of the broker is ridden out by its members", "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 2);
  Member member(broker.port());
  PollUntil({&member}, [&] { return member.held() == 2; });
  broker.Stop();
  broker.Start();
  SendNumbers(broker.port(), "t", 2, 0, 10);
  PollUntil({&member}, [&] { return member.values.size() == 10; });
  CHECK(member.lost.empty());
  CHECK(member->Commit(kPatience).ok());
  CHECK(Committed(broker.port()) == std::vector<std::int64_t>{5, 5});
}

TEST_CASE("Group: commits by hand, sync and async, are seen in the description",
          "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 1);
  SendNumbers(broker.port(), "t", 1, 0, 20);
  Member member(broker.port(), {"t"}, [](auto& options) { options.auto_commit = false; });
  PollUntil({&member}, [&] { return member.values.size() == 20; });
  client::OffsetToCommit commit;
  commit.topic = "t";
  commit.partition = PartitionIndex(0);
  commit.offset = Offset(7);
  commit.metadata = "seven";
  CHECK(member->Commit({commit}, kPatience).ok());
  const auto group = client::Admin(ClusterAt(broker.port())).DescribeGroup("g");
  REQUIRE(group.ok());
  REQUIRE(group->partitions.size() == 1);
  CHECK(group->partitions[0].topic == "t");
  CHECK(group->partitions[0].committed == Offset(7));
  CHECK(group->partitions[0].metadata == "seven");
  CHECK(group->partitions[0].log_end == Offset(20));
  REQUIRE(group->members.size() == 1);
  CHECK(group->partitions[0].owner == std::size_t{0});

  commit.offset = Offset(3);
  CHECK(CodeOf(member->Commit({commit}, kPatience)) == ErrorCode::kCommitBehind);
  std::optional<absl::Status> done;
  REQUIRE(
      member->CommitAsync([&](const absl::Status& status, const auto&) { done = status; }).ok());
  PollUntil({&member}, [&] { return done.has_value(); });
  CHECK(done->ok());
  CHECK(Committed(broker.port()) == std::vector<std::int64_t>{20});
}

TEST_CASE("Group: a commit in on_lost counts", "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 2);
  SendNumbers(broker.port(), "t", 2, 0, 20);
  Member first(broker.port(), {"t"}, [](auto& options) { options.auto_commit = false; });
  PollUntil({&first}, [&] { return first.values.size() == 20; });
  first.in_on_lost = [&](const auto&) { CHECK(first->Commit(kPatience).ok()); };
  Member second(broker.port());
  PollUntil({&first, &second}, [&] { return first.held() == 1 && second.held() == 1; });
  CHECK(first.lost.size() == 1);
  SendNumbers(broker.port(), "t", 2, 20, 30);
  PollUntil({&first, &second}, [&] { return first.values.size() + second.values.size() >= 30; });
  CHECK(first.values.size() + second.values.size() == 30);
}

TEST_CASE("Group: a pattern takes in topics and partitions that appear later",
          "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "orders-a", 1);
  CreateTopic(broker.port(), "other", 1);
  Member member(broker.port(), {"orders-*"});
  PollUntil({&member}, [&] { return member.held() == 1; });
  CreateTopic(broker.port(), "orders-b", 2);
  PollUntil({&member}, [&] { return member.held() == 3; });
  client::Admin admin(ClusterAt(broker.port()));
  REQUIRE(admin.AlterTopic("orders-a", {}, 2, true).ok());
  PollUntil({&member}, [&] { return member.held() == 4; });
  SendNumbers(broker.port(), "orders-a", 2, 0, 10);
  SendNumbers(broker.port(), "orders-b", 2, 10, 20);
  PollUntil({&member}, [&] { return member.values.size() == 20; });
  REQUIRE(admin.DeleteTopic("orders-a").ok());
  PollUntil({&member}, [&] { return member.held() == 2; });
  // Other topics, by the same member.
  REQUIRE(member->Subscribe({"other"}).ok());
  PollUntil({&member}, [&] { return member.held() == 1; });
  CHECK(member->assignment()[0].topic == "other");
}

TEST_CASE("Group: a member seeks, pauses and resumes what it holds", "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 2);
  SendNumbers(broker.port(), "t", 2, 0, 20);
  Member member(broker.port());
  PollUntil({&member}, [&] { return member.values.size() == 20; });
  REQUIRE(member->Seek("t", PartitionIndex(0), client::StartPosition::At(Offset(8))).ok());
  PollUntil({&member}, [&] { return member.values.size() == 22; });
  CHECK(member.values.count("16") == 2);
  CHECK(member.values.count("18") == 2);
  REQUIRE(member->Pause("t", PartitionIndex(1)).ok());
  SendNumbers(broker.port(), "t", 2, 20, 30);
  PollUntil({&member}, [&] { return member.values.size() == 27; });
  CHECK(member.values.count("21") == 0);
  REQUIRE(member->Resume("t", PartitionIndex(1)).ok());
  PollUntil({&member}, [&] { return member.values.size() == 32; });
}

TEST_CASE("Group: of two with the same instance id the older one is fenced",
          "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 2);
  const auto is_one = [](client::GroupOptions& options) { options.instance_id = "one"; };
  Member older(broker.port(), {"t"}, is_one);
  PollUntil({&older}, [&] { return older.held() == 2; });
  Member newer(broker.port(), {"t"}, is_one);
  PollUntil({&newer}, [&] { return newer.held() == 2; });
  while (older.status.ok()) older.Poll();
  CHECK(CodeOf(older.status) == ErrorCode::kFencedInstance);
  CHECK(older.last_lost == LostHow::kTakenAway);
}

TEST_CASE("Group: a static member that comes back goes on with what it held",
          "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 2);
  SendNumbers(broker.port(), "t", 2, 0, 10);
  const auto is_one = [](client::GroupOptions& options) { options.instance_id = "one"; };
  Member other(broker.port());
  PollUntil({&other}, [&] { return other.held() == 2; });
  Member before(broker.port(), {"t"}, is_one);
  PollUntil({&other, &before}, [&] { return other.held() == 1 && before.held() == 1; });
  const auto held = before->assignment();
  CHECK(before->Close(kPatience).ok());
  Member after(broker.port(), {"t"}, is_one);
  PollUntil({&other, &after}, [&] { return after.held() == 1; });
  CHECK(after->assignment() == held);
  CHECK(other.lost.size() == 1);
}

TEST_CASE("Group: a reset of a running group moves it, and can be looked up and taken back",
          "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 1);
  SendNumbers(broker.port(), "t", 1, 0, 10);
  Member member(broker.port());
  PollUntil({&member}, [&] { return member.values.size() == 10; });
  REQUIRE(member->Commit(kPatience).ok());

  client::Admin admin(ClusterAt(broker.port()));
  const auto group = admin.DescribeGroup("g");
  REQUIRE(group.ok());
  client::GroupResetRequest request;
  request.group = "g";
  request.what = "--to-offset 4";
  request.changes.push_back({.topic = group->partitions[0].topic_id,
                             .partition = PartitionIndex(0),
                             .old_offset = std::nullopt,
                             .new_offset = Offset(4)});
  std::optional<absl::StatusOr<client::GroupReset>> reset;
  std::atomic<bool> done = false;
  std::thread resetting([&] {
    reset = admin.ResetOffsets(request);
    done = true;
  });
  while (!done) member.Poll();
  resetting.join();
  INFO(reset->status());
  REQUIRE(reset->ok());
  CHECK((*reset)->changes[0].old_offset == Offset(10));
  PollUntil({&member}, [&] { return member.values.count("9") == 2; });
  CHECK(member.values.count("3") == 1);
  CHECK(member.values.count("4") == 2);
  const auto described = admin.DescribeReset("g", 0);
  REQUIRE(described.ok());
  CHECK(described->summary.number == (*reset)->number);
  CHECK(described->summary.what == "--to-offset 4");
}

TEST_CASE("Group: groups are listed, and deleted once they have no members",
          "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 1);
  SendNumbers(broker.port(), "t", 1, 0, 10);
  client::Admin admin(ClusterAt(broker.port()));
  CHECK(absl::IsNotFound(admin.DescribeGroup("g").status()));
  Member member(broker.port());
  PollUntil({&member}, [&] { return member.values.size() == 10; });
  CHECK(member->Commit(kPatience).ok());
  auto groups = admin.ListGroups();
  REQUIRE(groups.ok());
  REQUIRE(groups->size() == 1);
  CHECK((*groups)[0].group == "g");
  CHECK((*groups)[0].members == 1);
  CHECK((*groups)[0].total_lag == 0);
  CHECK(CodeOf(admin.DeleteGroup("g")) == ErrorCode::kGroupNotEmpty);
  CHECK(member->Close(kPatience).ok());
  CHECK(admin.DescribeGroup("g")->state == client::GroupState::kEmpty);
  CHECK(admin.DeleteGroup("g").ok());
  CHECK(absl::IsNotFound(admin.DeleteGroup("g")));
}

TEST_CASE("Group: an application that is stuck is bounded by max_processing, and comes back",
          "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 2);
  Member stuck(broker.port(), {"t"}, [](auto& options) { options.max_processing = Duration(200); });
  Member other(broker.port());
  PollUntil({&stuck, &other}, [&] { return stuck.held() == 1 && other.held() == 1; });
  SendNumbers(broker.port(), "t", 2, 0, 10);
  PollUntil({&stuck}, [&] { return stuck.values.size() == 5; });
  // It polls no more: what it had not finished is the other one's, long before its session is over.
  PollUntil({&other}, [&] { return other.held() == 2 && Distinct(other) == Numbers(0, 10); });
  PollUntil({&stuck, &other}, [&] { return stuck.held() == 1 && other.held() == 1; });
  CHECK(stuck.last_lost == LostHow::kTakenAway);
  SendNumbers(broker.port(), "t", 2, 10, 20);
  PollUntil({&stuck, &other}, [&] { return stuck.values.size() + other.values.size() == 25; });
}

TEST_CASE("Group: five hundred members share a topic, and half of them take it over",
          "[end_to_end][group]") {
  constexpr std::size_t kMembers = 500 / kVolumeDivisor;
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 2 * kMembers);
  const auto cluster = ClusterAt(broker.port());
  std::vector<std::unique_ptr<Consumer>> members;
  const auto poll_until_each_holds = [&](std::size_t partitions) {
    const auto deadline = std::chrono::steady_clock::now() + 2 * kPatience;
    const auto holds = [&](const auto& member) {
      return member->assignment().size() == partitions;
    };
    while (!std::all_of(members.begin(), members.end(), holds)) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      for (const auto& member : members) {
        const auto polled = member->Poll(Duration(0));
        INFO(polled.status());
        REQUIRE(polled.ok());
      }
    }
  };
  for (std::size_t i = 0; i < kMembers; ++i) {
    ConsumerOptions options;
    options.prefetch_bytes = 4096;
    options.group.emplace();
    options.group->group = std::string("g");
    members.push_back(*Consumer::Open(cluster, options));
    REQUIRE(members.back()->Subscribe({"t"}).ok());
  }
  poll_until_each_holds(2);
  while (members.size() > kMembers / 2) {
    REQUIRE(members.back()->Close(kPatience).ok());
    members.pop_back();
  }
  poll_until_each_holds(4);
  const auto group = client::Admin(cluster).DescribeGroup("g");
  REQUIRE(group.ok());
  CHECK(group->state == client::GroupState::kStable);
  CHECK(group->members.size() == kMembers / 2);
  std::map<std::size_t, int> held;
  for (const auto& partition : group->partitions) ++held[partition.owner.value()];
  CHECK(held.size() == kMembers / 2);
  CHECK(std::all_of(held.begin(), held.end(), [](const auto& row) { return row.second == 4; }));
}

TEST_CASE("Group: what retention took before it was read is told, and counted",
          "[end_to_end][group]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "t", 1);
  SendNumbers(broker.port(), "t", 1, 0, 10);
  {
    Member member(broker.port());
    member.records_max = 2;
    PollUntil({&member}, [&] { return member.values.size() == 2; });
    CHECK(member->Commit(kPatience).ok());
    CHECK(member->Close(kPatience).ok());
  }
  client::Admin admin(ClusterAt(broker.port()));
  REQUIRE(*admin.TrimTopic("t", PartitionIndex(0), Offset(6)) == Offset(6));
  Member member(broker.port());
  PollUntil({&member}, [&] { return member.values.size() == 4; });
  REQUIRE(member.events.size() == 1);
  CHECK(member.events[0].kind == client::ConsumerEvent::Kind::kTrimmed);
  CHECK(member.events[0].from == Offset(2));
  CHECK(member.events[0].to == Offset(6));
  CHECK(member->Commit(kPatience).ok());
  CHECK(admin.DescribeGroup("g")->partitions[0].trimmed == 4);
}

}  // namespace cairn::test
