// A consumer in a group, against a broker that does as it is told.

#include <algorithm>
#include <thread>

#include <catch2/catch.hpp>

#include "client/consumer.h"
#include "tests/client/group_broker.h"

namespace cairn::client {

using namespace std::chrono_literals;
using test::GroupBroker;

namespace {

constexpr Duration kPatience = 30s;

struct Told {
  std::vector<std::int32_t> gained, lost;
  std::vector<LostHow> how;
};

struct Fixture {
  explicit Fixture(std::vector<GroupBroker::Part> parts = {{.partition = 0}}) {
    broker.Assign(std::move(parts));
    options.group.emplace();
    options.group->group = std::string("g");
    options.group->auto_commit_interval = 1ms;
    options.group->on_gained = [this](const std::vector<GroupPartition>& gained) {
      for (const auto& each : gained) told.gained.push_back(each.partition.value());
    };
    options.group->on_lost = [this](const std::vector<GroupPartition>& lost, LostHow how) {
      for (const auto& each : lost) told.lost.push_back(each.partition.value());
      told.how.push_back(how);
      if (in_on_lost) in_on_lost();
    };
  }

  void Open() {
    consumer = *Consumer::Open(broker.cluster(), options);
    REQUIRE(consumer->Subscribe({"t"}).ok());
  }
  // The values of the next `count` records, by partition.
  std::map<int, std::vector<std::string>> Read(std::size_t count) {
    std::map<int, std::vector<std::string>> values;
    while (count > 0) {
      const auto polled = consumer->Poll(kPatience, count);
      INFO(polled.status());
      REQUIRE(polled.ok());
      REQUIRE_FALSE(polled->records().empty());
      for (const ConsumedRecord& record : polled->records()) {
        values[record.partition.value()].emplace_back(*record.value);
        --count;
      }
    }
    return values;
  }
  template <typename Condition>
  void PollUntil(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      const auto polled = consumer->Poll(5ms);
      INFO(polled.status());
      REQUIRE(polled.ok());
    }
  }
  absl::Status PollForError() {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto polled = consumer->Poll(100ms);
      if (!polled.ok()) return polled.status();
    }
    return absl::OkStatus();
  }
  OffsetToCommit To(std::int64_t offset, int partition = 0) {
    OffsetToCommit commit;
    commit.topic = "t";
    commit.partition = PartitionIndex(partition);
    commit.offset = Offset(offset);
    return commit;
  }

  Told told;
  std::function<void()> in_on_lost;
  GroupBroker broker;
  ConsumerOptions options;
  std::unique_ptr<Consumer> consumer;
};

// Whether each was asked after the one before it.
bool InOrder(const std::vector<std::string>& asked, const std::vector<std::string>& order) {
  auto at = asked.begin();
  for (const std::string& what : order) {
    at = std::find(at, asked.end(), what);
    if (at == asked.end()) return false;
    ++at;
  }
  return true;
}

using Values = std::vector<std::string>;

}  // namespace

TEST_CASE("Group: a member reads from the committed offset, and commits what it has finished",
          "[client][group]") {
  Fixture f({{.partition = 0, .epoch = 3, .offset = 4}});
  f.Open();
  CHECK(f.Read(2)[0] == Values{"4", "5"});
  CHECK(f.told.gained == std::vector<std::int32_t>{0});
  CHECK(f.consumer->assignment().size() == 1);
  CHECK(*f.consumer->Committed("t", PartitionIndex(0)) == Offset(4));
  for (const std::string& asked : f.broker.Asked()) CHECK(asked.find("commit") != 0);
  CHECK(f.Read(1)[0] == Values{"6"});
  f.PollUntil([&] { return f.broker.CountAsked("commit 0@3:10") == 1; });
  CHECK(f.consumer->Close(kPatience).ok());
  CHECK(f.broker.CountAsked("leave") == 1);
  CHECK(f.told.how == std::vector{LostHow::kInGoodOrder});
  CHECK(absl::IsFailedPrecondition(f.consumer->Poll(1ms).status()));
}

TEST_CASE("Group: what the last Poll brought is not committed by Close, unless it was on demand",
          "[client][group]") {
  Fixture f;
  f.options.group->auto_commit_interval = 1h;
  const bool on_demand = GENERATE(false, true);
  f.Open();
  CHECK(f.Read(3)[0] == Values{"0", "1", "2"});
  CHECK(f.Read(2)[0] == Values{"3", "4"});
  if (on_demand) {
    CHECK(f.consumer->Commit(kPatience).ok());
    CHECK(*f.consumer->Committed("t", PartitionIndex(0)) == Offset(5));
  }
  CHECK(f.consumer->Close(kPatience).ok());
  CHECK(InOrder(f.broker.Asked(), {on_demand ? "commit 0@1:5" : "commit 0@1:3", "leave"}));
  CHECK(f.broker.CountAsked("commit 0@1:5") == (on_demand ? 1 : 0));
}

