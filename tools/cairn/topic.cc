#include <charconv>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "protocol/error_code.h"
#include "protocol/status.h"
#include "tools/cairn/commands.h"
#include "tools/cairn/json_writer.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"
#include "tools/cairn/whole_number.h"

namespace cairn::tools {
namespace {

constexpr char kTopicExamples[] =
    "Examples:\n"
    "  cairn topic create orders -p 4 -c segment.ms=86400000\n"
    "  cairn topic list\n"
    "  cairn topic describe orders\n"
    "  cairn topic alter orders -c segment.bytes=1048576\n"
    "  cairn topic trim orders:0 --before 1000\n"
    "  cairn topic delete orders";
constexpr char kCreateExamples[] =
    "Examples:\n"
    "  cairn topic create orders -p 4\n"
    "  cairn topic create clicks -p 16 -c durability=written -c segment.bytes=67108864\n"
    "  cairn topic create orders -p 4 --if-not-exists";
constexpr char kListExamples[] =
    "Examples:\n"
    "  cairn topic list\n"
    "  cairn topic list --internal --format json";
constexpr char kDescribeExamples[] =
    "END is one past the last record a consumer can see, LOG-END one past the last record "
    "written.\n"
    "\n"
    "Examples:\n"
    "  cairn topic describe orders\n"
    "  cairn topic describe orders --format json | jq .configs";
constexpr char kAlterExamples[] =
    "An empty value puts a config's default back. More partitions move keys: a key's later records "
    "may\n"
    "lie in another partition than its earlier ones, hence --remap-keys.\n"
    "\n"
    "Examples:\n"
    "  cairn topic alter orders -c segment.bytes=1048576\n"
    "  cairn topic alter orders -c segment.bytes=\n"
    "  cairn topic alter orders -p 8 --remap-keys";
constexpr char kDeleteExamples[] =
    "The topic is gone at once, its disk space a little later.\n"
    "\n"
    "Examples:\n"
    "  cairn topic delete orders";
constexpr char kTrimExamples[] =
    "Drops the records before OFFSET for good; whole segments give their space back.\n"
    "\n"
    "Examples:\n"
    "  cairn topic trim orders:0 --before 1000";

using Configs = std::map<std::string, std::string>;

struct TopicOptions {
  std::string name;
  std::int32_t partitions = 0;
  std::vector<std::string> configs;
  bool if_not_exists = false;
  bool remap_keys = false;
  bool internal = false;
  std::int64_t before = 0;
};

absl::StatusOr<Configs> ParseConfigs(const std::vector<std::string>& texts) {
  Configs configs;
  for (const std::string& text : texts) {
    const std::size_t sign = text.find('=');
    if (sign == std::string::npos || sign == 0) {
      return UsageError(absl::StrFormat("-c %s: write NAME=VALUE", text));
    }
    if (!configs.emplace(text.substr(0, sign), text.substr(sign + 1)).second) {
      return UsageError(absl::StrFormat("-c %s: this config is given twice", text));
    }
  }
  return configs;
}

// A change that was made, as a line for people or an object for programs.
void PrintDone(Session& session, std::string_view verb, const std::string& topic,
               const std::string& more) {
  if (!session.json) {
    session.output.Write(absl::StrFormat("%s %s%s\n", verb, topic, more));
    return;
  }
  JsonWriter json(session.output.buffer());
  json.BeginObject().Key("topic").Text(topic).Key("result").Text(verb).EndObject();
  session.output.Write("\n");
}

absl::StatusOr<int> CreateTopic(const TopicOptions& options, Session& session) {
  ASSIGN_OR_RETURN(const Configs configs, ParseConfigs(options.configs));
  ASSIGN_OR_RETURN(client::Admin admin, session.Change());
  const auto id = admin.CreateTopic(options.name, options.partitions, configs);
  if (absl::IsAlreadyExists(id.status()) && options.if_not_exists) {
    PrintDone(session, "exists", options.name, " already");
    return kExitOk;
  }
  if (!id.ok()) return id.status();
  PrintDone(session, "created", options.name,
            absl::StrFormat(" with %d partition%s", options.partitions,
                            options.partitions == 1 ? "" : "s"));
  return kExitOk;
}

absl::StatusOr<int> ListTopics(const TopicOptions& options, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  ASSIGN_OR_RETURN(const auto topics, admin.ListTopics(options.internal));
  Table table({"topic", "partitions", "durability", "id"});
  for (const client::TopicSummary& topic : topics) {
    table.AddRow({topic.name, topic.partitions, std::string(ToString(topic.durability)),
                  ToString(topic.id)});
  }
  session.Print(table);
  return kExitOk;
}

Table PartitionTable(const client::TopicDescription& topic) {
  Table table({"partition", "start", "end", "durable_end", "log_end", "leader_epoch", "segments",
               "bytes", "state"});
  for (const client::PartitionDescription& partition : topic.partitions) {
    const std::string state =
        partition.state.ok() ? "ok" : std::string(NameOf(CodeOf(partition.state)));
    table.AddRow({partition.partition.value(), partition.log_start.value(),
                  partition.committed_end.value(), partition.durable_end.value(),
                  partition.log_end.value(), partition.leader_epoch.value(), partition.segments,
                  partition.bytes,
                  partition.problem.empty() ? state : state + ": " + partition.problem});
  }
  return table;
}

void DescribeJson(const client::TopicDescription& topic, std::string& out) {
  JsonWriter json(out);
  json.BeginObject();
  json.Key("topic").Text(topic.name);
  json.Key("id").Text(ToString(topic.id));
  json.Key("created").Text(FormatTime(topic.created));
  json.Key("configs").BeginArray();
  for (const client::TopicConfig& config : topic.configs) {
    json.BeginObject().Key("name").Text(config.name).Key("value").Text(config.value);
    json.Key("is_default").Bool(config.is_default).EndObject();
  }
  json.EndArray();
  json.Key("partitions");
  PartitionTable(topic).WriteJson(json);
  json.Key("history").BeginArray();
  for (const auto& [epoch, partitions] : topic.history) {
    json.BeginObject().Key("epoch").Int(epoch).Key("partitions").Int(partitions).EndObject();
  }
  json.EndArray();
  json.EndObject();
  out += '\n';
}

void DescribeText(const client::TopicDescription& topic, std::string& out) {
  out += absl::StrFormat("topic    %s\nid       %s\ncreated  %s\n\n", topic.name,
                         ToString(topic.id), FormatTime(topic.created));
  Table configs({"config", "value", "set_by"});
  for (const client::TopicConfig& config : topic.configs) {
    configs.AddRow(
        {config.name, config.value, std::string(config.is_default ? "default" : "topic")});
  }
  configs.AppendText(out);
  out += '\n';
  PartitionTable(topic).AppendText(out);
}

absl::StatusOr<int> DescribeTopic(const TopicOptions& options, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  ASSIGN_OR_RETURN(const client::TopicDescription topic, admin.DescribeTopic(options.name));
  if (session.json) {
    DescribeJson(topic, session.output.buffer());
  } else {
    DescribeText(topic, session.output.buffer());
  }
  return kExitOk;
}

absl::StatusOr<int> AlterTopic(const TopicOptions& options, Session& session) {
  ASSIGN_OR_RETURN(const Configs configs, ParseConfigs(options.configs));
  if (configs.empty() && options.partitions == 0) {
    return UsageError("nothing to change: give -c NAME=VALUE or -p N --remap-keys");
  }
  if (options.partitions != 0 && !options.remap_keys) {
    return UsageError(
        "-p needs --remap-keys: with another number of partitions a key's later records may lie in "
        "another partition than its earlier ones");
  }
  const auto partitions =
      options.partitions == 0 ? std::nullopt : std::optional<std::int32_t>(options.partitions);
  ASSIGN_OR_RETURN(client::Admin admin, session.Change());
  RETURN_IF_ERROR(admin.AlterTopic(options.name, configs, partitions, options.remap_keys));
  PrintDone(session, "altered", options.name, "");
  return kExitOk;
}

absl::StatusOr<int> DeleteTopic(const TopicOptions& options, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Change());
  RETURN_IF_ERROR(admin.DeleteTopic(options.name));
  PrintDone(session, "deleted", options.name, "");
  return kExitOk;
}

struct NamedPartition {
  std::string topic;
  PartitionIndex partition;
};

absl::StatusOr<NamedPartition> ParseTopicPartition(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  std::int32_t index = -1;
  if (colon != std::string_view::npos) {
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + colon + 1, end, index);
    if (parsed.ec != std::errc() || parsed.ptr != end) index = -1;
  }
  if (index < 0) return UsageError(absl::StrFormat("'%s' is not TOPIC:PARTITION", text));
  return NamedPartition{std::string(text.substr(0, colon)), PartitionIndex(index)};
}

