#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "protocol/group_name.h"
#include "protocol/status.h"
#include "tools/cairn/commands.h"
#include "tools/cairn/group_reset.h"
#include "tools/cairn/json_writer.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr char kGroupExamples[] =
    "Members: cairn consume TOPIC -g GROUP, or any program with the client library.\n"
    "\n"
    "Examples:\n"
    "  cairn group list\n"
    "  cairn group describe billing\n"
    "  cairn group reset-offsets billing --topic orders --to-datetime -1h\n"
    "  cairn group delete billing";
constexpr char kListExamples[] =
    "TOTAL-LAG counts the records after the committed offsets; UNCOMMITTED are partitions with "
    "records and\n"
    "without a committed offset, which it leaves out.\n"
    "\n"
    "Examples:\n"
    "  cairn group list\n"
    "  cairn group list --format json | jq '.[] | select(.total_lag > 1000)'";
constexpr char kDescribeExamples[] =
    "CURRENT-OFFSET is the next record to read, LAG counts the records from there, LAG-TIME is the "
    "age of the\n"
    "first of them. TRIMMED, where there is something to show: records that were dropped before "
    "they were read.\n"
    "\n"
    "Examples:\n"
    "  cairn group describe billing\n"
    "  cairn group describe billing --members\n"
    "  cairn group describe billing --resets\n"
    "  cairn group describe --all-groups\n"
    "  cairn group describe billing --format json | jq .total_lag";
constexpr char kDeleteExamples[] =
    "Their committed offsets are gone. A group with members is not deleted.\n"
    "\n"
    "Examples:\n"
    "  cairn group delete billing";

struct GroupOptions {
  std::vector<std::string> groups;
  bool all_groups = false;
  bool members = false;
  bool resets = false;
};

Cell OptionalNumber(std::optional<std::int64_t> number) {
  return number.has_value() ? Cell(*number) : Cell();
}

Cell OptionalOffset(std::optional<Offset> offset) {
  return offset.has_value() ? Cell(offset->value()) : Cell();
}

std::string StateName(client::GroupState state) {
  switch (state) {
    case client::GroupState::kEmpty:
      return "empty";
    case client::GroupState::kStable:
      return "stable";
    case client::GroupState::kAssigning:
      return "assigning";
    case client::GroupState::kResetting:
      return "resetting";
  }
  return "unknown";
}

std::string AssignorName(client::GroupAssignor assignor) {
  return assignor == client::GroupAssignor::kRange ? "range" : "sticky-uniform";
}

absl::StatusOr<int> ListGroups(const GroupOptions&, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  ASSIGN_OR_RETURN(const auto groups, admin.ListGroups());
  Table table({"group", "state", "members", "total_lag", "partitions", "uncommitted"});
  for (const client::GroupSummary& group : groups) {
    table.AddRow({group.group, StateName(group.state), group.members,
                  OptionalNumber(group.total_lag), group.partitions, group.uncommitted});
  }
  session.Print(table);
  return kExitOk;
}

// ---- describe ----

const client::GroupMemberDescription* Member(const client::GroupDescription& group,
                                             std::optional<std::size_t> index) {
  return index.has_value() && *index < group.members.size() ? &group.members[*index] : nullptr;
}

// Records that are not done; nothing without a commit. What was dropped before it was read cannot
// be waited for.
std::optional<std::int64_t> Lag(const client::GroupPartitionDescription& partition) {
  if (!partition.committed.has_value()) return std::nullopt;
  return std::max<std::int64_t>(
      0, partition.log_end - std::max(*partition.committed, partition.log_start));
}

// What lies in a partition without a commit may be read or not: its members' rule decides.
struct TotalLag {
  std::optional<std::int64_t> records;  // nothing: not known of any partition
  std::int64_t uncommitted = 0;         // partitions with records, and without a commit
};

TotalLag TotalLagOf(const client::GroupDescription& group) {
  std::int64_t records = 0;
  TotalLag total;
  bool is_known = false;
  for (const auto& partition : group.partitions) {
    const std::optional<std::int64_t> lag = Lag(partition);
    is_known |= lag.has_value();
    records += lag.value_or(0);
    if (!lag.has_value() && partition.log_start < partition.log_end) ++total.uncommitted;
  }
  if (is_known || total.uncommitted == 0) total.records = records;
  return total;
}

// "30, without 2 partitions that have no committed offset"
std::string ToText(const TotalLag& total) {
  std::string text =
      total.records.has_value() ? absl::StrFormat("%d", *total.records) : "not known";
  if (total.uncommitted == 0) return text;
  return text + absl::StrFormat(", without %d partition%s that ha%s no committed offset",
                                total.uncommitted, total.uncommitted == 1 ? "" : "s",
                                total.uncommitted == 1 ? "s" : "ve");
}

