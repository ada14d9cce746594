#include "tools/cairn/group_reset.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "protocol/error_code.h"
#include "protocol/status.h"
#include "tools/cairn/offset_csv.h"
#include "tools/cairn/reset_facts.h"
#include "tools/cairn/reset_options.h"
#include "tools/cairn/reset_plan.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr char kExamples[] =
    "Shows CURRENT-OFFSET, NEW-OFFSET and DELTA, and does nothing without --execute. All "
    "partitions "
    "of a group\n"
    "move, or none. A group may have members: they let go of the partitions, and go on at the new "
    "offsets.\n"
    "An offset outside of the log becomes its nearer end, with a warning. A group that is not "
    "there "
    "comes into\n"
    "being, except with --shift-by, for which there must be a commit.\n"
    "TIME: 2026-11-24T09:30:00Z, 2026-11-24, @UNIX-MS or a span back such as -48h; without a zone "
    "UTC.\n"
    "DURATION: P1DT12H, PT30M, or 36h, 1h30m.\n"
    "CSV: topic,partition,offset for one group, group,topic,partition,offset for several; - is "
    "stdin.\n"
    "\n"
    "Examples:\n"
    "  cairn group reset-offsets billing --topic orders --to-datetime -1h\n"
    "  cairn group reset-offsets billing --topic orders --to-datetime -1h --execute\n"
    "  cairn group reset-offsets billing --undo --execute\n"
    "  cairn group reset-offsets billing --topic orders:0,3 --shift-by -100\n"
    "  cairn group reset-offsets canary --all-topics --to-group billing\n"
    "  cairn group reset-offsets --all-groups --all-topics --to-current --export > offsets.csv\n"
    "  cairn group reset-offsets --all-groups --from-file offsets.csv --execute";

// A group's plan, and what goes with it.
struct PlannedGroup {
  ResetPlan plan;
  bool is_held = false;  // a member has to let go
  std::int64_t undoes = 0;
  std::string what;  // for the history

  bool possible() const { return plan.errors.empty(); }
};

// Not of the broker or the way to it: the plans of other groups can be made.
bool IsAboutGroup(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsOutOfRange(status) ||
         absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status);
}

// One run of the command.
class Resetter {
 public:
  Resetter(const ResetTask& task, Session& session, client::Admin ask)
      : task_(task), session_(session), facts_(std::move(ask), task) {}

  absl::StatusOr<int> Run() {
    RETURN_IF_ERROR(facts_.Prepare());
    ASSIGN_OR_RETURN(const std::vector<std::string> groups, facts_.Groups());
    if (groups.empty()) Session::Say("cairn: there are no groups");
    for (const std::string& group : groups) {
      ASSIGN_OR_RETURN(std::optional<PlannedGroup> planned, Plan(group));
      if (planned.has_value()) planned_.push_back(*std::move(planned));
    }
    RETURN_IF_ERROR(Show());
    if (task_.execute) RETURN_IF_ERROR(Execute());
    return exit_code_;
  }

 private:
  // Nothing: of all groups this one has nothing that could be moved.
  absl::StatusOr<std::optional<PlannedGroup>> Plan(const std::string& group) {
    PlannedGroup planned;
    planned.plan.group = group;
    planned.what = task_.scenario.what;
    auto facts = facts_.Find(group);
    if (HasNothingToUndo(facts.status())) return LeaveOut(group, "it has no reset to take back");
    if (IsAboutGroup(facts.status())) {
      planned.plan.errors.push_back(WhyNot(facts.status()));
      return planned;
    }
    RETURN_IF_ERROR(facts.status());
    planned.plan = PlanReset(group, task_.scenario, facts->partitions);
    planned.is_held = facts->is_held;
    if (facts->undone.has_value()) TakeUndo(*facts->undone, planned);
    for (const std::string& line : facts->errors) {
      planned.plan.errors.push_back(absl::StrFormat("group %s: %s", group, line));
    }
    for (const std::string& line : facts->warnings) {
      planned.plan.warnings.push_back(absl::StrFormat("group %s: %s", group, line));
    }
    if (planned.plan.rows.empty() && planned.possible()) {
      if (task_.groups.empty()) return LeaveOut(group, WhyNothing());
      planned.plan.errors.push_back(absl::StrFormat("group %s: %s", group, WhyNothing()));
    }
    return planned;
  }

  bool HasNothingToUndo(const absl::Status& status) const {
    return task_.groups.empty() && task_.scenario.kind == ResetScenario::Kind::kUndo &&
           absl::IsOutOfRange(status);
  }

  static std::optional<PlannedGroup> LeaveOut(const std::string& group, const std::string& why) {
    Session::Say(absl::StrFormat("group %s: left out: %s", group, why));
    return std::nullopt;
  }

  static void TakeUndo(const client::GroupResetSummary& undone, PlannedGroup& planned) {
    planned.undoes = undone.number;
    planned.what = absl::StrFormat("--undo of %d (%s)", undone.number, undone.what);
    Session::Say(absl::StrFormat("group %s: takes back reset %d (%s) of %s", planned.plan.group,
                                 undone.number, undone.what, FormatTime(undone.at)));
  }

