#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "broker/runtime/logging.h"
#include "tests/broker/data_plane.h"
#include "tests/support/faulty_calls.h"
#include "tests/support/power_cut.h"

namespace cairn::broker {
namespace {

using faults::Fault;
using faults::PowerCut;
using Values = std::vector<std::string>;

constexpr std::size_t kTopics = 2;
constexpr std::array<const char*, kTopics> kNames = {"a", "b"};

std::shared_ptr<Partition> OpenPartition(DataPlane& plane, std::size_t topic) {
  TopicId id;
  id.bytes.fill(static_cast<std::uint8_t>(topic + 1));
  const TopicPartition where{id, PartitionIndex(0)};
  PartitionOptions options;
  options.log.segment_bytes = 400;
  storage::RecoveryReport report;
  auto log = DataPlane::Value(storage::Log::Open(
      plane.data_dir(), {id, kNames[topic], where.partition}, options.log, kNow, report));
  INFO(report.damage);
  REQUIRE(report.damage.ok());
  return std::make_shared<Partition>(std::move(log), where, kNames[topic], options,
                                     plane.services());
}

// What those who sent to one partition were told.
struct Told {
  Values acknowledged;  // as durable
  Values refused;
  Values seen;  // by a reader, in the end
};

// One batch after the other to each partition, each waited for; the at-th call fails.
class Run {
 public:
  Run(const std::filesystem::path& data, const faults::FaultPlan& plan, std::size_t alone_max)
      : plane_(data, With(alone_max)) {
    for (std::size_t t = 0; t < kTopics; ++t) partitions_[t] = OpenPartition(plane_, t);
    faults::ArmFaults(plan);
    for (int round = 0; round < 5; ++round) Send(round, plan.stays);
    count_ = faults::DisarmFaults();
    for (std::size_t t = 0; t < kTopics; ++t) {
      Hear(t);
      // What must be seen is what was acknowledged; more would be seen too early.
      if (partitions_[t]->ends().committed_end > Offset(0)) {
        told_[t].seen = ReadValues(*partitions_[t], Offset(0));
      }
    }
  }

  const faults::FaultCount& count() const { return count_; }
  const Told& told(std::size_t topic) const { return told_[topic]; }

 private:
  struct Waiting {
    std::string value;
    std::shared_ptr<TestSink> sink;
  };

  static DataPlane::Options With(std::size_t alone_max) {
    DataPlane::Options options;
    options.flusher.alone_max = alone_max;
    return options;
  }

  void Send(int round, bool stays) {
    for (std::size_t t = 0; t < kTopics; ++t) {
      const std::string value = kNames[t] + std::to_string(round) + std::string(100, '.');
      auto sink = std::make_shared<TestSink>();
      const auto appended =
          Append(*partitions_[t], BatchOf({value}), Durability::kDurable, sink, 1);
      if (appended.ok()) {
        REQUIRE(appended->pending);
        waiting_[t].push_back({value, std::move(sink)});
      } else if (CodeOf(appended.status()) == ErrorCode::kStorageFull) {
        told_[t].refused.push_back(value);
      }
    }
    // While the disk stays full, nobody is told before the frontier has room again.
    if (stays) return;
    for (std::size_t t = 0; t < kTopics; ++t) Hear(t);
  }
  // Everybody is told something.
  void Hear(std::size_t topic) {
    for (const Waiting& each : waiting_[topic]) {
      const Ack ack = each.sink->Wait(1).front();
      if (ack.status.ok()) {
        told_[topic].acknowledged.push_back(each.value);
      } else {
        REQUIRE(CodeOf(ack.status) == ErrorCode::kOutcomeUnknown);
      }
    }
    waiting_[topic].clear();
  }