// How long ago the first unread record was written. By this machine's clock, which may be behind
// the one that wrote it.
std::optional<std::int64_t> LagTimeMs(const client::GroupPartitionDescription& partition,
                                      Timestamp now) {
  if (!partition.first_unread.has_value()) return std::nullopt;
  return std::max<std::int64_t>(0, now - *partition.first_unread);
}

Cell LagTime(const client::GroupPartitionDescription& partition, Timestamp now) {
  const auto ms = LagTimeMs(partition, now);
  return ms.has_value() ? Cell(FormatSpan(std::chrono::milliseconds(*ms))) : Cell();
}

Table PartitionTable(const client::GroupDescription& group, Timestamp now) {
  const bool trimmed = std::any_of(group.partitions.begin(), group.partitions.end(),
                                   [](const auto& partition) { return partition.trimmed != 0; });
  std::vector<std::string> columns = {"group",          "topic",    "partition", "current_offset",
                                      "log_end_offset", "lag",      "lag_time",  "consumer_id",
                                      "host",           "client_id"};
  if (trimmed) columns.emplace_back("trimmed");
  Table table(std::move(columns));
  for (const client::GroupPartitionDescription& partition : group.partitions) {
    const auto* owner = Member(group, partition.owner);
    std::vector<Cell> row = {group.group,
                             partition.topic,
                             partition.partition.value(),
                             OptionalOffset(partition.committed),
                             partition.log_end.value(),
                             OptionalNumber(Lag(partition)),
                             LagTime(partition, now),
                             owner == nullptr ? Cell() : Cell(ToString(owner->id)),
                             owner == nullptr ? Cell() : Cell(owner->host),
                             owner == nullptr ? Cell() : Cell(owner->client_id)};
    if (trimmed) row.push_back(partition.trimmed == 0 ? Cell() : Cell(partition.trimmed));
    table.AddRow(std::move(row));
  }
  return table;
}

// By topic, the partitions that each member holds; by the member's place.
using Holdings = std::vector<std::map<std::string, std::set<PartitionIndex>>>;

Holdings HoldingsOf(const client::GroupDescription& group) {
  Holdings holdings(group.members.size());
  for (const client::GroupPartitionDescription& partition : group.partitions) {
    if (Member(group, partition.owner) == nullptr) continue;
    holdings[*partition.owner][partition.topic].insert(partition.partition);
  }
  return holdings;
}

// "orders:0,1 clicks:3", the way --topic takes them.
std::string AssignmentText(const Holdings::value_type& held) {
  std::string text;
  for (const auto& [topic, partitions] : held) {
    if (!text.empty()) text += ' ';
    text += topic;
    char divider = ':';
    for (const PartitionIndex partition : partitions) {
      text += absl::StrFormat("%c%d", divider, partition.value());
      divider = ',';
    }
  }
  return text;
}

std::int32_t CountOf(const Holdings::value_type& held) {
  std::size_t count = 0;
  for (const auto& [topic, partitions] : held) count += partitions.size();
  return static_cast<std::int32_t>(count);
}

Table MemberTable(const client::GroupDescription& group) {
  const bool instances =
      std::any_of(group.members.begin(), group.members.end(),
                  [](const auto& member) { return !member.instance_id.empty(); });
  std::vector<std::string> columns = {"group",     "consumer_id", "host",
                                      "client_id", "#partitions", "assignment"};
  if (instances) columns.emplace_back("instance_id");
  Table table(std::move(columns));
  const Holdings holdings = HoldingsOf(group);
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    const client::GroupMemberDescription& member = group.members[i];
    std::vector<Cell> row = {
        group.group,          ToString(member.id),
        member.host,          member.client_id,
        CountOf(holdings[i]), holdings[i].empty() ? Cell() : Cell(AssignmentText(holdings[i]))};
    if (instances) row.push_back(member.instance_id.empty() ? Cell() : Cell(member.instance_id));
    table.AddRow(std::move(row));
  }
  return table;
}

Table ResetTable(const client::GroupDescription& group) {
  Table table({"group", "number", "at", "partitions", "undone_by", "what"});
  for (const client::GroupResetSummary& reset : group.resets) {
    table.AddRow({group.group, reset.number, FormatTime(reset.at), reset.partitions,
                  reset.undone_by == 0 ? Cell() : Cell(reset.undone_by), reset.what});
  }
  return table;
}

void WriteNumber(JsonWriter& json, std::optional<std::int64_t> number) {
  number.has_value() ? json.Int(*number) : json.Null();
}

void WriteText(JsonWriter& json, const std::string* text) {
  text == nullptr ? json.Null() : json.Text(*text);
}

