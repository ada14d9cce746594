// Groups as they run: over a real log, with members that are told what they hold.

#include "broker/groups/group_shard.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_format.h"

#include "broker/groups/coordinator.h"
#include "protocol/limits.h"
#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

using namespace std::chrono_literals;

// What a member hears.
class Heard final : public MemberSink {
 public:
  void Assigned(const std::string&, const MemberId&, const MemberAssignment& assignment) override {
    const std::lock_guard lock(mutex_);
    if (assignment.version <= last_.version) return;
    last_ = assignment;
    ++count_;
  }
  void Ended(const std::string&, const MemberId&, const absl::Status& why) override {
    const std::lock_guard lock(mutex_);
    ended_ = CodeOf(why);
  }
  MemberAssignment last() const {
    const std::lock_guard lock(mutex_);
    return last_;
  }
  int count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  std::optional<ErrorCode> ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }

 private:
  mutable std::mutex mutex_;
  MemberAssignment last_;
  int count_ = 0;
  std::optional<ErrorCode> ended_;
};

// The rooms with one shard, on a directory.
class GroupPlane {
 public:
  explicit GroupPlane(const std::filesystem::path& path, DataPlane::Options options = {})
      : plane_(path, std::move(options)) {
    plane_.OpenCatalog();
    topics_ = std::make_unique<TopicsForGroups>(plane_.map());
    const ServedTopic* topic = plane_.map().Load()->Find(std::string_view("__consumer_offsets"));
    REQUIRE(topic != nullptr);
    shard_ = std::make_shared<GroupShard>(
        GroupShard::Rooms{plane_.helpers(), *topics_, plane_.clock(), sessions_},
        topic->partitions[0]);
    const absl::Status started = shard_->Start(std::chrono::steady_clock::now());
    INFO(started);
    REQUIRE(started.ok());
    plane_.catalog().SetOnTopicChange([this](const TopicId& id, const std::string& name) {
      shard_->TopicChanged(id, name);
      ++topic_changes_;
    });
  }

  TopicId Create(const std::string& name, int partitions) {
    Answer<absl::StatusOr<TopicId>> made;
    plane_.catalog().CreateTopic(name, partitions, {}, kNow, made.Taker());
    return DataPlane::Value(made.Wait());
  }
  void Delete(const std::string& name) {
    Answer<absl::Status> done;
    plane_.catalog().DeleteTopic(name, kNow, done.Taker());
    REQUIRE(done.Wait().ok());
  }
  int topic_changes() const { return topic_changes_; }
  GroupShard& shard() { return *shard_; }
  Group group() {
    const auto picture = shard_->Find("g");
    return picture.has_value() ? picture->group : Group();
  }

 private:
  std::unique_ptr<TopicsForGroups> topics_;
  std::atomic<int> topic_changes_ = 0;
  SessionCount sessions_;
  std::shared_ptr<GroupShard> shard_;
  DataPlane plane_;  // last: its threads end first
};

struct TestMember {
  explicit TestMember(GroupPlane& its_plane, std::string its_instance = "")
      : plane(its_plane), instance(std::move(its_instance)) {}