  std::string WhyNothing() const {
    switch (task_.scenario.kind) {
      case ResetScenario::Kind::kFile:
        return absl::StrFormat("%s has no line for it", task_.scenario.source);
      case ResetScenario::Kind::kGroup:
        return absl::StrFormat("group %s has committed nothing there", task_.scenario.source);
      case ResetScenario::Kind::kUndo:
        return "the topics of its last reset were deleted";
      default:
        return "it has no committed offsets and no partitions; name topics with --topic";
    }
  }

  // Everything is on its way to the reader before anything is done.
  absl::Status Show() {
    ShowTime();
    Table table({"group", "topic", "partition", "current_offset", "new_offset", "delta"});
    for (const PlannedGroup& planned : planned_) AddRows(planned.plan, table);
    if (task_.export_csv) {
      std::string text;
      table.AppendText(text);
      text.pop_back();
      Session::Say(text);
      session_.output.Write(Csv());
    } else {
      session_.Print(table);
    }
    RETURN_IF_ERROR(session_.output.Flush());
    for (const PlannedGroup& planned : planned_) {
      for (const std::string& line : planned.plan.warnings) Session::Say("warning: " + line);
      for (const std::string& line : planned.plan.errors) Fail(line);
    }
    if (!task_.execute) Session::Say("dry run: nothing was changed; " + WhatExecuteDoes());
    return absl::OkStatus();
  }

  std::string WhatExecuteDoes() const {
    const auto possible = std::count_if(planned_.begin(), planned_.end(),
                                        [](const auto& each) { return each.possible(); });
    const auto all = static_cast<std::int64_t>(planned_.size());
    if (possible == all && all > 0) return "--execute does it";
    if (possible == 0) return "nor would --execute change anything";
    return absl::StrFormat("--execute moves %d of %d groups, and fails for the others", possible,
                           all);
  }

  void ShowTime() const {
    if (task_.scenario.kind != ResetScenario::Kind::kTime) return;
    Session::Say(absl::StrFormat("new offset: the first record at or after %s (UTC)",
                                 FormatTime(task_.scenario.time)));
  }

  static void AddRows(const ResetPlan& plan, Table& table) {
    const auto cell = [](std::optional<Offset> offset) {
      return offset.has_value() ? Cell(offset->value()) : Cell();
    };
    for (const ResetRow& row : plan.rows) {
      const auto delta = row.delta();
      table.AddRow({plan.group, row.topic, row.partition.value(), cell(row.current), cell(row.next),
                    delta.has_value() ? Cell(*delta) : Cell()});
    }
  }

  // Without the groups that cannot be reset: a part of one is no plan.
  std::string Csv() const {
    std::vector<OffsetLine> lines;
    for (const PlannedGroup& planned : planned_) {
      if (!planned.possible()) continue;
      for (const ResetRow& row : planned.plan.rows) {
        lines.push_back({planned.plan.group, row.topic, row.partition, row.next});
      }
    }
    return ToOffsetCsv(
        lines, task_.groups.size() == 1 ? OffsetCsvShape::kOneGroup : OffsetCsvShape::kGroups);
  }

  absl::Status Execute() {
    ASSIGN_OR_RETURN(client::Admin admin, session_.Change());
    for (const PlannedGroup& planned : planned_) {
      if (planned.possible()) {
        ExecuteOne(planned, admin);
      } else {
        Session::Say(absl::StrFormat("group %s: nothing was moved", planned.plan.group));
      }
    }
    return absl::OkStatus();
  }

  void ExecuteOne(const PlannedGroup& planned, client::Admin& admin) {
    const std::string& group = planned.plan.group;
    if (planned.is_held && !task_.force) {
      Session::Say(absl::StrFormat(
          "group %s: its members let go of the partitions first; waiting for %s at most", group,
          WaitText()));
    }
    const auto request = RequestFor(planned);
    const auto done = request.ok() ? admin.ResetOffsets(*request) : request.status();
    if (!done.ok()) return Fail(absl::StrFormat("group %s: %s", group, WhyNot(done.status())));
    TellMoved(planned, *done);
    if (done->number == 0) {
      return Session::Say(
          absl::StrFormat("group %s: nothing was moved: its offsets stood there already", group));
    }
    std::string line = absl::StrFormat("group %s: moved %d partition%s (reset %d)", group,
                                       planned.plan.rows.size(),
                                       planned.plan.rows.size() == 1 ? "" : "s", done->number);
    if (planned.undoes == 0) {
      line += absl::StrFormat("; 'cairn group reset-offsets %s --undo' takes it back", group);
    }
    Session::Say(line);
  }

  absl::StatusOr<client::GroupResetRequest> RequestFor(const PlannedGroup& planned) const {
    client::GroupResetRequest request;
    request.group = planned.plan.group;
    for (const ResetRow& row : planned.plan.rows) {
      const auto id = facts_.IdOf(row.topic);
      if (!id.has_value())
        return absl::AbortedError(
            absl::StrFormat("topic %s was created meanwhile; try again", row.topic));
      request.changes.push_back({*id, row.partition, row.current, row.next});
    }
    request.what = planned.what;
    request.force = task_.force;
    request.wait = task_.timeout;
    request.undoes = planned.undoes;
    return request;
  }

