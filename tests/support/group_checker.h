#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/group_history.h"

namespace cairn::test {

// What a group's history must not show.
enum class GroupAnomaly {
  kTwoOwners,       // of a partition, under one epoch, or at one time
  kNotDelivered,    // a record that nobody was given
  kSkipped,         // a member was led past an offset of a partition that it held all the time
  kRepeated,        // or was given one again
  kCommitBackward,  // a committed offset was lower than before
  kCommitLost,      // or lower than one that was acknowledged before
  kCommitIgnored,   // a member began below what had been committed before
  kCommitTooEarly,  // committed, though nobody had been given the records before
  kNotHeld,         // a record of a partition that the member did not hold
};
inline constexpr std::size_t kGroupAnomalies = 9;

std::string_view NameOf(GroupAnomaly anomaly);

struct GroupVerdict {
  std::array<std::int64_t, kGroupAnomalies> counts{};
  std::vector<std::string> examples;  // the first few of each, in words

  std::int64_t holds = 0;      // partitions gained
  std::int64_t delivered = 0;  // records
  std::int64_t repeats = 0;    // of those, delivered before
  std::int64_t sights = 0;

  std::int64_t count(GroupAnomaly anomaly) const {
    return counts[static_cast<std::size_t>(anomaly)];
  }
  bool clean() const;
  // The counts in a line, and what was found.
  std::string Text() const;
};

// Checks the whole history. Pure.
GroupVerdict CheckGroupHistory(const GroupHistory& history);

}  // namespace cairn::test