  absl::StatusOr<bool> Join(std::vector<std::string> topics,
                            std::chrono::milliseconds session = 60s) {
    return AskToJoin(std::move(topics), session).Wait();
  }
  Answer<absl::StatusOr<bool>> AskToJoin(std::vector<std::string> topics,
                                         std::chrono::milliseconds session = 60s) {
    heard = std::make_shared<Heard>();  // assignments are counted anew
    GroupShard::JoinRequest request;
    request.group = "g";
    request.member = id;
    request.row.topics = std::move(topics);
    request.row.instance_id = instance;
    request.row.session_timeout_ms = static_cast<std::uint32_t>(session.count());
    request.rejoins = rejoins;
    request.sink = heard;
    Answer<absl::StatusOr<bool>> joined;
    plane.shard().Join(std::move(request), joined.Taker());
    return joined;
  }
  absl::Status Release(std::uint64_t version, std::vector<HeldPartition> keeps = {}) {
    Answer<absl::Status> done;
    plane.shard().Release("g", id, version, std::move(keeps), done.Taker());
    return done.Wait();
  }
  absl::Status Leave() {
    Answer<absl::Status> done;
    plane.shard().Leave("g", id, done.Taker());
    return done.Wait();
  }
  absl::Status Beat() {
    return plane.shard().Heartbeat("g", id, heard->last().version, heard,
                                   std::chrono::steady_clock::now());
  }
  ErrorCode Commit(const TopicPartition& partition, std::int64_t epoch, std::int64_t offset) {
    Answer<absl::StatusOr<std::vector<ErrorCode>>> done;
    plane.shard().Commit("g", id, {{partition, epoch, Offset(offset), kNoEpoch, "", 0}},
                         done.Taker());
    const auto codes = done.Wait();
    return codes.ok() ? codes->at(0) : CodeOf(codes.status());
  }
  // Does what it is told: lets go of what it is not to hold any more.
  void Obey() {
    const MemberAssignment told = heard->last();
    held.clear();
    for (const auto& each : told.partitions) held[each.id] = each.epoch;
    if (told.version > 0) (void)Release(told.version);
  }
  bool HoldsAfterAll(std::size_t count) {
    return Eventually([&] {
      Obey();
      return held.size() == count && heard->last().version > 0;
    });
  }

  GroupPlane& plane;
  std::string instance;
  bool rejoins = false;
  MemberId id = NewMemberId();
  std::shared_ptr<Heard> heard = std::make_shared<Heard>();
  std::map<TopicPartition, std::int64_t> held;
};

// Moves one partition of the group "g" to offset 3.
GroupShard::ResetRequest ResetToThree(const TopicPartition& at) {
  GroupShard::ResetRequest request;
  request.group = std::string("g");
  request.changes.resize(1);
  request.changes[0].partition = at;
  request.changes[0].new_offset = Offset(3);
  return request;
}

TEST_CASE("Groups: members share a topic, and one that leaves hands over", "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  plane.Create("orders", 4);
  TestMember first(plane), second(plane);
  CHECK(*first.Join({"orders"}));
  CHECK(first.HoldsAfterAll(4));
  CHECK(*second.Join({"orders"}));
  CHECK(Eventually([&] {
    first.Obey();
    second.Obey();
    return first.held.size() == 2 && second.held.size() == 2;
  }));
  CHECK_FALSE(*second.Join({"orders"}));  // it was known
  CHECK(first.Leave().ok());
  CHECK(second.HoldsAfterAll(4));
  CHECK(CodeOf(first.Beat()) == ErrorCode::kUnknownMember);
}

TEST_CASE("Groups: a topic that appears, grows and goes is shared as well", "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  TestMember member(plane);
  CHECK(*member.Join({"orders-*"}));
  CHECK(member.HoldsAfterAll(0));
  const TopicId id = plane.Create("orders-eu", 3);
  CHECK(member.HoldsAfterAll(3));
  CHECK(member.Commit({id, PartitionIndex(0)}, member.held.at({id, PartitionIndex(0)}), 5) ==
        ErrorCode::kOk);
  plane.Create("other", 3);
  plane.Create("orders-us", 2);
  CHECK(member.HoldsAfterAll(5));
  plane.Delete("orders-eu");
  CHECK(member.HoldsAfterAll(2));
  CHECK(Eventually([&] { return plane.group().offsets.empty(); }));
}