  // Members went on between the look and the reset: --undo goes back to where they really were.
  void TellMoved(const PlannedGroup& planned, const client::GroupReset& done) const {
    std::map<TopicPartition, std::optional<Offset>> shown;
    for (const ResetRow& row : planned.plan.rows) {
      shown[{facts_.IdOf(row.topic).value_or(TopicId()), row.partition}] = row.current;
    }
    const auto moved = std::count_if(
        done.changes.begin(), done.changes.end(), [&](const client::GroupOffsetChange& change) {
          const auto row = shown.find({change.topic, change.partition});
          return row != shown.end() && row->second != change.old_offset;
        });
    if (moved == 0) return;
    Session::Say(absl::StrFormat(
        "group %s: its members had moved on since CURRENT-OFFSET was shown, in %d of %d partitions",
        planned.plan.group, moved, planned.plan.rows.size()));
  }

  std::string WaitText() const {
    return absl::StrFormat("%g s", static_cast<double>(task_.timeout.count()) / 1000);
  }

  // What a broker that answered says needs no hint about brokers that do not.
  std::string WhyNot(const absl::Status& status) const {
    const absl::Status explained =
        absl::IsDeadlineExceeded(status) ? status : session_.Explain(status);
    return std::string(explained.message());
  }

  void Fail(const std::string& line) {
    Session::Say("cairn: " + line);
    exit_code_ = kExitFailed;
  }

  const ResetTask& task_;
  Session& session_;
  ResetFacts facts_;
  std::vector<PlannedGroup> planned_;
  int exit_code_ = kExitOk;
};

absl::StatusOr<int> ResetOffsets(const ResetOptions& options, Session& session) {
  ASSIGN_OR_RETURN(const ResetTask task, ParseResetOptions(options, session.now));
  ASSIGN_OR_RETURN(client::Admin ask, session.Ask());
  return Resetter(task, session, std::move(ask)).Run();
}

void AddScope(CLI::App& command, ResetOptions& options) {
  command.add_option("groups", options.groups, "The groups")->type_name("GROUP");
  command.add_flag("--all-groups", options.all_groups, "All groups there are");
  command.add_option("--topic", options.topics, "A topic or some partitions; may be repeated")
      ->type_name("TOPIC[:P,…]")
      ->expected(1)
      ->take_all();
  command.add_flag("--all-topics", options.all_topics,
                   "All that the group has committed or its members hold");
}

void AddScenarios(CLI::App& command, ResetOptions& options) {
  constexpr char kGroup[] = "Where to (one of these)";
  command.add_flag("--to-earliest", options.to_earliest, "The log's start")->group(kGroup);
  command.add_flag("--to-latest", options.to_latest, "The log's end")->group(kGroup);
  command.add_flag("--to-current", options.to_current, "Where it is; without a commit the end")
      ->group(kGroup);
  const auto add = [&](const char* name, std::optional<std::string>& value, const char* what,
                       const char* type) {
    command
        .add_option_function<std::string>(
            name, [&value](const std::string& text) { value = text; }, what)
        ->type_name(type)
        ->group(kGroup);
  };
  add("--to-offset", options.to_offset, "This offset", "N");
  add("--shift-by", options.shift_by, "So many records on, or back", "±N");
  add("--to-datetime", options.to_datetime, "The first record at or after this time", "TIME");
  add("--by-duration", options.by_duration, "The same, so long before now", "DURATION");
  add("--to-group", options.to_group, "Where another group is", "GROUP");
  add("--from-file", options.from_file, "Where a file says", "CSV");
  command.add_flag("--undo", options.undo, "What the last reset replaced")->group(kGroup);
}

void AddMode(CLI::App& command, ResetOptions& options) {
  command.add_flag("--dry-run", options.dry_run, "Only show it; this is the default");
  command.add_flag("--execute", options.execute, "Do it");
  command.add_flag("--force", options.force, "Do not wait for members to let go");
  command
      .add_option_function<std::string>(
          "--timeout", [&options](const std::string& text) { options.timeout = text; },
          "How long to wait for them; default 60s")
      ->type_name("DURATION");
  command.add_flag("--export", options.export_csv, "Write the new offsets as CSV to stdout");
}

}  // namespace

void AddResetOffsets(CLI::App& group, Run& chosen) {
  auto options = std::make_shared<ResetOptions>();
  CLI::App* command =
      group.add_subcommand("reset-offsets", "Move the offsets of groups, running ones too");
  command->footer(kExamples);
  AddScope(*command, *options);
  AddScenarios(*command, *options);
  AddMode(*command, *options);
  command->callback([options, &chosen] {
    chosen = [options](Session& session) { return ResetOffsets(*options, session); };
  });
}

}  // namespace cairn::tools
