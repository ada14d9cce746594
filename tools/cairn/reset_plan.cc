#include "tools/cairn/reset_plan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"

#include "tools/cairn/time_text.h"

namespace cairn::tools {
namespace {

std::int64_t SaturatingSum(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < 0 ? std::numeric_limits<std::int64_t>::min()
               : std::numeric_limits<std::int64_t>::max();
}

// Plans partition after partition of one group.
class Planner {
 public:
  Planner(std::string group, const ResetScenario& scenario) : scenario_(scenario) {
    plan_.group = std::move(group);
  }

  void Add(const ResetPartition& partition) {
    if (!partition.status.ok()) return Fail(partition, std::string(partition.status.message()));
    switch (scenario_.kind) {
      case ResetScenario::Kind::kEarliest:
        return Move(partition, partition.log_start);
      case ResetScenario::Kind::kLatest:
        return Move(partition, partition.log_end);
      case ResetScenario::Kind::kCurrent:
        return Move(partition, partition.committed.value_or(partition.log_end));
      case ResetScenario::Kind::kOffset:
        return MoveWithin(partition, scenario_.value);
      case ResetScenario::Kind::kShift:
        return Shift(partition);
      case ResetScenario::Kind::kTime:
        return MoveToTime(partition);
      case ResetScenario::Kind::kGroup:
        return MoveToGroup(partition);
      case ResetScenario::Kind::kFile:
        if (!partition.given.has_value()) return Move(partition, std::nullopt);
        return MoveWithin(partition, partition.given->value());
      case ResetScenario::Kind::kUndo:
        return Move(partition, partition.given);
    }
  }

  ResetPlan Take() { return std::move(plan_); }

 private:
  void Move(const ResetPartition& partition, std::optional<Offset> next) {
    plan_.rows.push_back({partition.topic, partition.partition, partition.committed, next});
  }

  void MoveWithin(const ResetPartition& partition, std::int64_t wanted) {
    const std::int64_t next =
        std::clamp(wanted, partition.log_start.value(), partition.log_end.value());
    if (next != wanted) {
      Warn(partition, absl::StrFormat(
                          "offset %d lies %s the log, which has %d up to, without, %d; %d is taken",
                          wanted, wanted < next ? "before" : "after", partition.log_start.value(),
                          partition.log_end.value(), next));
    }
    Move(partition, Offset(next));
  }

  void Shift(const ResetPartition& partition) {
    if (!partition.committed.has_value()) {
      return Fail(partition,
                  absl::StrFormat("there is no committed offset to shift by %+d", scenario_.value));
    }
    MoveWithin(partition, SaturatingSum(partition.committed->value(), scenario_.value));
  }

  void MoveToTime(const ResetPartition& partition) {
    if (!partition.at_time.has_value()) {
      Warn(partition, absl::StrFormat("there is no record at or after %s; the end, %d, is taken",
                                      FormatTime(scenario_.time), partition.log_end.value()));
    }
    Move(partition, partition.at_time.value_or(partition.log_end));
  }

  void MoveToGroup(const ResetPartition& partition) {
    if (!partition.given.has_value()) {
      return Warn(partition,
                  "the other group has no committed offset; this one's is left as it is");
    }
    MoveWithin(partition, partition.given->value());
  }

  std::string Line(const ResetPartition& partition, const std::string& what) const {
    return absl::StrFormat("group %s, %s:%d: %s", plan_.group, partition.topic,
                           partition.partition.value(), what);
  }
  void Warn(const ResetPartition& partition, const std::string& what) {
    plan_.warnings.push_back(Line(partition, what));
  }
  void Fail(const ResetPartition& partition, const std::string& what) {
    plan_.errors.push_back(Line(partition, what));
  }

  const ResetScenario& scenario_;
  ResetPlan plan_;
};

}  // namespace

std::optional<std::int64_t> ResetRow::delta() const {
  if (!current.has_value() || !next.has_value()) return std::nullopt;
  return *next - *current;
}

ResetPlan PlanReset(const std::string& group, const ResetScenario& scenario,
                    const std::vector<ResetPartition>& partitions) {
  Planner planner(group, scenario);
  for (const ResetPartition& partition : partitions) planner.Add(partition);
  return planner.Take();
}

}  // namespace cairn::tools