TEST_CASE("Groups: a session that hears nothing ends, and its late commit is refused", "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  const TopicId id = plane.Create("orders", 1);
  TestMember silent(plane), second(plane);
  CHECK(*silent.Join({"orders"}, 1s));
  CHECK(silent.HoldsAfterAll(1));
  const std::int64_t epoch = silent.held.at({id, PartitionIndex(0)});
  CHECK(*second.Join({"orders"}, 60s));
  plane.shard().Expire(std::chrono::steady_clock::now());
  CHECK(silent.Beat().ok());  // not yet
  CHECK(Eventually([&] {
    plane.shard().Expire(std::chrono::steady_clock::now());
    return silent.heard->ended().has_value();
  }));
  CHECK(silent.heard->ended() == ErrorCode::kUnknownMember);
  CHECK(second.HoldsAfterAll(1));
  CHECK(silent.Commit({id, PartitionIndex(0)}, epoch, 5) == ErrorCode::kUnknownMember);
  // It comes again, as a new one: what it held is not its own any more.
  CHECK(*silent.Join({"orders"}));
  CHECK(silent.Commit({id, PartitionIndex(0)}, epoch, 5) == ErrorCode::kStaleAssignment);
  CHECK(plane.group().offsets.empty());
}

TEST_CASE("Groups: a session that was nearly over when it was looked at ended a second late",
          "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  plane.Create("orders", 1);
  TestMember first(plane), silent(plane);
  REQUIRE(first.Join({"orders"}, 1s).ok());
  const auto look = std::chrono::steady_clock::now() + 1s;
  std::this_thread::sleep_for(2ms);
  REQUIRE(silent.Join({"orders"}, 1s).ok());
  const auto over = std::chrono::steady_clock::now() + 1s;
  plane.shard().Expire(look);
  std::this_thread::sleep_until(over);  // it is a time that is tested
  plane.shard().Expire(over);
  CHECK(Eventually([&] { return silent.heard->ended() == ErrorCode::kUnknownMember; }));
}

TEST_CASE("Groups: time in which the broker itself was held up ends no session", "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  plane.Create("orders", 1);
  TestMember member(plane);
  CHECK(*member.Join({"orders"}, 60s));
  const auto later = std::chrono::steady_clock::now() + 3min;
  plane.shard().Forgive(5min);
  plane.shard().Expire(later);
  CHECK(member.Beat().ok());
}

TEST_CASE("Groups: the second instance of a name fences the first, and has what it held",
          "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  plane.Create("orders", 2);
  TestMember first(plane, "one"), again(plane, "one");
  CHECK(*first.Join({"orders"}));
  CHECK(first.HoldsAfterAll(2));
  CHECK(*again.Join({"orders"}));
  CHECK(again.HoldsAfterAll(2));
  CHECK(Eventually([&] { return first.heard->ended() == ErrorCode::kFencedInstance; }));
  CHECK(CodeOf(first.Beat()) == ErrorCode::kFencedInstance);
  CHECK(CodeOf(first.Join({"orders"}).status()) == ErrorCode::kFencedInstance);
}

TEST_CASE("Groups: what was pushed and lost is pushed again by the heartbeat", "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  plane.Create("orders", 2);
  TestMember member(plane);
  CHECK(*member.Join({"orders"}));
  CHECK(member.HoldsAfterAll(2));
  // Another way, over which nothing has come.
  const auto fresh = std::make_shared<Heard>();
  CHECK(plane.shard().Heartbeat("g", member.id, 0, fresh, std::chrono::steady_clock::now()).ok());
  CHECK(fresh->last().partitions.size() == 2);
}

TEST_CASE("Groups: a restart finds members, what they hold, and offsets as they were", "[groups]") {
  storage::TempDir dir;
  Group before;
  MemberId id;
  TopicId topic;
  {
    GroupPlane plane(dir.path());
    topic = plane.Create("orders", 3);
    TestMember member(plane);
    id = member.id;
    CHECK(*member.Join({"orders"}));
    CHECK(member.HoldsAfterAll(3));
    CHECK(member.Commit({topic, PartitionIndex(1)}, member.held.at({topic, PartitionIndex(1)}),
                        17) == ErrorCode::kOk);
    before = plane.group();
  }
  GroupPlane plane(dir.path());
  CHECK(plane.group() == before);
  TestMember member(plane);
  member.id = id;
  CHECK_FALSE(*member.Join({"orders"}));
  CHECK(member.HoldsAfterAll(3));
  CHECK(plane.group() == before);
  for (const auto& each : member.heard->last().partitions) {
    CHECK(each.offset == (each.id.partition == PartitionIndex(1) ? Offset(17) : kNoOffset));
  }
}

