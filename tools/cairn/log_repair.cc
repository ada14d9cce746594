#include "tools/cairn/log_repair.h"

#include <filesystem>
#include <string>
#include <system_error>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/repair.h"
#include "tools/cairn/commands.h"
#include "tools/cairn/json_writer.h"
#include "tools/cairn/progress.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

using storage::RepairPlan;
using storage::RepairStep;

const char* NameOf(RepairStep::Kind kind) {
  switch (kind) {
    case RepairStep::Kind::kMove:
      return "move";
    case RepairStep::Kind::kCut:
      return "cut";
    case RepairStep::Kind::kWrite:
      break;
  }
  return "write";
}

std::string TextOf(const RepairStep& step, const std::filesystem::path& data_dir) {
  switch (step.kind) {
    case RepairStep::Kind::kMove:
      return absl::StrFormat("move %s (%s) to quarantine/: %s", step.entry, FormatBytes(step.bytes),
                             step.why);
    case RepairStep::Kind::kCut:
      return absl::StrFormat("cut %s at %d and save the %s behind it in quarantine/: %s",
                             step.entry, step.position, FormatBytes(step.bytes), step.why);
    case RepairStep::Kind::kWrite:
      break;
  }
  std::error_code error;
  if (!std::filesystem::exists(data_dir / step.entry, error)) {
    return absl::StrFormat("write %s, which is missing: %s", step.entry, step.why);
  }
  return absl::StrFormat("write %s anew and save the old one in quarantine/: %s", step.entry,
                         step.why);
}

void PrintText(const RepairPlan& plan, const std::filesystem::path& data_dir, std::string& out) {
  for (const RepairStep& step : plan.steps) out += TextOf(step, data_dir) + "\n";
  for (const storage::LostRange& lost : plan.lost) {
    out += absl::StrFormat("lost %s offsets %d to %d\n", lost.directory, lost.from.value(),
                           (lost.end - 1).value());
  }
  for (const std::string& remark : plan.remarks) out += absl::StrFormat("note %s\n", remark);
}

void PrintJson(const RepairPlan& plan, std::string& out) {
  for (const RepairStep& step : plan.steps) {
    JsonWriter json(out);
    json.BeginObject().Key("action").Text(NameOf(step.kind)).Key("file").Text(step.entry);
    json.Key("position").Int(step.position).Key("bytes").Int(step.bytes);
    json.Key("reason").Text(step.why).EndObject();
    out += '\n';
  }
  for (const storage::LostRange& lost : plan.lost) {
    JsonWriter json(out);
    json.BeginObject().Key("action").Text("lost").Key("partition").Text(lost.directory);
    json.Key("first_offset").Int(lost.from.value());
    json.Key("last_offset").Int((lost.end - 1).value()).EndObject();
    out += '\n';
  }
  for (const std::string& remark : plan.remarks) {
    JsonWriter json(out);
    json.BeginObject().Key("action").Text("note").Key("reason").Text(remark).EndObject();
    out += '\n';
  }
}

}  // namespace

absl::StatusOr<int> RepairLog(const std::string& directory, bool execute, Session& session) {
  ASSIGN_OR_RETURN(const auto repair, storage::Repair::Open(directory));
  Progress progress("read", /*silent=*/false);
  ASSIGN_OR_RETURN(const RepairPlan plan, repair->Plan([&](const storage::VerifySummary& read) {
    progress.Show(read.batches, read.bytes);
  }));
  progress.Wipe();
  session.json ? PrintJson(plan, session.output.buffer())
               : PrintText(plan, repair->data_dir(), session.output.buffer());
  session.output.Commit();
  if (plan.steps.empty() && plan.remarks.empty()) return kExitOk;
  if (plan.steps.empty()) {
    Session::Say(
        "Nothing was changed: the above is nothing that a repair can do. Put right by hand what "
        "the notes name (a directory may be in a backup, or under another's name), then run it "
        "again.");
    return kExitFailed;
  }
  if (!execute) {
    Session::Say("Nothing was changed. 'cairn log repair --execute' does the above.");
    return kExitFailed;
  }
  RETURN_IF_ERROR(repair->Execute(plan));
  return kExitOk;
}

}  // namespace cairn::tools
