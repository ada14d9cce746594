#include "tools/cairn/reset_plan.h"

#include <limits>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cairn::tools {
namespace {

using Kind = ResetScenario::Kind;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

// t:0 with the offsets [100, 200).
ResetPartition Partition(std::optional<std::int64_t> committed) {
  ResetPartition partition;
  partition.topic = std::string("t");
  partition.log_start = Offset(100);
  partition.log_end = Offset(200);
  if (committed.has_value()) partition.committed = Offset(*committed);
  return partition;
}

ResetScenario Scenario(Kind kind, std::int64_t value = 0) {
  ResetScenario scenario;
  scenario.kind = kind;
  scenario.value = value;
  return scenario;
}

ResetPlan Plan(const ResetScenario& scenario, const ResetPartition& partition) {
  return PlanReset("g", scenario, {partition});
}

// Where t:0 goes, without a warning or an error.
std::optional<Offset> Goes(const ResetScenario& scenario, const ResetPartition& partition) {
  const ResetPlan plan = Plan(scenario, partition);
  CHECK(plan.warnings.empty());
  CHECK(plan.errors.empty());
  REQUIRE(plan.rows.size() == 1);
  return plan.rows.front().next;
}

// Where it goes, with one warning that says `words`.
std::optional<Offset> GoesWithWarning(const ResetScenario& scenario,
                                      const ResetPartition& partition, const std::string& words) {
  const ResetPlan plan = Plan(scenario, partition);
  CHECK(plan.errors.empty());
  REQUIRE(plan.warnings.size() == 1);
  INFO(plan.warnings.front());
  CHECK(plan.warnings.front().find("group g, t:0: ") == 0);
  CHECK(plan.warnings.front().find(words) != std::string::npos);
  REQUIRE(plan.rows.size() == 1);
  return plan.rows.front().next;
}

TEST_CASE("Reset plan: to the ends of the log", "[tools][reset]") {
  for (const ResetPartition& partition : {Partition(150), Partition(std::nullopt)}) {
    CHECK(Goes(Scenario(Kind::kEarliest), partition) == Offset(100));
    CHECK(Goes(Scenario(Kind::kLatest), partition) == Offset(200));
  }
}

TEST_CASE("Reset plan: to where it is, and without a commit to the end", "[tools][reset]") {
  CHECK(Goes(Scenario(Kind::kCurrent), Partition(150)) == Offset(150));
  CHECK(Goes(Scenario(Kind::kCurrent), Partition(std::nullopt)) == Offset(200));
  // Retention passed it: the consumer is to hear of that, so it is not moved.
  CHECK(Goes(Scenario(Kind::kCurrent), Partition(50)) == Offset(50));
}

TEST_CASE("Reset plan: to an offset, moved to the nearer end if there is no such one",
          "[tools][reset]") {
  CHECK(Goes(Scenario(Kind::kOffset, 100), Partition(150)) == Offset(100));
  CHECK(Goes(Scenario(Kind::kOffset, 177), Partition(std::nullopt)) == Offset(177));
  CHECK(Goes(Scenario(Kind::kOffset, 200), Partition(150)) == Offset(200));
  CHECK(GoesWithWarning(Scenario(Kind::kOffset, 99), Partition(150), "offset 99 lies before") ==
        Offset(100));
  CHECK(GoesWithWarning(Scenario(Kind::kOffset, 201), Partition(150), "offset 201 lies after") ==
        Offset(200));
  CHECK(GoesWithWarning(Scenario(Kind::kOffset, -1), Partition(150), "-1") == Offset(100));
  CHECK(GoesWithWarning(Scenario(Kind::kOffset, kMost), Partition(150), "after") == Offset(200));
}

TEST_CASE("Reset plan: by a number of records from the commit", "[tools][reset]") {
  CHECK(Goes(Scenario(Kind::kShift, 10), Partition(150)) == Offset(160));
  CHECK(Goes(Scenario(Kind::kShift, -10), Partition(150)) == Offset(140));
  CHECK(Goes(Scenario(Kind::kShift, 0), Partition(150)) == Offset(150));
  CHECK(GoesWithWarning(Scenario(Kind::kShift, 51), Partition(150), "201") == Offset(200));
  CHECK(GoesWithWarning(Scenario(Kind::kShift, -51), Partition(150), "99") == Offset(100));
  CHECK(GoesWithWarning(Scenario(Kind::kShift, kMost), Partition(150), "after") == Offset(200));
  CHECK(GoesWithWarning(Scenario(Kind::kShift, -kMost), Partition(150), "before") == Offset(100));
}

TEST_CASE("Reset plan: without a commit there is nothing to shift by, and that is an error",
          "[tools][reset]") {
  const ResetPlan plan = Plan(Scenario(Kind::kShift, -5), Partition(std::nullopt));
  CHECK(plan.rows.empty());
  REQUIRE(plan.errors.size() == 1);
  CHECK(plan.errors.front() == "group g, t:0: there is no committed offset to shift by -5");
}

TEST_CASE("Reset plan: to a time, and to the end where no record is that late", "[tools][reset]") {
  ResetScenario scenario = Scenario(Kind::kTime);
  scenario.time = Timestamp(1'795'512'600'250);
  ResetPartition partition = Partition(150);
  partition.at_time = Offset(123);
  CHECK(Goes(scenario, partition) == Offset(123));
  partition.at_time.reset();
  CHECK(GoesWithWarning(scenario, partition, "2026-11-24T09:30:00.250Z") == Offset(200));
}

TEST_CASE("Reset plan: to where another group is, and not at all where it has no commit",
          "[tools][reset]") {
  ResetPartition partition = Partition(150);
  partition.given = Offset(120);
  CHECK(Goes(Scenario(Kind::kGroup), partition) == Offset(120));
  partition.given = Offset(20);
  CHECK(GoesWithWarning(Scenario(Kind::kGroup), partition, "20") == Offset(100));
  partition.given.reset();
  const ResetPlan plan = Plan(Scenario(Kind::kGroup), partition);
  CHECK(plan.rows.empty());
  CHECK(plan.errors.empty());
  CHECK(plan.warnings.size() == 1);
}

TEST_CASE("Reset plan: what a file says, within the log; none takes the commit away",
          "[tools][reset]") {
  ResetPartition partition = Partition(150);
  partition.given = Offset(120);
  CHECK(Goes(Scenario(Kind::kFile), partition) == Offset(120));
  partition.given = Offset(1000);
  CHECK(GoesWithWarning(Scenario(Kind::kFile), partition, "1000") == Offset(200));
  partition.given.reset();
  CHECK(Goes(Scenario(Kind::kFile), partition) == std::nullopt);
}

TEST_CASE("Reset plan: an undo puts back exactly what was there, or nothing", "[tools][reset]") {
  ResetPartition partition = Partition(150);
  partition.given = Offset(20);
  CHECK(Goes(Scenario(Kind::kUndo), partition) == Offset(20));
  partition.given.reset();
  CHECK(Goes(Scenario(Kind::kUndo), partition) == std::nullopt);
}

TEST_CASE("Reset plan: shows current, new and delta, in the order of the partitions",
          "[tools][reset]") {
  std::vector<ResetPartition> partitions = {Partition(150), Partition(std::nullopt),
                                            Partition(200)};
  for (std::int32_t i = 0; i < 3; ++i) {
    partitions[static_cast<std::size_t>(i)].partition = PartitionIndex(i);
  }
  const ResetPlan plan = PlanReset("g", Scenario(Kind::kOffset, 160), partitions);
  CHECK(plan.group == "g");
  CHECK(plan.rows == std::vector<ResetRow>{{"t", PartitionIndex(0), Offset(150), Offset(160)},
                                           {"t", PartitionIndex(1), std::nullopt, Offset(160)},
                                           {"t", PartitionIndex(2), Offset(200), Offset(160)}});
  CHECK(plan.rows[0].delta() == 10);
  CHECK(plan.rows[1].delta() == std::nullopt);
  CHECK(plan.rows[2].delta() == -40);
}

TEST_CASE("Reset plan: a partition that cannot be asked is an error, whatever the scenario",
          "[tools][reset]") {
  ResetPartition partition = Partition(150);
  partition.partition = PartitionIndex(7);
  partition.status = absl::NotFoundError("topic t has no partition 7");
  for (const Kind kind : {Kind::kEarliest, Kind::kLatest, Kind::kCurrent, Kind::kOffset,
                          Kind::kShift, Kind::kTime, Kind::kGroup, Kind::kFile, Kind::kUndo}) {
    const ResetPlan plan = PlanReset("g", Scenario(kind), {Partition(150), partition});
    REQUIRE(plan.errors.size() == 1);
    CHECK(plan.errors.front() == "group g, t:7: topic t has no partition 7");
  }
}

}  // namespace
}  // namespace cairn::tools