TEST_CASE("Groups: a reset of a running group waits until members have let go", "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  const TopicId topic = plane.Create("orders", 2);
  const TopicPartition at{topic, PartitionIndex(0)};
  TestMember member(plane);
  CHECK(*member.Join({"orders"}));
  CHECK(member.HoldsAfterAll(2));
  const std::int64_t epoch = member.held.at(at);
  CHECK(member.Commit(at, epoch, 50) == ErrorCode::kOk);

  GroupShard::ResetRequest request = ResetToThree(at);
  request.timeout = 60s;
  Answer<absl::StatusOr<GroupShard::ResetDone>> done, second;
  plane.shard().Reset(request, done.Taker());
  // It is told to let go, and can still commit what it has done.
  CHECK(Eventually([&] { return member.heard->last().partitions.size() == 1; }));
  CHECK(plane.shard().Find("g")->resetting);
  CHECK(member.Commit(at, epoch, 60) == ErrorCode::kOk);
  plane.shard().Reset(request, second.Taker());
  CHECK(CodeOf(second.Wait().status()) == ErrorCode::kResetUnderWay);
  member.Obey();
  const auto outcome = DataPlane::Value(done.Wait());
  CHECK(outcome.number == 1);
  CHECK(outcome.changes.at(0).old_offset == Offset(60));
  CHECK(member.HoldsAfterAll(2));
  CHECK(member.held.at(at) > epoch);
  for (const auto& each : member.heard->last().partitions) {
    if (each.id == at) CHECK(each.offset == Offset(3));
  }
  CHECK(member.Commit(at, epoch, 61) == ErrorCode::kStaleAssignment);
  CHECK_FALSE(plane.shard().Find("g")->resetting);
}

TEST_CASE("Groups: a reset that members do not make way for changes nothing", "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  const TopicId topic = plane.Create("orders", 1);
  const TopicPartition at{topic, PartitionIndex(0)};
  TestMember member(plane);
  CHECK(*member.Join({"orders"}));
  CHECK(member.HoldsAfterAll(1));
  CHECK(member.Commit(at, member.held.at(at), 50) == ErrorCode::kOk);
  const Group before = plane.group();
  GroupShard::ResetRequest request = ResetToThree(at);
  request.timeout = 10ms;
  Answer<absl::StatusOr<GroupShard::ResetDone>> done;
  plane.shard().Reset(request, done.Taker());
  std::this_thread::sleep_for(20ms);
  CHECK(Eventually([&] {
    plane.shard().Expire(std::chrono::steady_clock::now());
    return !plane.shard().Find("g")->resetting;
  }));
  CHECK(CodeOf(done.Wait().status()) == ErrorCode::kTimedOut);
  CHECK(plane.group() == before);
  CHECK(Eventually([&] { return member.heard->last().partitions.size() == 1; }));
  // Who does not wait for them moves it all the same; the member's next commit is refused.
  request.force = true;
  const std::int64_t epoch = member.held.at(at);
  Answer<absl::StatusOr<GroupShard::ResetDone>> forced;
  plane.shard().Reset(request, forced.Taker());
  CHECK(forced.Wait().ok());
  CHECK(member.Commit(at, epoch, 51) == ErrorCode::kStaleAssignment);
  CHECK(plane.group().offsets.at(at).offset == Offset(3));
}