TEST_CASE("Group: without auto_commit nothing is committed by itself", "[client][group]") {
  Fixture f;
  f.options.group->auto_commit = false;
  f.Open();
  f.Read(3);
  f.Read(3);
  CHECK(f.consumer->Close(kPatience).ok());
  for (const std::string& asked : f.broker.Asked())
    CHECK(asked.find("commit") == std::string::npos);
}

TEST_CASE("Group: auto_offset_reset says where to begin without a commit", "[client][group]") {
  Fixture f;
  SECTION("earliest") {
    f.Open();
    CHECK(f.Read(1)[0] == Values{"0"});
  }
  SECTION("latest: and the place is committed") {
    f.options.group->auto_offset_reset = AutoOffsetReset::Latest();
    f.Open();
    f.PollUntil([&] { return f.broker.CountAsked("commit 0@1:10") == 1; });
  }
  SECTION("an error") {
    f.options.group->auto_offset_reset = AutoOffsetReset::Error();
    f.Open();
    const auto polled = f.consumer->Poll(kPatience);
    REQUIRE(polled.ok());
    REQUIRE(polled->events().size() == 1);
    CHECK(polled->events()[0].kind == ConsumerEvent::Kind::kFailed);
    CHECK(absl::IsNotFound(polled->events()[0].status));
  }
}

TEST_CASE("Group: a partition is given up in a waiting Poll, and the others are left in peace",
          "[client][group]") {
  Fixture f({{.partition = 0, .epoch = 1}, {.partition = 1, .epoch = 2}});
  f.options.group->auto_commit_interval = 1h;
  f.in_on_lost = [&] {
    if (f.told.how.size() > 1) return;
    CHECK(f.consumer->Commit({f.To(2)}, kPatience).ok());
    CHECK(absl::IsFailedPrecondition(f.consumer->Poll(1ms).status()));
    CHECK(f.consumer->assignment().size() == 2);
  };
  f.Open();
  auto values = f.Read(20);
  CHECK(values[0].size() == 10);
  CHECK(values[1].size() == 10);
  f.broker.AwaitAsked("subscribe 1:0");
  // Only this thread may check anything.
  std::thread taking([&] { f.broker.Assign({{.partition = 1, .epoch = 2}}); });
  f.PollUntil([&] { return !f.told.lost.empty(); });
  taking.join();
  CHECK(f.told.lost == std::vector<std::int32_t>{0});
  CHECK(f.told.how == std::vector{LostHow::kInGoodOrder});
  f.broker.AwaitAsked("release", 2);
  // The explicit one, then what was processed, then the release.
  CHECK(InOrder(f.broker.Asked(), {"commit 0@1:2", "commit 0@1:10", "release"}));
  CHECK(f.broker.CountAsked("subscribe 1:0") == 1);
  CHECK(f.consumer->assignment().size() == 1);
  CHECK(absl::IsNotFound(f.consumer->Pause("t", PartitionIndex(0))));
}

TEST_CASE("Group: what was fetched ahead of a partition that is lost is not handed out",
          "[client][group]") {
  Fixture f;
  f.Open();
  CHECK(f.Read(1)[0] == Values{"0"});
  f.broker.Assign({});
  f.PollUntil([&] { return !f.told.lost.empty(); });
  // There were nine more.
  CHECK(f.consumer->Poll(10ms)->records().empty());
  f.broker.AwaitAsked("release", 2);
  // Given back: from where it was committed.
  f.broker.Assign({{.partition = 0, .epoch = 2, .offset = 1}});
  CHECK(f.Read(1)[0] == Values{"1"});
}

TEST_CASE("Group: a partition under another epoch begins anew", "[client][group]") {
  Fixture f;
  f.Open();
  CHECK(f.Read(5)[0].size() == 5);
  f.broker.Assign({{.partition = 0, .epoch = 2, .offset = 8}});  // as after a reset
  f.PollUntil([&] { return f.told.gained.size() == 2; });
  f.broker.AwaitAsked("release", 2);
  f.broker.AwaitAsked("subscribe 0:8");
  CHECK(*f.consumer->Committed("t", PartitionIndex(0)) >= Offset(8));
}

TEST_CASE("Group: a member whose session ended loses everything, and joins under the same id",
          "[client][group]") {
  Fixture f;
  f.Open();
  f.Read(1);
  f.broker.SayIsNew(true);
  f.broker.FailHeartbeats(ErrorCode::kUnknownMember);
  f.PollUntil([&] { return f.told.gained.size() == 2; });
  CHECK(f.told.how == std::vector{LostHow::kTakenAway});
  CHECK(f.broker.CountAsked("join") == 2);
  CHECK(f.broker.members().size() == 1);
}