  DataPlane plane_;
  std::array<std::shared_ptr<Partition>, kTopics> partitions_;
  std::array<std::vector<Waiting>, kTopics> waiting_;
  std::array<Told, kTopics> told_;
  faults::FaultCount count_;
};

bool Holds(const Values& values, const std::string& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

void CheckWhatIsThere(const std::filesystem::path& data, const std::array<Told, kTopics>& told) {
  DataPlane plane(data);
  for (std::size_t t = 0; t < kTopics; ++t) {
    const std::shared_ptr<Partition> partition = OpenPartition(plane, t);
    Values found;
    if (partition->ends().committed_end > Offset(0)) found = ReadValues(*partition, Offset(0));
    CHECK(std::is_sorted(found.begin(), found.end()));
    CHECK(std::adjacent_find(found.begin(), found.end()) == found.end());
    for (const std::string& value : told[t].acknowledged) CHECK(Holds(found, value));
    for (const std::string& value : told[t].seen) CHECK(Holds(found, value));
    for (const std::string& value : told[t].refused) CHECK_FALSE(Holds(found, value));
  }
}

bool RunWith(const faults::FaultPlan& plan, std::size_t alone_max) {
  const TempDir temp(storage::MemoryRoot());
  const std::filesystem::path data = temp / "data";
  std::filesystem::create_directory(data);
  PowerCut::Get().Follow(data);
  std::array<Told, kTopics> told;
  faults::FaultCount count;
  {
    const Run run(data, plan, alone_max);
    count = run.count();
    for (std::size_t t = 0; t < kTopics; ++t) told[t] = run.told(t);
  }
  INFO("call " << plan.at << (plan.stays ? " and all later" : "") << ", first " << count.first);
  if (!plan.stays && count.first.find("/data/a-0/") != std::string::npos) {
    INFO("what hits one partition does not hit the other");
    CHECK(told[1].acknowledged.size() == 5);
  }
  PowerCut::Get().Restore(temp / "cut");
  PowerCut::Get().Stop();
  {
    INFO("after a power cut");
    CheckWhatIsThere(temp / "cut", told);
  }
  INFO("after kill -9");
  CheckWhatIsThere(data, told);
  return count.failed > 0;
}

void Sweep(Fault fault, bool stays) {
  SetLogLevel(LogLevel::kError);
  for (const std::size_t alone_max : {4, 0}) {  // 0: always all together
    int at = 1;
    while (RunWith({.fault = fault, .at = at, .stays = stays}, alone_max)) ++at;
    REQUIRE(at > 30);
  }
}

TEST_CASE("Group commit: the N-th call fails with EIO, and everyone is told the truth",
          "[crash][calls]") {
  Sweep(Fault::kIoError, false);
}
TEST_CASE("Group commit: from the N-th call on all fail with EIO, and everyone is told the truth",
          "[crash][calls]") {
  Sweep(Fault::kIoError, true);
}
TEST_CASE("Group commit: the N-th call finds no room, and everyone is told the truth",
          "[crash][calls]") {
  Sweep(Fault::kNoSpace, false);
}
TEST_CASE("Group commit: from the N-th call on the disk is full, and everyone is told the truth",
          "[crash][calls]") {
  Sweep(Fault::kNoSpace, true);
}

TEST_CASE("Group commit: a file whose sync failed elsewhere is not believed after a syncfs",
          "[crash][calls]") {
  SetLogLevel(LogLevel::kError);
  const TempDir temp(storage::MemoryRoot());
  SyncValve valve;
  DataPlane::Options options;
  options.flusher.alone_max = 0;
  options.flusher.sync_file_system = [&valve] {
    valve.Pass();
    return absl::OkStatus();
  };
  DataPlane plane(temp / "data", std::move(options));
  const auto hit = plane.NewPartition("hit");
  const auto spared = plane.NewPartition("spared");
  valve.Close();
  const auto sink = std::make_shared<TestSink>();
  REQUIRE(Append(*hit, BatchOf({"lost"}), Durability::kDurable, sink, 1).ok());
  valve.WaitForFlusher();
  // As the janitor does when it seals a segment.
  const storage::SyncPlan elsewhere = hit->TakeUnsynced();
  faults::ArmFaults({.fault = Fault::kIoError, .at = 1, .stays = false});
  REQUIRE_FALSE(elsewhere.Sync().ok());
  faults::DisarmFaults();
  valve.Open();
  CHECK(CodeOf(sink->Wait(1).front().status) == ErrorCode::kOutcomeUnknown);
  CHECK(hit->ends().durable_end == Offset(0));
  CHECK_FALSE(plane.data_dir().frontier().Find(hit->id()).has_value());
  CHECK(AppendDurably(*spared, {"kept"}) == Offset(0));
}

}  // namespace
}  // namespace cairn::broker