TEST_CASE("Groups: a reset whose asker had left moved offsets later", "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  const TopicId topic = plane.Create("orders", 1);
  const TopicPartition at{topic, PartitionIndex(0)};
  TestMember member(plane);
  CHECK(*member.Join({"orders"}));
  CHECK(member.HoldsAfterAll(1));
  CHECK(member.Commit(at, member.held.at(at), 50) == ErrorCode::kOk);
  const Group before = plane.group();
  GroupShard::ResetRequest request = ResetToThree(at);
  request.timeout = 60s;
  const auto left = std::make_shared<std::atomic<bool>>(false);
  request.asker_left = left;
  SECTION("noticed by the watch over sessions") {
    Answer<absl::StatusOr<GroupShard::ResetDone>> done;
    plane.shard().Reset(request, done.Taker());
    plane.shard().Expire(std::chrono::steady_clock::now());
    CHECK(Eventually([&] { return plane.shard().Find("g")->resetting; }));
    *left = true;
    plane.shard().Expire(std::chrono::steady_clock::now());
    CHECK(CodeOf(done.Wait().status()) == ErrorCode::kTimedOut);
  }
  SECTION("noticed when members have let go") {
    Answer<absl::StatusOr<GroupShard::ResetDone>> done;
    plane.shard().Reset(request, done.Taker());
    CHECK(Eventually([&] { return member.heard->last().partitions.empty(); }));
    *left = true;
    member.Obey();
    CHECK(CodeOf(done.Wait().status()) == ErrorCode::kTimedOut);
    CHECK(member.HoldsAfterAll(1));  // it has it again
  }
  CHECK(Eventually([&] { return !plane.shard().Find("g")->resetting; }));
  CHECK(plane.group().offsets == before.offsets);
  CHECK(plane.group().resets.empty());
}

TEST_CASE("Groups: a reset makes a group that was not there, and refuses what is not there",
          "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  const TopicId topic = plane.Create("orders", 1);
  GroupShard::ResetRequest request;
  request.group = "g";
  request.changes.resize(1);
  request.changes[0].partition = {topic, PartitionIndex(1)};
  request.changes[0].new_offset = Offset(3);
  const auto reset = [&] {
    Answer<absl::StatusOr<GroupShard::ResetDone>> done;
    plane.shard().Reset(request, done.Taker());
    return CodeOf(done.Wait().status());
  };
  CHECK(reset() == ErrorCode::kUnknownPartition);
  request.changes[0].partition = {NewTopicId(), PartitionIndex(0)};
  CHECK(reset() == ErrorCode::kUnknownTopic);
  CHECK_FALSE(plane.shard().Find("g").has_value());
  request.changes[0].partition = {topic, PartitionIndex(0)};
  CHECK(reset() == ErrorCode::kOk);
  CHECK(plane.group().offsets.size() == 1);
  Answer<absl::Status> gone;
  plane.shard().Delete("g", gone.Taker());
  CHECK(gone.Wait().ok());
  CHECK_FALSE(plane.shard().Find("g").has_value());
}

TEST_CASE("Groups: many large commits at once were refused, together larger than a batch may be",
          "[groups]") {
  constexpr int kGroups = 100, kPartitions = 2000;
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  const TopicId topic = plane.Create("t", kPartitions);
  std::vector<std::unique_ptr<Answer<absl::StatusOr<std::vector<ErrorCode>>>>> answers;
  std::vector<OffsetCommit> commits;
  for (int p = 0; p < kPartitions; ++p) {
    commits.push_back(
        {{topic, PartitionIndex(p)}, 0, Offset(7), kNoEpoch, std::string(400, 'm'), 0});
  }
  std::vector<std::vector<OffsetCommit>> all(kGroups, commits);
  for (int g = 0; g < kGroups; ++g) {
    answers.push_back(std::make_unique<Answer<absl::StatusOr<std::vector<ErrorCode>>>>());
    plane.shard().Commit(absl::StrFormat("g%d", g), kNoMember,
                         std::move(all[static_cast<std::size_t>(g)]), answers.back()->Taker());
  }
  for (const auto& answer : answers) {
    const auto codes = answer->Wait();
    INFO(codes.status());
    REQUIRE(codes.ok());
    CHECK(*codes == std::vector<ErrorCode>(kPartitions, ErrorCode::kOk));
  }
}

