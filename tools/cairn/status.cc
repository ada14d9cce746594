#include "protocol/status.h"

#include <chrono>
#include <string>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "tools/cairn/commands.h"
#include "tools/cairn/json_writer.h"
#include "tools/cairn/progress.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  cairn status\n"
    "  cairn status --format json | jq .problems";

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
  json.EndObject();
  out += '\n';
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
  for (const auto& note : status.recovery) {
    line("recovery",
         absl::StrFormat("%s:%d: %s", note.topic, note.partition.value(), note.message));
  }
  if (status.problems.empty()) line("problems", "none");
  for (const std::string& problem : status.problems) line("problem", problem);
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
