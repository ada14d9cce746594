#include "tests/support/group_checker.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"

namespace cairn::test {
namespace {

constexpr std::int64_t kExamplesMax = 5;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

using Kind = GroupStep::Kind;

// One member's holding of one partition.
struct Hold {
  std::size_t actor = 0;
  std::int32_t partition = 0;
  std::int64_t from = 0;
  std::int64_t to = 0;  // it certainly held the partition until then
  std::optional<std::int64_t> first_offset = std::nullopt;
  std::int64_t next_offset = -1;
};

class GroupCheck {
 public:
  explicit GroupCheck(const GroupHistory& history)
      : history_(history), delivered_(history.ends.size()) {
    for (std::size_t p = 0; p < history.ends.size(); ++p) {
      delivered_[p].resize(static_cast<std::size_t>(history.ends[p]), kNever);
    }
  }

  GroupVerdict Run() {
    for (std::size_t i = 0; i < history_.actors.size(); ++i) FollowActor(i);
    CheckDelivered();
    CheckHolds();
    CheckEpochs();
    CheckCommits();
    CheckNotTooEarly();
    return std::move(verdict_);
  }

 private:
  template <typename... Arguments>
  void Find(GroupAnomaly anomaly, const absl::FormatSpec<Arguments...>& format,
            const Arguments&... arguments) {
    std::int64_t& count = verdict_.counts[static_cast<std::size_t>(anomaly)];
    if (++count > kExamplesMax) return;
    verdict_.examples.push_back(
        absl::StrFormat("%s: %s", NameOf(anomaly), absl::StrFormat(format, arguments...)));
  }
  const std::string& NameOfActor(std::size_t actor) const { return history_.actors[actor].name; }

  // ---- what each member was told ----

  void FollowActor(std::size_t place) {
    const GroupActor& actor = history_.actors[place];
    std::map<std::int32_t, Hold> held;
    for (const GroupStep& step : actor.steps) {
      const auto found = held.find(step.partition);
      if (step.kind == Kind::kGained) {
        if (found != held.end()) holds_.push_back(found->second);
        held.insert_or_assign(
            step.partition,
            Hold{.actor = place, .partition = step.partition, .from = step.time, .to = step.time});
        ++verdict_.holds;
      } else if (step.kind == Kind::kCommitted) {
        acknowledged_[step.partition].emplace_back(step.time, step.offset);
      } else if (found == held.end()) {
        if (step.kind == Kind::kRecord) {
          Find(GroupAnomaly::kNotHeld, "%s was given partition %d, offset %d", actor.name,
               step.partition, step.offset);
        }
      } else if (step.kind == Kind::kRecord) {
        Deliver(found->second, step);
      } else {
        // Somebody who was stopped may say so when it is long over.
        const bool is_exact = step.kind == Kind::kGivenUp && !actor.was_paused;
        if (is_exact) found->second.to = step.time;
        holds_.push_back(found->second);
        held.erase(found);
      }
    }
    for (const auto& [partition, hold] : held) holds_.push_back(hold);
  }

  void Deliver(Hold& hold, const GroupStep& step) {
    hold.to = std::max(hold.to, step.time);
    if (!hold.first_offset.has_value()) {
      hold.first_offset = step.offset;
    } else if (step.offset != hold.next_offset) {
      Find(step.offset > hold.next_offset ? GroupAnomaly::kSkipped : GroupAnomaly::kRepeated,
           "%s was given partition %d, offset %d where %d was next", NameOfActor(hold.actor),
           step.partition, step.offset, hold.next_offset);
    }
    hold.next_offset = step.offset + 1;
    ++verdict_.delivered;
    std::vector<std::int64_t>& delivered = delivered_[static_cast<std::size_t>(step.partition)];
    const auto offset = static_cast<std::size_t>(step.offset);
    if (offset >= delivered.size()) delivered.resize(offset + 1, kNever);
    if (delivered[offset] != kNever) ++verdict_.repeats;
    delivered[offset] = std::min(delivered[offset], step.time);
  }

  void CheckDelivered() {
    for (std::size_t p = 0; p < delivered_.size(); ++p) {
      for (std::size_t offset = 0; offset < delivered_[p].size(); ++offset) {
        if (delivered_[p][offset] != kNever) continue;
        Find(GroupAnomaly::kNotDelivered, "partition %d, offset %d", p, offset);
      }
    }
  }

  // ---- who held what at the same time ----

  void CheckHolds() {
    std::sort(holds_.begin(), holds_.end(), [](const Hold& a, const Hold& b) {
      return std::pair(a.partition, a.from) < std::pair(b.partition, b.from);
    });
    const Hold* longest = nullptr;  // of those before, in this partition
    for (const Hold& hold : holds_) {
      if (longest == nullptr || longest->partition != hold.partition) {
        longest = &hold;
        continue;
      }
      if (hold.from < longest->to && hold.actor != longest->actor) {
        Find(GroupAnomaly::kTwoOwners, "%s gained partition %d %d us before %s let go of it",
             NameOfActor(hold.actor), hold.partition, (longest->to - hold.from) / 1000,
             NameOfActor(longest->actor));
      }
      if (hold.to > longest->to) longest = &hold;
    }
  }