// Options of a plane whose disk waits when it is told to.
DataPlane::Options Behind(SyncValve& valve) {
  DataPlane::Options options;
  options.flusher.sync = [&valve](const storage::SyncPlan& plan) {
    valve.Pass();
    return plan.Sync();
  };
  return options;
}

TEST_CASE("Groups: a topic that appeared while a join was being written was given to nobody",
          "[groups]") {
  storage::TempDir dir;
  // What the clock does when the round has been decided, and nothing is written yet.
  std::function<void()> between;
  DataPlane::Options options;
  auto looks = std::make_shared<std::atomic<std::int64_t>>(0);
  options.clocks.wall = [&between] {
    if (between) std::exchange(between, nullptr)();
    return kNow;
  };
  options.clocks.monotonic = [looks] { return std::chrono::milliseconds(looks->load()); };
  GroupPlane plane(dir.path(), std::move(options));
  TestMember member(plane);
  between = [&] {
    plane.Create("orders-eu", 3);
    Eventually([&] { return plane.topic_changes() == 1; });
  };
  *looks = 5000;  // the next look at the clock compares them
  CHECK(*member.Join({"orders-*"}));
  CHECK_FALSE(between);
  CHECK(member.HoldsAfterAll(3));
}

TEST_CASE(
    "Groups: a heartbeat kept a session whose end was being written, and two held a partition",
    "[groups]") {
  storage::TempDir dir;
  SyncValve valve;
  GroupPlane plane(dir.path(), Behind(valve));
  plane.Create("orders", 1);
  TestMember silent(plane);
  CHECK(*silent.Join({"orders"}, 1s));
  CHECK(silent.HoldsAfterAll(1));
  const auto over = std::chrono::steady_clock::now() + 1s;
  std::this_thread::sleep_until(over);  // it is a time that is tested
  valve.Close();
  plane.shard().Expire(std::chrono::steady_clock::now());
  valve.WaitForFlusher();
  CHECK(CodeOf(silent.Beat()) == ErrorCode::kTimedOut);
  CHECK(plane.group().members.size() == 1);  // not written yet
  valve.Open();
  CHECK(Eventually([&] { return silent.heard->ended() == ErrorCode::kUnknownMember; }));
}

TEST_CASE("Groups: sessions whose end could not be written go on", "[groups]") {
  storage::TempDir dir;
  std::atomic<bool> fails{false};
  DataPlane::Options options;
  options.flusher.sync = [&fails](const storage::SyncPlan& plan) {
    return fails ? absl::DataLossError("the disk said EIO") : plan.Sync();
  };
  GroupPlane plane(dir.path(), std::move(options));
  plane.Create("orders", 1);
  TestMember member(plane);
  CHECK(*member.Join({"orders"}));
  CHECK(member.HoldsAfterAll(1));
  fails = true;
  CHECK(CodeOf(member.Leave()) == ErrorCode::kOutcomeUnknown);
  CHECK(member.Beat().ok());
}

TEST_CASE("Groups: many changes that are refused at once were rounds within rounds", "[groups]") {
  constexpr int kCommits = 200'000;  // a round takes up to 1000 of them
  storage::TempDir dir;
  SyncValve valve;
  std::atomic<bool> fails{false};
  DataPlane::Options options;
  options.flusher.sync = [&](const storage::SyncPlan& plan) {
    valve.Pass();
    return fails ? absl::DataLossError("the disk said EIO") : plan.Sync();
  };
  GroupPlane plane(dir.path(), std::move(options));
  const TopicId topic = plane.Create("orders", 1);
  std::atomic<int> refused{0};
  const auto commit = [&](std::string metadata) {
    plane.shard().Commit("g", kNoMember,
                         {{{topic, PartitionIndex(0)}, 0, Offset(1), kNoEpoch, metadata, 0}},
                         [&](const auto& codes) { refused += codes.ok() ? 0 : 1; });
  };
  valve.Close();
  fails = true;
  commit("");
  valve.WaitForFlusher();
  for (int i = 1; i < kCommits; ++i) commit("");
  valve.Open();
  CHECK(Eventually([&] { return refused == kCommits; }));
}

