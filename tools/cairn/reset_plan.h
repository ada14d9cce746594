#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "protocol/types.h"

namespace cairn::tools {

// Where a reset moves a group's offsets to.
struct ResetScenario {
  enum class Kind {
    kEarliest,
    kLatest,
    kCurrent,  // where it is; the end where nothing is committed
    kOffset,
    kShift,
    kTime,   // the first record at or after a time
    kGroup,  // where another group is
    kFile,
    kUndo,  // what the last reset replaced
  };

  Kind kind = Kind::kEarliest;
  std::string what;        // for the history: "--to-offset 100"
  std::int64_t value = 0;  // kOffset: the offset, kShift: how far
  Timestamp time;          // kTime
  std::string source;      // kGroup: that group, kFile: the file
};

// A partition in scope, and what is known of it.
struct ResetPartition {
  std::string topic;
  PartitionIndex partition;
  absl::Status status;  // not OK: nothing else is known
  Offset log_start, log_end;
  std::optional<Offset> committed;  // nothing: the group has no commit
  std::optional<Offset> at_time;    // kTime; nothing: no record is that late
  std::optional<Offset>
      given;  // kGroup, kFile, kUndo: to go there; nothing: no commit stands there
};

struct ResetRow {
  std::string topic;
  PartitionIndex partition;
  std::optional<Offset> current;  // nothing: no commit
  std::optional<Offset> next;     // nothing: the commit is taken away

  std::optional<std::int64_t> delta() const;  // nothing unless there are both

  friend bool operator==(const ResetRow&, const ResetRow&) = default;
};

// What a reset of one group would do. With errors it must not be done: all move or none.
struct ResetPlan {
  std::string group;
  std::vector<ResetRow> rows;         // in the order of the partitions; those that can move
  std::vector<std::string> warnings;  // each names its partition
  std::vector<std::string> errors;
};

// The rules of kafka-consumer-groups: an offset outside of the log is moved to its nearer end, with
// a warning (not for kCurrent and kUndo, which put back what was committed); kShift without a
// commit is an error, kCurrent without one is the log's end; kTime beyond the last record is the
// end, with a warning. kGroup leaves alone what the other group has not committed, with a warning.
ResetPlan PlanReset(const std::string& group, const ResetScenario& scenario,
                    const std::vector<ResetPartition>& partitions);

}  // namespace cairn::tools