TEST_CASE("Group: errors that cannot go away are Poll's", "[client][group]") {
  Fixture f;
  SECTION("a join that is refused") {
    f.broker.FailJoins(ErrorCode::kPermissionDenied);
    f.Open();
    CHECK(absl::IsPermissionDenied(f.PollForError()));
  }
  SECTION("another one with the same instance id") {
    f.Open();
    f.Read(1);
    f.broker.FailHeartbeats(ErrorCode::kFencedInstance);
    CHECK(CodeOf(f.PollForError()) == ErrorCode::kFencedInstance);
    CHECK(f.told.how == std::vector{LostHow::kTakenAway});
    CHECK(CodeOf(f.consumer->Poll(1ms).status()) == ErrorCode::kFencedInstance);
    CHECK(f.consumer->Close(kPatience).ok());
    CHECK(f.broker.CountAsked("join") == 1);
  }
}

TEST_CASE("Group: a join that may succeed later is tried again", "[client][group]") {
  Fixture f;
  f.broker.FailJoins(ErrorCode::kTooManyInFlight);
  f.Open();
  CHECK(f.Read(1)[0] == Values{"0"});
  CHECK(f.broker.CountAsked("join") == 2);
}

TEST_CASE("Group: a commit is sent again over the next connection until it is answered",
          "[client][group]") {
  Fixture f;
  f.options.group->auto_commit = false;
  f.Open();
  f.Read(4);
  f.broker.BreakAtNextCommit();
  CHECK(f.consumer->Commit(kPatience).ok());
  CHECK(InOrder(f.broker.Asked(), {"join", "commit 0@1:4", "join", "commit 0@1:4"}));
  CHECK(f.Read(1)[0] == Values{"4"});
  CHECK(f.told.lost.empty());
}

TEST_CASE("Group: a commit that is refused says so, for its partition", "[client][group]") {
  Fixture f;
  f.options.group->auto_commit = false;
  f.Open();
  f.Read(4);
  f.broker.AnswerCommits(ErrorCode::kCommitBehind);
  CHECK(CodeOf(f.consumer->Commit({f.To(2)}, kPatience)) == ErrorCode::kCommitBehind);
  CHECK(CodeOf(f.consumer->Commit({f.To(2, 7)}, kPatience)) == ErrorCode::kStaleAssignment);
  f.broker.AnswerCommits(ErrorCode::kOk);
  std::vector<CommittedPartition> outcome;
  REQUIRE(f.consumer
              ->CommitAsync({f.To(3), f.To(1, 7)},
                            [&](const absl::Status& status, const auto& each) {
                              CHECK(status.ok());
                              outcome = each;
                            })
              .ok());
  CHECK(outcome.empty());
  f.PollUntil([&] { return !outcome.empty(); });
  REQUIRE(outcome.size() == 2);
  CHECK(outcome[0].status.ok());
  CHECK(outcome[0].offset == Offset(3));
  CHECK(CodeOf(outcome[1].status) == ErrorCode::kStaleAssignment);
  CHECK(*f.consumer->Committed("t", PartitionIndex(0)) == Offset(3));
}

TEST_CASE("Group: a partition that is named twice is committed once, as far as it goes",
          "[client][group]") {
  Fixture f;
  f.options.group->auto_commit = false;
  f.Open();
  f.Read(4);
  CHECK(f.consumer->Commit({f.To(2), f.To(3)}, kPatience).ok());
  CHECK(f.broker.CountAsked("commit 0@1:2") == 0);
  CHECK(f.broker.CountAsked("commit 0@1:3") == 1);
  CHECK(CodeOf(f.consumer->Commit({f.To(4), f.To(3)}, kPatience)) == ErrorCode::kCommitBehind);
  CHECK(f.broker.CountAsked("commit 0@1:4") == 1);
}

TEST_CASE("Group: nothing is handed out while the session may have ended", "[client][group]") {
  Fixture f;
  f.options.group->session_timeout = 1s;
  f.Open();
  f.Read(1);
  f.broker.AnswerHeartbeats(false);
  std::this_thread::sleep_for(1100ms);  // it is a time that is tested
  CHECK(f.consumer->Poll(1ms)->empty());
  f.broker.AnswerHeartbeats(true);
  // The answer to an old heartbeat proves nothing; the one to the next does.
  CHECK(f.Read(1)[0] == Values{"1"});
  CHECK(f.told.lost.empty());
}