void WriteJson(JsonWriter& json, const client::GroupDescription& group,
               const client::GroupPartitionDescription& partition, Timestamp now) {
  const auto* owner = Member(group, partition.owner);
  const auto* target = Member(group, partition.target);
  const std::string owner_id = owner == nullptr ? "" : ToString(owner->id);
  const std::string target_id = target == nullptr ? "" : ToString(target->id);
  const Cell lag_time = LagTime(partition, now);
  json.BeginObject();
  json.Key("group").Text(group.group);
  json.Key("topic").Text(partition.topic);
  json.Key("partition").Int(partition.partition.value());
  json.Key("current_offset");
  OptionalOffset(partition.committed).WriteJson(json);
  json.Key("log_start_offset").Int(partition.log_start.value());
  json.Key("log_end_offset").Int(partition.log_end.value());
  json.Key("lag");
  WriteNumber(json, Lag(partition));
  json.Key("lag_time");
  lag_time.WriteJson(json);
  json.Key("lag_time_ms");
  WriteNumber(json, LagTimeMs(partition, now));
  json.Key("consumer_id");
  WriteText(json, owner == nullptr ? nullptr : &owner_id);
  json.Key("host");
  WriteText(json, owner == nullptr ? nullptr : &owner->host);
  json.Key("client_id");
  WriteText(json, owner == nullptr ? nullptr : &owner->client_id);
  json.Key("target_consumer_id");
  WriteText(json, target == nullptr ? nullptr : &target_id);
  json.Key("trimmed").Int(partition.trimmed);
  json.Key("committed_at");
  if (partition.committed_at.has_value()) {
    json.Text(FormatTime(*partition.committed_at));
  } else {
    json.Null();
  }
  json.Key("metadata").Text(partition.metadata);
  json.EndObject();
}

void WriteJson(JsonWriter& json, const std::string& group,
               const client::GroupMemberDescription& member, const Holdings::value_type& held) {
  json.BeginObject();
  json.Key("group").Text(group);
  json.Key("consumer_id").Text(ToString(member.id));
  json.Key("instance_id");
  WriteText(json, member.instance_id.empty() ? nullptr : &member.instance_id);
  json.Key("host").Text(member.host);
  json.Key("client_id").Text(member.client_id);
  json.Key("topics").BeginArray();
  for (const std::string& topic : member.topics) json.Text(topic);
  json.EndArray();
  json.Key("session_timeout_ms").Int(member.session_timeout.count());
  json.Key("partitions").Int(CountOf(held));
  json.Key("assignment").BeginArray();
  for (const auto& [topic, partitions] : held) {
    json.BeginObject().Key("topic").Text(topic).Key("partitions").BeginArray();
    for (const PartitionIndex partition : partitions) json.Int(partition.value());
    json.EndArray().EndObject();
  }
  json.EndArray();
  json.EndObject();
}

// All there is to know, whatever the flags say.
void DescribeJson(const client::GroupDescription& group, Timestamp now, std::string& out) {
  JsonWriter json(out);
  json.BeginObject();
  json.Key("group").Text(group.group);
  json.Key("state").Text(StateName(group.state));
  json.Key("epoch").Int(group.epoch);
  json.Key("assignor").Text(AssignorName(group.assignor));
  const TotalLag total_lag = TotalLagOf(group);
  json.Key("total_lag");
  WriteNumber(json, total_lag.records);
  json.Key("uncommitted").Int(total_lag.uncommitted);
  json.Key("partitions").BeginArray();
  for (const auto& partition : group.partitions) WriteJson(json, group, partition, now);
  json.EndArray();
  json.Key("members").BeginArray();
  const Holdings holdings = HoldingsOf(group);
  for (std::size_t i = 0; i < group.members.size(); ++i) {
    WriteJson(json, group.group, group.members[i], holdings[i]);
  }
  json.EndArray();
  json.Key("resets");
  ResetTable(group).WriteJson(json);
  json.EndObject();
  out += '\n';
}