TEST_CASE("Groups: a full group refused the second instance of one of its members", "[groups]") {
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  std::vector<std::unique_ptr<TestMember>> members;
  std::vector<Answer<absl::StatusOr<bool>>> joined;
  for (std::size_t i = 0; i < kGroupMembersMax; ++i) {
    members.push_back(std::make_unique<TestMember>(plane, absl::StrFormat("number %d", i)));
    joined.push_back(members.back()->AskToJoin({"orders"}));
  }
  for (auto& each : joined) REQUIRE(each.Wait().ok());
  TestMember again(plane, "number 7"), one_more(plane, "one more");
  CHECK(again.Join({"orders"}).ok());
  CHECK(CodeOf(one_more.Join({"orders"}).status()) == ErrorCode::kTooManyInFlight);
}

TEST_CASE("Groups: after a restart the older of two with one instance id took over again",
          "[groups]") {
  storage::TempDir dir;
  MemberId older_id, newer_id;
  {
    GroupPlane plane(dir.path());
    TestMember older(plane, "one"), newer(plane, "one");
    CHECK(*older.Join({"orders"}));
    CHECK(*newer.Join({"orders"}));
    older_id = older.id;
    newer_id = newer.id;
  }
  GroupPlane plane(dir.path());
  TestMember older(plane, "one"), newer(plane, "one"), third(plane, "one");
  older.id = older_id;
  newer.id = newer_id;
  older.rejoins = newer.rejoins = true;
  CHECK(CodeOf(older.Join({"orders"}).status()) == ErrorCode::kFencedInstance);
  CHECK_FALSE(*newer.Join({"orders"}));
  CHECK(*third.Join({"orders"}));  // has not been there before
  CHECK(CodeOf(newer.Beat()) == ErrorCode::kFencedInstance);
}

TEST_CASE("Groups: members were given up for the time that the broker took to start", "[groups]") {
  storage::TempDir dir;
  MemberId id;
  {
    GroupPlane plane(dir.path());
    TestMember member(plane);
    CHECK(*member.Join({"orders"}, 1s));
    id = member.id;
  }
  GroupPlane plane(dir.path());
  const auto open = std::chrono::steady_clock::now() + 1min;
  plane.shard().RestartSessions(open);
  plane.shard().Expire(open);
  TestMember member(plane);
  member.id = id;
  CHECK(member.Beat().ok());
}

TEST_CASE("Groups: members that come and go all the time never hold a partition together",
          "[groups]") {
  const unsigned seed = 20261128;
  std::mt19937 random(seed);
  INFO("seed " << seed);
  storage::TempDir dir;
  GroupPlane plane(dir.path());
  plane.Create("orders", 32);
  std::vector<TestMember> members;
  for (int i = 0; i < 16; ++i) members.emplace_back(plane);
  std::vector<bool> joined(members.size(), false);
  for (int step = 0; step < 300; ++step) {
    const std::size_t who = random() % members.size();
    TestMember& member = members[who];
    if (!joined[who]) {
      REQUIRE(member.Join({"orders"}).ok());
      joined[who] = true;
    } else if (random() % 3 == 0) {
      REQUIRE(member.Leave().ok());
      member.held.clear();
      member.id = NewMemberId();
      member.heard = std::make_shared<Heard>();
      joined[who] = false;
    } else {
      member.Obey();
    }
    // By what the members themselves believe.
    std::map<TopicPartition, int> holders;
    for (const TestMember& each : members) {
      for (const auto& [partition, epoch] : each.held) ++holders[partition];
    }
    for (const auto& [partition, count] : holders) REQUIRE(count == 1);
  }
  const bool settled = Eventually([&] {
    std::size_t held = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (joined[i]) members[i].Obey();
      held += members[i].held.size();
    }
    return held == 32;
  });
  CHECK(settled);
}

}  // namespace
}  // namespace cairn::broker
