#include "broker/state/state_topic.h"

#include <map>

#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

// The simplest coordinator: a map from key to value.
class MapTable {
 public:
  StateTopic::Apply Applier() {
    return [this](ByteView key, std::optional<ByteView> value) -> absl::Status {
      const std::lock_guard lock(mutex_);
      const std::string name(AsText(key));
      if (name == "poison") return absl::DataLossError("cannot be applied");
      order_.push_back(name);
      if (value.has_value()) {
        values_[name] = std::string(AsText(*value));
      } else {
        values_.erase(name);
      }
      return absl::OkStatus();
    };
  }
  std::map<std::string, std::string> values() {
    const std::lock_guard lock(mutex_);
    return values_;
  }
  std::vector<std::string> order() {
    const std::lock_guard lock(mutex_);
    return order_;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> values_;
  std::vector<std::string> order_;
};

Bytes ToBytes(const std::string& text) {
  const ByteView view = AsBytes(text);
  return Bytes(view.begin(), view.end());
}
StateRecord Set(const std::string& key, const std::string& value) {
  return {ToBytes(key), ToBytes(value)};
}
StateRecord Clear(const std::string& key) { return {ToBytes(key), std::nullopt}; }

absl::Status Write(StateTopic& topic, std::vector<StateRecord> records) {
  return topic.AppendAndWait(records, kNow);
}

TEST_CASE("StateTopic: replay gives the table of the run", "[broker][state]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = plane.NewPartition("__state");
  MapTable live;
  const auto topic = std::make_shared<StateTopic>(partition, plane.helpers(), live.Applier());
  REQUIRE(topic->Replay().ok());
  REQUIRE(Write(*topic, {Set("a", "1"), Set("b", "2")}).ok());
  REQUIRE(Write(*topic, {Set("a", "3"), Clear("b"), Set("c", "")}).ok());
  CHECK(live.values() == std::map<std::string, std::string>{{"a", "3"}, {"c", ""}});

  MapTable replayed;
  const auto again = std::make_shared<StateTopic>(partition, plane.helpers(), replayed.Applier());
  REQUIRE(again->Replay().ok());
  CHECK(replayed.values() == live.values());
  CHECK(replayed.order() == live.order());
}

TEST_CASE("StateTopic: nothing is applied before it is durable, then all in log order",
          "[broker][state]") {
  TempDir dir;
  SyncValve valve;
  DataPlane::Options options;
  options.flusher.sync = [&valve](const storage::SyncPlan& plan) {
    valve.Pass();
    return plan.Sync();
  };
  DataPlane plane(dir.path(), std::move(options));
  const auto partition = plane.NewPartition("__state");
  MapTable table;
  const auto topic = std::make_shared<StateTopic>(partition, plane.helpers(), table.Applier());
  REQUIRE(topic->Replay().ok());
  valve.Close();
  std::vector<std::string> expected;
  Answer<absl::Status> last;
  for (int i = 0; i < 50; ++i) {
    expected.push_back(std::to_string(i));
    const StateRecord record = Set(expected.back(), "x");
    if (i == 49) {
      topic->Append({&record, 1}, kNow, last.Taker());
    } else {
      topic->Append({&record, 1}, kNow, [](const absl::Status&) {});
    }
    if (i == 0) valve.WaitForFlusher();
  }
  CHECK(table.order().empty());
  valve.Open();
  REQUIRE(last.Wait().ok());
  CHECK(table.order() == expected);
}

TEST_CASE("StateTopic: a failed sync leaves the table as it was, and says so", "[broker][state]") {
  TempDir dir;
  std::atomic<bool> fails{false};
  DataPlane::Options options;
  options.flusher.sync = [&fails](const storage::SyncPlan& plan) {
    return fails ? absl::DataLossError("the disk said EIO") : plan.Sync();
  };
  DataPlane plane(dir.path(), std::move(options));
  const auto partition = plane.NewPartition("__state");
  MapTable table;
  const auto topic = std::make_shared<StateTopic>(partition, plane.helpers(), table.Applier());
  REQUIRE(topic->Replay().ok());
  REQUIRE(Write(*topic, {Set("a", "1")}).ok());
  fails = true;
  CHECK(CodeOf(Write(*topic, {Set("a", "2")})) == ErrorCode::kOutcomeUnknown);
  CHECK(CodeOf(Write(*topic, {Set("a", "3")})) == ErrorCode::kStorageFailed);
  CHECK(table.values() == std::map<std::string, std::string>{{"a", "1"}});
}

TEST_CASE("StateTopic: a batch that nothing could read again was appended", "[broker][state]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = plane.NewPartition("__state");
  MapTable table;
  const auto topic = std::make_shared<StateTopic>(partition, plane.helpers(), table.Applier());
  REQUIRE(topic->Replay().ok());
  const std::vector<StateRecord> records(65, Set("a", std::string(1 << 20, 'x')));
  CHECK(CodeOf(Write(*topic, records)) == ErrorCode::kTooLarge);
  CHECK(partition->ends().log_end == Offset(0));
  CHECK(Write(*topic, {Set("a", "1")}).ok());
}

TEST_CASE("StateTopic: after a record that cannot be applied nothing more is accepted",
          "[broker][state]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = plane.NewPartition("__state");
  MapTable table;
  const auto topic = std::make_shared<StateTopic>(partition, plane.helpers(), table.Applier());
  REQUIRE(topic->Replay().ok());
  const absl::Status status = Write(*topic, {Set("poison", "1")});
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(status.message()), Catch::Matchers::Contains("__state-0 at offset 0"));
  CHECK_FALSE(Write(*topic, {Set("a", "1")}).ok());
  CHECK(partition->ends().log_end == Offset(1));

  MapTable replayed;
  const auto again = std::make_shared<StateTopic>(partition, plane.helpers(), replayed.Applier());
  CHECK(again->Replay().code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace cairn::broker
