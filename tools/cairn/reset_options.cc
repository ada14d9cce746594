#include "tools/cairn/reset_options.h"

#include <charconv>
#include <cstdint>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "protocol/group_name.h"
#include "protocol/status.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

using Kind = ResetScenario::Kind;

constexpr std::chrono::milliseconds kTimeoutMax = std::chrono::hours(24);

struct Choice {
  const char* flag;
  bool given;
  Kind kind;
};

std::vector<Choice> ChoicesOf(const ResetOptions& options) {
  return {{"--to-earliest", options.to_earliest, Kind::kEarliest},
          {"--to-latest", options.to_latest, Kind::kLatest},
          {"--to-current", options.to_current, Kind::kCurrent},
          {"--to-offset", options.to_offset.has_value(), Kind::kOffset},
          {"--shift-by", options.shift_by.has_value(), Kind::kShift},
          {"--to-datetime", options.to_datetime.has_value(), Kind::kTime},
          {"--by-duration", options.by_duration.has_value(), Kind::kTime},
          {"--to-group", options.to_group.has_value(), Kind::kGroup},
          {"--from-file", options.from_file.has_value(), Kind::kFile},
          {"--undo", options.undo, Kind::kUndo}};
}

absl::StatusOr<Choice> OnlyChoice(const ResetOptions& options) {
  std::vector<std::string> all, given;
  Choice chosen{};
  for (const Choice& choice : ChoicesOf(options)) {
    all.emplace_back(choice.flag);
    if (!choice.given) continue;
    given.emplace_back(choice.flag);
    chosen = choice;
  }
  if (given.size() == 1) return chosen;
  if (given.empty()) {
    return UsageError(absl::StrFormat("where to? Give one of %s", absl::StrJoin(all, ", ")));
  }
  return UsageError(
      absl::StrFormat("%s contradict each other; give one", absl::StrJoin(given, " and ")));
}

absl::StatusOr<std::int64_t> ParseNumber(std::string_view flag, std::string_view text) {
  std::string_view digits = text;
  if (digits.size() > 1 && digits.front() == '+' && digits[1] != '-') digits.remove_prefix(1);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return UsageError(absl::StrFormat("%s %s: this is not a whole number", flag, text));
  }
  return number;
}

absl::StatusOr<ResetScenario> ScenarioOf(const ResetOptions& options, Timestamp now) {
  ASSIGN_OR_RETURN(const Choice choice, OnlyChoice(options));
  ResetScenario scenario;
  scenario.kind = choice.kind;
  scenario.what = choice.flag;
  if (options.to_group.has_value()) {
    RETURN_IF_ERROR(AsUsageError(CheckGroupName(*options.to_group)));
  }
  if (options.to_offset.has_value()) {
    ASSIGN_OR_RETURN(scenario.value, ParseNumber(choice.flag, *options.to_offset));
    scenario.what += absl::StrFormat(" %d", scenario.value);
  } else if (options.shift_by.has_value()) {
    ASSIGN_OR_RETURN(scenario.value, ParseNumber(choice.flag, *options.shift_by));
    scenario.what += absl::StrFormat(" %+d", scenario.value);
  } else if (options.to_datetime.has_value()) {
    ASSIGN_OR_RETURN(scenario.time, ParseTime(*options.to_datetime, now));
    scenario.what += ' ' + FormatTime(scenario.time);
  } else if (options.by_duration.has_value()) {
    ASSIGN_OR_RETURN(const std::chrono::milliseconds span, ParseDuration(*options.by_duration));
    if (span.count() > now.value()) {
      return UsageError(
          absl::StrFormat("%s %s: that was before 1970", choice.flag, *options.by_duration));
    }
    scenario.time = now - span.count();
    scenario.what += absl::StrFormat(" %s (%s)", *options.by_duration, FormatTime(scenario.time));
  } else if (options.to_group.has_value() || options.from_file.has_value()) {
    scenario.source = options.to_group.has_value() ? *options.to_group : *options.from_file;
    scenario.what += ' ' + scenario.source;
  }
  return scenario;
}

absl::StatusOr<TopicScopes> ScopeOf(const ResetOptions& options, Kind kind) {
  const bool named = !options.topics.empty() || options.all_topics;
  if (!options.topics.empty() && options.all_topics) {
    return UsageError("--topic and --all-topics contradict each other; give one");
  }
  if (kind == Kind::kUndo && named) {
    return UsageError(
        "--undo takes back the whole of a group's last reset; leave --topic and --all-topics out");
  }
  if (!named && kind != Kind::kUndo && kind != Kind::kFile) {
    return UsageError("which topics? Give --topic TOPIC, --topic TOPIC:0,1 or --all-topics");
  }
  return ParseTopicScopes(options.topics);
}

absl::StatusOr<std::vector<std::string>> GroupsOf(const ResetOptions& options) {
  if (options.groups.empty() != options.all_groups) {
    return UsageError(options.all_groups
                          ? "groups are named and --all-groups is given; it can only be one"
                          : "which groups? Name them, or give --all-groups");
  }
  std::vector<std::string> groups;
  std::set<std::string> seen;
  for (const std::string& group : options.groups) {
    RETURN_IF_ERROR(AsUsageError(CheckGroupName(group)));
    if (seen.insert(group).second) groups.push_back(group);
  }
  return groups;
}

}  // namespace

absl::StatusOr<ResetTask> ParseResetOptions(const ResetOptions& options, Timestamp now) {
  ResetTask task;
  ASSIGN_OR_RETURN(task.groups, GroupsOf(options));
  ASSIGN_OR_RETURN(task.scenario, ScenarioOf(options, now));
  ASSIGN_OR_RETURN(task.topics, ScopeOf(options, task.scenario.kind));
  if (options.dry_run && options.execute) {
    return UsageError("--dry-run and --execute contradict each other; give one");
  }
  if (!options.execute && (options.force || options.timeout.has_value())) {
    return UsageError("--force and --timeout say how to wait for members: they need --execute");
  }
  if (options.timeout.has_value()) {
    ASSIGN_OR_RETURN(task.timeout, ParseTimeout(*options.timeout));
    if (task.timeout > kTimeoutMax) {
      return UsageError(absl::StrFormat("--timeout %s is longer than a day", *options.timeout));
    }
  }
  task.execute = options.execute;
  task.force = options.force;
  task.export_csv = options.export_csv;
  return task;
}

}  // namespace cairn::tools