absl::StatusOr<int> TrimTopic(const TopicOptions& options, Session& session) {
  ASSIGN_OR_RETURN(const NamedPartition named, ParseTopicPartition(options.name));
  ASSIGN_OR_RETURN(client::Admin admin, session.Change());
  ASSIGN_OR_RETURN(const Offset start,
                   admin.TrimTopic(named.topic, named.partition, Offset(options.before)));
  Table table({"topic", "partition", "start"});
  table.AddRow({named.topic, named.partition.value(), start.value()});
  session.Print(table);
  return kExitOk;
}

using TopicCommand = absl::StatusOr<int> (*)(const TopicOptions&, Session&);

CLI::App* AddCommand(CLI::App& topic, const char* name, const char* what, const char* examples,
                     const std::shared_ptr<TopicOptions>& options, TopicCommand run, Run& chosen) {
  CLI::App* command = topic.add_subcommand(name, what);
  command->footer(examples);
  command->callback([options, run, &chosen] {
    chosen = [options, run](Session& session) { return run(*options, session); };
  });
  return command;
}

void AddName(CLI::App& command, TopicOptions& options) {
  command.add_option("name", options.name, "The topic")->required()->type_name("NAME");
}

void AddConfigs(CLI::App& command, TopicOptions& options) {
  command.add_option("-c,--config", options.configs, "A topic config; may be repeated")
      ->type_name("NAME=VALUE")
      ->expected(1)
      ->take_all();
}

}  // namespace

