#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "client/options.h"
#include "tools/cairn/offset_range.h"
#include "tools/cairn/record_printer.h"
#include "tools/cairn/session.h"

namespace cairn::tools {

// `consume -g`: as a member of a group.
struct GroupConsumption {
  std::string group;
  std::vector<std::string> topics;  // names and patterns
  std::string instance_id;          // empty: none
  std::optional<client::Duration> session_timeout;
  client::AutoOffsetReset begin;  // where nothing is committed, or what is committed is gone
  bool stop_at_end = false;       // once everything it holds is read to the end it had when it came
};

// Where a partition without a committed offset begins.
//   kInvalidArgument (a usage error)  a range that says more than that
absl::StatusOr<client::AutoOffsetReset> AutoOffsetResetOf(const OffsetRange& range);

// Prints until the reader leaves, enough is written or Ctrl-C; commits what was printed and leaves
// the group.
absl::StatusOr<int> ConsumeAsMember(const GroupConsumption& wanted, RecordPrinter& printer,
                                    Session& session);

}  // namespace cairn::tools