TEST_CASE("Group: an application that is stuck loses its partitions, and gets others with Poll",
          "[client][group]") {
  Fixture f;
  f.options.group->max_processing = 50ms;
  f.Open();
  f.Read(1);
  f.broker.AwaitAsked("leave");  // no Poll meanwhile
  CHECK(f.broker.CountAsked("join") == 1);
  CHECK(absl::IsFailedPrecondition(f.consumer->Commit({f.To(1)}, kPatience)));
  f.broker.Assign({{.partition = 1}});
  f.PollUntil([&] { return f.told.gained.size() == 2; });
  CHECK(f.told.gained == std::vector<std::int32_t>{0, 1});
  CHECK(f.told.how == std::vector{LostHow::kTakenAway});
}

TEST_CASE("Group: a slow application keeps its session", "[client][group]") {
  Fixture f;
  f.options.group->session_timeout = 1s;
  f.Open();
  f.Read(1);
  std::this_thread::sleep_for(1200ms);  // it is a time that is tested
  CHECK(f.Read(1)[0] == Values{"1"});
  CHECK(f.told.lost.empty());
}

TEST_CASE("Group: a static member does not leave when it is closed", "[client][group]") {
  Fixture f;
  f.options.group->instance_id = "one";
  f.Open();
  f.Read(2);
  f.Read(1);
  CHECK(f.consumer->Close(kPatience).ok());
  CHECK(f.broker.CountAsked("leave") == 0);
  const auto asked = f.broker.Asked();
  CHECK(InOrder(asked, {"join", "subscribe 0:0"}));
}

TEST_CASE("Group: a static member that is closed gives up what it was told to, with its commit",
          "[client][group]") {
  Fixture f;
  f.options.group->instance_id = "one";
  f.options.group->auto_commit_interval = 1h;
  f.Open();
  f.Read(2);
  f.Read(1);
  const int before = f.broker.CountAsked("release");
  f.broker.Assign({});
  f.broker.AwaitHeard();  // but by no Poll any more
  CHECK(f.consumer->Close(kPatience).ok());
  const auto asked = f.broker.Asked();
  CHECK(InOrder(asked, {"commit 0@1:2", "release"}));
  CHECK(f.broker.CountAsked("release") == before + 1);
  CHECK(f.broker.CountAsked("leave") == 0);
}

TEST_CASE("Group: a consumer that goes without Close commits and leaves all the same",
          "[client][group]") {
  Fixture f;
  f.options.group->auto_commit_interval = 1h;
  const auto cluster = f.broker.cluster();
  f.consumer = *Consumer::Open(cluster, f.options);
  REQUIRE(f.consumer->Subscribe({"t"}).ok());
  f.Read(2);
  f.Read(1);
  f.consumer.reset();
  f.broker.AwaitAsked("leave");
  CHECK(InOrder(f.broker.Asked(), {"commit 0@1:2", "leave"}));
}

TEST_CASE("Group: seeking works on what is held, and never takes the commit back",
          "[client][group]") {
  Fixture f({{.partition = 0, .epoch = 1, .offset = 8}});
  f.Open();
  CHECK(f.Read(2)[0] == Values{"8", "9"});
  REQUIRE(f.consumer->Seek("t", PartitionIndex(0), StartPosition::At(Offset(1))).ok());
  CHECK(f.Read(3)[0] == Values{"1", "2", "3"});
  CHECK(f.consumer->Commit(kPatience).ok());
  CHECK(f.consumer->Close(kPatience).ok());
  for (const std::string& asked : f.broker.Asked()) {
    if (asked.find("commit") == 0) CHECK(asked == "commit 0@1:10");
  }
}

TEST_CASE("Group: what cannot be is refused at once", "[client][group]") {
  Fixture f;
  const auto open = [&] { return Consumer::Open(f.broker.cluster(), f.options).status(); };
  SECTION("a group's name") {
    f.options.group->group = GENERATE("", "__mine", "a\nb");
    CHECK(absl::IsInvalidArgument(open()));
  }
  SECTION("a session timeout") {
    f.options.group->session_timeout = GENERATE(Duration(999), Duration(31min));
    CHECK(absl::IsInvalidArgument(open()));
  }
  SECTION("no topics") {
    const auto consumer = *Consumer::Open(f.broker.cluster(), f.options);
    CHECK(absl::IsInvalidArgument(consumer->Subscribe({})));
    CHECK(absl::IsFailedPrecondition(consumer->Commit(kPatience)));
  }
  SECTION("no group") {
    const auto consumer = *Consumer::Open(f.broker.cluster(), {});
    CHECK(absl::IsFailedPrecondition(consumer->Subscribe({"t"})));
    CHECK(consumer->Close(kPatience).ok());
  }
}

}  // namespace cairn::client