// Those named, each once, or all there are.
absl::StatusOr<std::vector<std::string>> GroupsOf(const GroupOptions& options,
                                                  client::Admin& admin) {
  if (options.groups.empty() != options.all_groups) {
    return UsageError(options.all_groups
                          ? "groups are named and --all-groups is given; it can only be one"
                          : "which groups? Name them, or give --all-groups");
  }
  std::vector<std::string> groups;
  for (const std::string& group : options.groups) {
    RETURN_IF_ERROR(AsUsageError(CheckGroupName(group)));
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  if (!options.all_groups) return groups;
  ASSIGN_OR_RETURN(const auto all, admin.ListGroups());
  for (const client::GroupSummary& group : all) groups.push_back(group.group);
  if (groups.empty()) Session::Say("cairn: there are no groups");
  return groups;
}

void DescribeText(const client::GroupDescription& group, const GroupOptions& options,
                  Session& session) {
  Session::Say(absl::StrFormat("group %s: %s, %d member%s, total lag %s", group.group,
                               StateName(group.state), group.members.size(),
                               group.members.size() == 1 ? "" : "s", ToText(TotalLagOf(group))));
  if (options.members) {
    session.Print(MemberTable(group));
  } else if (options.resets) {
    session.Print(ResetTable(group));
  } else {
    session.Print(PartitionTable(group, session.now));
  }
}

absl::StatusOr<client::GroupDescription> Look(const std::string& name, client::Admin& admin) {
  ASSIGN_OR_RETURN(client::GroupDescription group, admin.DescribeGroup(name));
  std::sort(group.partitions.begin(), group.partitions.end(), [](const auto& a, const auto& b) {
    return std::tie(a.topic, a.partition) < std::tie(b.topic, b.partition);
  });
  return group;
}

// One group is an object, several are an array.
absl::StatusOr<int> DescribeGroups(const GroupOptions& options, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  ASSIGN_OR_RETURN(const std::vector<std::string> names, GroupsOf(options, admin));
  std::vector<client::GroupDescription> groups;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(client::GroupDescription group, Look(name, admin));
    groups.push_back(std::move(group));
  }
  const bool is_array = session.json && (options.all_groups || groups.size() != 1);
  std::string& out = session.output.buffer();
  if (is_array) out += '[';
  for (const client::GroupDescription& group : groups) {
    if (!session.json) {
      DescribeText(group, options, session);
      RETURN_IF_ERROR(session.output.Flush());
      continue;
    }
    if (is_array && &group != &groups.front()) out += ',';
    DescribeJson(group, session.now, out);
  }
  if (is_array) out += "]\n";
  return kExitOk;
}

void TellDeleted(const std::string& group, Session& session) {
  if (session.json) {
    JsonWriter json(session.output.buffer());
    json.BeginObject().Key("group").Text(group).Key("result").Text("deleted").EndObject();
    session.output.Write("\n");
  } else {
    session.output.Write(absl::StrFormat("deleted %s\n", group));
  }
}

// One that cannot be deleted does not keep the others.
absl::StatusOr<int> DeleteGroups(const GroupOptions& options, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Change());
  ASSIGN_OR_RETURN(const std::vector<std::string> names, GroupsOf(options, admin));
  int exit_code = kExitOk;
  for (const std::string& name : names) {
    const absl::Status deleted = admin.DeleteGroup(name);
    if (deleted.ok()) {
      TellDeleted(name, session);
      continue;
    }
    if (names.size() == 1) return deleted;
    Session::Say(absl::StrFormat("cairn: %s", std::string(session.Explain(deleted).message())));
    exit_code = kExitFailed;
  }
  return exit_code;
}

using GroupCommand = absl::StatusOr<int> (*)(const GroupOptions&, Session&);

CLI::App* AddCommand(CLI::App& group, const char* name, const char* what, const char* examples,
                     const std::shared_ptr<GroupOptions>& options, GroupCommand run, Run& chosen) {
  CLI::App* command = group.add_subcommand(name, what);
  command->footer(examples);
  command->callback([options, run, &chosen] {
    chosen = [options, run](Session& session) { return run(*options, session); };
  });
  return command;
}

void AddNames(CLI::App& command, GroupOptions& options) {
  command.add_option("groups", options.groups, "The groups")->type_name("GROUP");
  command.add_flag("--all-groups", options.all_groups, "All groups there are");
}

}  // namespace

void AddGroup(CLI::App& app, Run& chosen) {
  auto options = std::make_shared<GroupOptions>();
  CLI::App& group =
      *app.add_subcommand("group", "Consumer groups: look, delete, move their offsets");
  group.footer(kGroupExamples);
  group.require_subcommand(1);

  AddCommand(group, "list", "List groups", kListExamples, options, ListGroups, chosen);

  CLI::App* describe = AddCommand(group, "describe", "Groups' offsets, lag and members",
                                  kDescribeExamples, options, DescribeGroups, chosen);
  AddNames(*describe, *options);
  CLI::Option* members =
      describe->add_flag("--members", options->members, "Who is in it, and holds what");
  describe->add_flag("--resets", options->resets, "The last times its offsets were moved")
      ->excludes(members);

  AddNames(*AddCommand(group, "delete", "Delete groups and their offsets", kDeleteExamples, options,
                       DeleteGroups, chosen),
           *options);

  AddResetOffsets(group, chosen);
}

}  // namespace cairn::tools