void AddTopic(CLI::App& app, Run& chosen) {
  auto options = std::make_shared<TopicOptions>();
  CLI::App& topic =
      *app.add_subcommand("topic", "Create, list, describe, alter, delete, trim topics");
  topic.footer(kTopicExamples);
  topic.require_subcommand(1);

  CLI::App* create =
      AddCommand(topic, "create", "Create a topic", kCreateExamples, options, CreateTopic, chosen);
  AddName(*create, *options);
  create->add_option("-p,--partitions", options->partitions, "How many partitions")
      ->required()
      ->type_name("N")
      ->check(WholeNumber(1, std::numeric_limits<std::int32_t>::max()));
  AddConfigs(*create, *options);
  create->add_flag("--if-not-exists", options->if_not_exists,
                   "Not an error if it is there already");

  CLI::App* list =
      AddCommand(topic, "list", "List topics", kListExamples, options, ListTopics, chosen);
  list->add_flag("--internal", options->internal, "Also the broker's own topics");

  AddName(*AddCommand(topic, "describe", "A topic's configs and partitions", kDescribeExamples,
                      options, DescribeTopic, chosen),
          *options);

  CLI::App* alter = AddCommand(topic, "alter", "Change configs, or add partitions", kAlterExamples,
                               options, AlterTopic, chosen);
  AddName(*alter, *options);
  AddConfigs(*alter, *options);
  alter->add_option("-p,--partitions", options->partitions, "The new, larger number of partitions")
      ->type_name("N")
      ->check(WholeNumber(1, std::numeric_limits<std::int32_t>::max()));
  alter->add_flag("--remap-keys", options->remap_keys, "Yes, keys may move to other partitions");

  AddName(*AddCommand(topic, "delete", "Delete a topic and its records", kDeleteExamples, options,
                      DeleteTopic, chosen),
          *options);

  CLI::App* trim = AddCommand(topic, "trim", "Drop a partition's records before an offset",
                              kTrimExamples, options, TrimTopic, chosen);
  trim->add_option("partition", options->name, "The partition")->required()->type_name("NAME:P");
  trim->add_option("--before", options->before, "The first offset to keep")
      ->required()
      ->type_name("OFFSET")
      ->check(WholeNumber(0, std::numeric_limits<std::int64_t>::max()));
}

}  // namespace cairn::tools
