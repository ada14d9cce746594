#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "protocol/status.h"
#include "tools/cairn/commands.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr char kExamples[] =
    "START is the first offset kept, END one past the last record a consumer can see.\n"
    "TIME: 2026-11-24T09:30:00Z, 2026-11-24, @UNIX-MS or a span back such as -48h; without a zone "
    "UTC.\n"
    "\n"
    "Examples:\n"
    "  cairn offsets orders\n"
    "  cairn offsets orders --at -2h           where the last two hours begin\n"
    "  cairn offsets orders --at 2026-11-24 --format json";

struct OffsetsOptions {
  std::string topic;
  std::string at;
};

Table TableOf(const std::vector<client::OffsetsOfPartition>& partitions, bool with_time) {
  std::vector<std::string> columns = {"partition", "start", "end"};
  if (with_time) columns.insert(columns.end(), {"offset", "timestamp"});
  Table table(std::move(columns));
  for (const auto& found : partitions) {
    // A damaged partition still has a start, and an end up to which it can be read.
    if (!found.status.ok() && found.committed_end < Offset(0)) continue;
    std::vector<Cell> row = {found.partition.value(), found.log_start.value(),
                             found.committed_end.value()};
    if (with_time) {
      row.push_back(found.offset.has_value() ? Cell(found.offset->value()) : Cell());
      row.push_back(found.timestamp.has_value() ? Cell(FormatTime(*found.timestamp)) : Cell());
    }
    table.AddRow(std::move(row));
  }
  return table;
}

absl::StatusOr<int> ShowOffsets(const OffsetsOptions& options, Session& session) {
  std::optional<Timestamp> at;
  if (!options.at.empty()) {
    ASSIGN_OR_RETURN(at, ParseTime(options.at, session.now));
  }
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  ASSIGN_OR_RETURN(const auto partitions, admin.Offsets(options.topic, at));
  session.Print(TableOf(partitions, at.has_value()));
  if (at.has_value() && !session.json) {
    Session::Say(absl::StrFormat("offset: the first record at or after %s", FormatTime(*at)));
  }
  int exit_code = kExitOk;
  for (const auto& found : partitions) {
    if (found.status.ok()) continue;
    Session::Say(absl::StrFormat("cairn: %s:%d: %s", options.topic, found.partition.value(),
                                 std::string(found.status.message())));
    exit_code = kExitFailed;
  }
  return exit_code;
}

}  // namespace

void AddOffsets(CLI::App& app, Run& chosen) {
  auto options = std::make_shared<OffsetsOptions>();
  CLI::App* command =
      app.add_subcommand("offsets", "Start, end and offset-for-time of a topic's partitions");
  command->footer(kExamples);
  command->add_option("topic", options->topic, "The topic")->required()->type_name("TOPIC");
  command->add_option("--at", options->at, "Also the first offset at or after this time")
      ->type_name("TIME");
  command->callback([options, &chosen] {
    chosen = [options](Session& session) { return ShowOffsets(*options, session); };
  });
}

}  // namespace cairn::tools
