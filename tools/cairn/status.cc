#include "protocol/status.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "tools/cairn/commands.h"
#include "tools/cairn/json_writer.h"
#include "tools/cairn/progress.h"
#include "tools/cairn/table.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

// What a person reads; the worst come first.
constexpr std::size_t kRowsMax = 20;

constexpr char kExamples[] =
    "Examples:\n"
    "  cairn status\n"
    "  cairn status --format json | jq .problems";

// What was done in each partition at the last start; at most `rows_max` of them.
Table RecoveredTable(const client::BrokerStatus& status, std::size_t rows_max) {
  Table table({"topic", "partition", "bytes_scanned", "bytes_cut", "batches_cut",
               "producers_rebuilt", "leader_epoch", "offline_from"});
  for (const auto& each : status.recovered) {
    if (rows_max-- == 0) break;
    table.AddRow({each.topic, each.partition.value(), each.bytes_scanned, each.bytes_cut,
                  each.batches_cut, std::string(each.producers_rebuilt ? "yes" : "no"),
                  each.leader_epoch ? Cell(each.leader_epoch->value()) : Cell(),
                  each.offline_from ? Cell(each.offline_from->value()) : Cell()});
  }
  return table;
}

void WriteJson(JsonWriter& json, const client::BrokerStatus::RecoverySums& sums) {
  json.BeginObject();
  json.Key("took_ms").Int(sums.took_ms);
  json.Key("partitions").Int(sums.partitions);
  json.Key("bytes_scanned").Int(sums.bytes_scanned);
  json.Key("bytes_cut").Int(sums.bytes_cut);
  json.Key("batches_cut").Int(sums.batches_cut);
  json.Key("producers_rebuilt").Int(sums.producers_rebuilt);
  json.Key("epochs_raised").Int(sums.epochs_raised);
  json.Key("offline").Int(sums.offline);
  json.Key("left_out").Int(sums.left_out);
  json.EndObject();
}

void WriteJson(JsonWriter& json, const client::BrokerStatus::Scrub& scrub) {
  json.BeginObject();
  json.Key("enabled").Bool(scrub.enabled);
  json.Key("running").Bool(scrub.running);
  if (scrub.round_began) json.Key("round_began").Text(FormatTime(*scrub.round_began));
  if (scrub.completed) json.Key("completed").Text(FormatTime(*scrub.completed));
  json.Key("segments").Int(scrub.segments);
  json.Key("bytes").Int(scrub.bytes);
  json.Key("damages").Int(scrub.damages);
  json.EndObject();
}

void WriteJson(const client::BrokerStatus& status, const std::string& broker, std::string& out) {
  JsonWriter json(out);
  json.BeginObject();
  json.Key("broker").Text(broker);
  json.Key("software").Text(status.software);
  json.Key("pid").Int(status.pid);
  json.Key("uptime_ms").Int(status.uptime_ms);
  json.Key("cluster_id").Text(status.cluster_id);
  json.Key("data_dir").Text(status.data_dir);
  json.Key("disk_used").Int(status.disk_used);
  json.Key("disk_free").Int(status.disk_free);
  json.Key("disk_total").Int(status.disk_total);
  json.Key("topics").Int(status.topics);
  json.Key("partitions").Int(status.partitions);
  json.Key("connections").Int(status.connections);
  json.Key("clean_start").Bool(status.clean_start);
  json.Key("problems").BeginArray();
  for (const std::string& problem : status.problems) json.Text(problem);
  json.EndArray();
  json.Key("recovery").BeginArray();
  for (const auto& note : status.recovery) {
    json.BeginObject();
    json.Key("topic").Text(note.topic);
    json.Key("partition").Int(note.partition.value());
    json.Key("message").Text(note.message);
    json.EndObject();
  }
  json.EndArray();
  json.Key("recovered");
  RecoveredTable(status, status.recovered.size()).WriteJson(json);
  json.Key("recovery_sums");
  WriteJson(json, status.recovery_sums);
  json.Key("scrub");
  WriteJson(json, status.scrub);
  json.EndObject();
  out += '\n';
}

std::string ScrubText(const client::BrokerStatus::Scrub& scrub) {
  if (!scrub.enabled) return "off";
  std::string text =
      scrub.completed ? "last completed " + FormatTime(*scrub.completed) : "not completed yet";
  if (scrub.running) text += ", running";
  return text + absl::StrFormat(": %d segments, %s checked, %d damaged", scrub.segments,
                                FormatBytes(scrub.bytes), scrub.damages);
}

std::string RecoveryText(const client::BrokerStatus::RecoverySums& sums, bool clean_start) {
  std::string text = absl::StrFormat("%d partitions opened in %d ms, %s scanned", sums.partitions,
                                     sums.took_ms, FormatBytes(sums.bytes_scanned));
  if (clean_start) return text;
  return text + absl::StrFormat(
                    ", %s cut with %d whole batches, producers rebuilt in %d, epoch raised in %d, "
                    "%d offline",
                    FormatBytes(sums.bytes_cut), sums.batches_cut, sums.producers_rebuilt,
                    sums.epochs_raised, sums.offline);
}

void WriteText(const client::BrokerStatus& status, const std::string& broker, std::string& out) {
  const auto line = [&out](std::string_view name, const std::string& value) {
    out += absl::StrFormat("%-12s %s\n", name, value);
  };
  line("broker", absl::StrFormat("%s, %s, pid %d", broker, status.software, status.pid));
  line("up for",
       absl::StrFormat(
           "%s, started %s", FormatSpan(std::chrono::milliseconds(status.uptime_ms)),
           status.clean_start ? "after a clean stop" : "after an unclean stop (recovered)"));
  line("cluster id", status.cluster_id);
  line("data", status.data_dir);
  line("disk", absl::StrFormat("%s used by Cairn, %s free of %s", FormatBytes(status.disk_used),
                               FormatBytes(status.disk_free), FormatBytes(status.disk_total)));
  line("topics", absl::StrFormat("%d with %d partitions", status.topics, status.partitions));
  line("connections", absl::StrFormat("%d", status.connections));
  line("scrub", ScrubText(status.scrub));
  line("start", RecoveryText(status.recovery_sums, status.clean_start));
  for (const auto& note : status.recovery) {
    line("recovery",
         absl::StrFormat("%s:%d: %s", note.topic, note.partition.value(), note.message));
  }
  if (status.problems.empty()) line("problems", "none");
  for (const std::string& problem : status.problems) line("problem", problem);
  if (status.recovered.empty()) return;
  out += "\nRecovered at the start:\n";
  RecoveredTable(status, kRowsMax).AppendText(out);
  const auto shown = std::min(status.recovered.size(), kRowsMax);
  const auto more =
      static_cast<std::int64_t>(status.recovered.size() - shown) + status.recovery_sums.left_out;
  if (more > 0) out += absl::StrFormat("and %d more; --format json has them\n", more);
}

absl::StatusOr<int> ShowStatus(Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  ASSIGN_OR_RETURN(const client::BrokerStatus status, admin.Status());
  if (session.json) {
    WriteJson(status, session.broker, session.output.buffer());
  } else {
    WriteText(status, session.broker, session.output.buffer());
  }
  return kExitOk;
}

}  // namespace

void AddStatus(CLI::App& app, Run& chosen) {
  CLI::App* command =
      app.add_subcommand("status", "How the broker is: disk, topics, anything wrong");
  command->footer(kExamples);
  command->callback([&chosen] { chosen = ShowStatus; });
}

}  // namespace cairn::tools