  void CheckEpochs() {
    std::map<std::pair<std::int32_t, std::int64_t>, const GroupSight*> owners;
    for (const GroupSight& sight : history_.sights) {
      if (sight.owner.empty()) continue;
      const auto [known, is_new] = owners.try_emplace({sight.partition, sight.epoch}, &sight);
      if (is_new || known->second->owner == sight.owner) continue;
      Find(GroupAnomaly::kTwoOwners, "partition %d has %s and %s under epoch %d", sight.partition,
           known->second->owner, sight.owner, sight.epoch);
    }
  }

  // ---- what was committed ----

  // The highest offset known to be committed before a time, partition by partition.
  class Highest {
   public:
    void Add(std::int64_t time, std::int64_t offset) { known_.emplace_back(time, offset); }
    void Prepare() {
      std::sort(known_.begin(), known_.end());
      std::int64_t highest = -1;
      for (auto& [time, offset] : known_) offset = highest = std::max(highest, offset);
    }
    std::int64_t Before(std::int64_t time) const {
      const auto after = std::lower_bound(known_.begin(), known_.end(), std::pair(time, -1L));
      return after == known_.begin() ? -1 : std::prev(after)->second;
    }

   private:
    std::vector<std::pair<std::int64_t, std::int64_t>> known_;
  };

  void CheckCommits() {
    std::map<std::int32_t, Highest> seen, acknowledged;
    for (const GroupSight& sight : history_.sights) {
      ++verdict_.sights;
      seen[sight.partition].Add(sight.returned, sight.committed);
    }
    for (const auto& [partition, known] : acknowledged_) {
      for (const auto& [time, offset] : known) acknowledged[partition].Add(time, offset);
    }
    for (auto& [partition, known] : seen) known.Prepare();
    for (auto& [partition, known] : acknowledged) known.Prepare();
    for (const GroupSight& sight : history_.sights) {
      const std::int64_t before = seen[sight.partition].Before(sight.invoked);
      if (sight.committed < before) {
        Find(GroupAnomaly::kCommitBackward, "partition %d: %d after %d", sight.partition,
             sight.committed, before);
      }
      const std::int64_t promised = acknowledged[sight.partition].Before(sight.invoked);
      if (sight.committed < promised) {
        Find(GroupAnomaly::kCommitLost, "partition %d: %d though %d was acknowledged",
             sight.partition, sight.committed, promised);
      }
    }
    for (const Hold& hold : holds_) {
      // An assignment says what was committed when it was given out. That is not long before it is
      // gained, and whoever had the partition could commit no more by then.
      const std::int64_t before = seen[hold.partition].Before(hold.from);
      if (!hold.first_offset.has_value() || *hold.first_offset >= before) continue;
      Find(GroupAnomaly::kCommitIgnored, "%s began partition %d at %d though %d was committed",
           NameOfActor(hold.actor), hold.partition, *hold.first_offset, before);
    }
  }

  // What is committed is processed: each record before it had been handed out by then.
  void CheckNotTooEarly() {
    std::vector<std::vector<std::int64_t>> all_by = delivered_;  // this record and those before
    for (std::vector<std::int64_t>& times : all_by) {
      for (std::size_t i = 1; i < times.size(); ++i) times[i] = std::max(times[i], times[i - 1]);
    }
    for (const GroupSight& sight : history_.sights) {
      if (sight.committed <= 0) continue;
      const std::vector<std::int64_t>& times = all_by[static_cast<std::size_t>(sight.partition)];
      const auto last = static_cast<std::size_t>(sight.committed - 1);
      if (last < times.size() && times[last] < sight.returned) continue;
      Find(GroupAnomaly::kCommitTooEarly, "partition %d, offset %d", sight.partition,
           sight.committed);
    }
  }

  const GroupHistory& history_;
  GroupVerdict verdict_;
  std::vector<Hold> holds_;
  std::vector<std::vector<std::int64_t>> delivered_;  // [partition][offset]: when first
  // By partition: when, and what.
  std::map<std::int32_t, std::vector<std::pair<std::int64_t, std::int64_t>>> acknowledged_;
};

}  // namespace

std::string_view NameOf(GroupAnomaly anomaly) {
  switch (anomaly) {
    case GroupAnomaly::kTwoOwners:
      return "two owners";
    case GroupAnomaly::kNotDelivered:
      return "not delivered";
    case GroupAnomaly::kSkipped:
      return "skipped";
    case GroupAnomaly::kRepeated:
      return "repeated";
    case GroupAnomaly::kCommitBackward:
      return "commit went backward";
    case GroupAnomaly::kCommitLost:
      return "commit lost";
    case GroupAnomaly::kCommitIgnored:
      return "commit ignored";
    case GroupAnomaly::kCommitTooEarly:
      return "commit before delivery";
    case GroupAnomaly::kNotHeld:
      return "not held";
  }
  return "?";
}

bool GroupVerdict::clean() const {
  return std::all_of(counts.begin(), counts.end(), [](std::int64_t count) { return count == 0; });
}

std::string GroupVerdict::Text() const {
  std::string text = absl::StrFormat(
      "%d records delivered, %d of them again; partitions changed hands %d times; %d sights\n",
      delivered, repeats, holds, sights);
  for (std::size_t i = 0; i < kGroupAnomalies; ++i) {
    if (counts[i] == 0) continue;
    absl::StrAppendFormat(&text, "  %s: %d times\n", NameOf(static_cast<GroupAnomaly>(i)),
                          counts[i]);
  }
  for (const std::string& example : examples) absl::StrAppendFormat(&text, "    %s\n", example);
  return text;
}

GroupVerdict CheckGroupHistory(const GroupHistory& history) { return GroupCheck(history).Run(); }

}  // namespace cairn::test
