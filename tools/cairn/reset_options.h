#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "tools/cairn/reset_plan.h"
#include "tools/cairn/topic_scope.h"

namespace cairn::tools {

// `reset-offsets` as it stands on the command line.
struct ResetOptions {
  std::vector<std::string> groups;
  bool all_groups = false;
  std::vector<std::string> topics;
  bool all_topics = false;

  bool to_earliest = false, to_latest = false, to_current = false, undo = false;
  std::optional<std::string> to_offset, shift_by, to_datetime, by_duration, to_group, from_file;

  bool dry_run = false, execute = false, force = false, export_csv = false;
  std::optional<std::string> timeout;
};

// What it asks for.
struct ResetTask {
  std::vector<std::string> groups;  // none: all
  TopicScopes topics;               // none: all that the group has to do with
  ResetScenario scenario;
  bool execute = false;
  bool force = false;
  std::chrono::milliseconds timeout{60'000};
  bool export_csv = false;
};

//   kInvalidArgument (a usage error)  not exactly one scenario, no groups or no topics, values that
//                                     are none, options that contradict each other
absl::StatusOr<ResetTask> ParseResetOptions(const ResetOptions& options, Timestamp now);

}  // namespace cairn::tools
