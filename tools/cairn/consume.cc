#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "client/consumer.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "tools/cairn/commands.h"
#include "tools/cairn/consume_group.h"
#include "tools/cairn/interrupt.h"
#include "tools/cairn/offset_range.h"
#include "tools/cairn/record_format.h"
#include "tools/cairn/record_printer.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"
#include "tools/cairn/whole_number.h"

namespace cairn::tools {
namespace {

constexpr char kExamples[] =
    "-o, for each partition:\n"
    "  start | end | :end     everything kept | only what comes | everything up to now\n"
    "  100 | -10              from offset 100 | the last ten, and goes on\n"
    "  @TIME | @FROM:@TO      from the first record at or after TIME | those from FROM up to, "
    "without, TO\n"
    "  TIME: 2026-11-24T09:30:00Z, 2026-11-24, milliseconds since 1970, or a span back such as "
    "-48h;\n"
    "  without a zone UTC.\n"
    "-f: %t topic %p partition %o offset %T timestamp %k key %v or %s value %K %S their lengths "
    "(-1: null)\n"
    "  %h headers %% percent, \\n \\t \\r \\0 \\\\ \\xHH\n"
    "-J: one JSON object a line, without loss: bytes that are not UTF-8 are {\"base64\":\"…\"}.\n"
    "-g: the members share the partitions, and the group remembers what was printed. -o start | "
    "end "
    "| @TIME is\n"
    "  for partitions of which it remembers nothing, --out-of-range error refuses them;\n"
    "  -e ends when what this member holds is read.\n"
    "\n"
    "Examples:\n"
    "  cairn consume orders                    everything, and goes on until Ctrl-C\n"
    "  cairn consume orders -o -10 -e          the last ten of each partition\n"
    "  cairn consume orders -p 0 -o 100 -n 5 -f '%o %k=%v\\n'\n"
    "  cairn consume orders -o @2026-11-24:@2026-11-25 -J\n"
    "  cairn consume orders -e -J | cairn produce copy -J\n"
    "  cairn consume orders -g billing         as a member of a group: from where it is\n"
    "  cairn consume 'orders-*' -g billing --session-timeout 10s --instance-id billing-1";

constexpr client::Duration kAssignTimeout{30'000};
constexpr std::size_t kPrefetchBytesAll = 128u << 20;
constexpr std::size_t kPrefetchBytesMin = 64u << 10;
constexpr std::size_t kPrefetchBytesMax = 4u << 20;

struct ConsumeOptions {
  std::vector<std::string> topics;
  std::string topic;  // the only one, without a group
  std::vector<std::int32_t> partitions;
  std::optional<std::string> range;
  std::int64_t count_max = std::numeric_limits<std::int64_t>::max();
  bool stop_at_end = false;
  std::optional<std::string> out_of_range;
  std::string format = "%v\\n";
  bool json = false;
  std::optional<std::string> group, session_timeout, instance_id;
};

using PartitionList = std::vector<client::OffsetsOfPartition>;

bool IsDamaged(const client::OffsetsOfPartition& partition) {
  return CodeOf(partition.status) == ErrorCode::kPartitionOffline;
}

absl::StatusOr<PartitionList> LookUp(const ConsumeOptions& options, std::optional<Timestamp> at,
                                     Session& session) {
  std::vector<PartitionIndex> wanted;
  for (const std::int32_t partition : options.partitions) wanted.emplace_back(partition);
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  ASSIGN_OR_RETURN(PartitionList found, admin.Offsets(options.topic, at, wanted));
  for (const auto& partition : found) {
    // What stands before the damage is read; reaching it is then told.
    if (partition.status.ok() || IsDamaged(partition)) continue;
    return MakeError(CodeOf(partition.status),
                     absl::StrFormat("%s:%d: %s", options.topic, partition.partition.value(),
                                     std::string(partition.status.message())));
  }
  return found;
}

client::ConsumerOptions::OutOfRange OutOfRangeOf(const ConsumeOptions& options) {
  if (options.out_of_range == "earliest") return client::ConsumerOptions::OutOfRange::kEarliest;
  if (options.out_of_range == "latest") return client::ConsumerOptions::OutOfRange::kLatest;
  return client::ConsumerOptions::OutOfRange::kError;
}

absl::StatusOr<client::StartPosition> StartOf(const ConsumeOptions& options,
                                              const OffsetRange& range,
                                              const client::OffsetsOfPartition& partition) {
  switch (range.start) {
    case OffsetRange::Start::kEarliest:
      return client::StartPosition::Earliest();
    case OffsetRange::Start::kLatest:
      return client::StartPosition::Latest();
    case OffsetRange::Start::kTime:
      return client::StartPosition::AtTime(range.time);
    case OffsetRange::Start::kLast:
      return client::StartPosition::At(Offset(
          std::max(partition.log_start.value(), partition.committed_end.value() - range.count)));
    case OffsetRange::Start::kOffset:
      break;
  }
  const bool outside = range.offset < partition.log_start || range.offset > partition.committed_end;
  if (outside && OutOfRangeOf(options) == client::ConsumerOptions::OutOfRange::kError) {
    return absl::OutOfRangeError(absl::StrFormat(
        "%s:%d has offsets %d up to, without, %d; -o %d lies outside (name partitions with -p, "
        "or say --out-of-range earliest or latest)",
        options.topic, partition.partition.value(), partition.log_start.value(),
        partition.committed_end.value(), range.offset.value()));
  }
  return client::StartPosition::At(range.offset);
}

// [offset for FROM, offset for TO) of each partition; those where it is empty are left out.
absl::StatusOr<std::vector<client::Assignment>> AssignTimes(const ConsumeOptions& options,
                                                            const OffsetRange& range,
                                                            Session& session) {
  // TO is looked up last: what arrives in between may not move it before FROM.
  ASSIGN_OR_RETURN(const PartitionList from, LookUp(options, range.time, session));
  ASSIGN_OR_RETURN(const PartitionList to, LookUp(options, range.stop_time, session));
  std::map<PartitionIndex, Offset> starts;
  for (const auto& found : from)
    starts[found.partition] = found.offset.value_or(found.committed_end);
  std::vector<client::Assignment> assignments;
  for (const auto& found : to) {
    const auto start = starts.find(found.partition);
    const Offset stop = found.offset.value_or(found.committed_end);
    const bool damaged = IsDamaged(found);
    if (start == starts.end() || (start->second >= stop && !damaged)) continue;
    assignments.push_back({.topic = options.topic,
                           .partition = found.partition,
                           .start = client::StartPosition::At(start->second),
                           .stop_at_present_end = damaged,
                           .stop_before = damaged ? std::nullopt : std::optional(stop)});
  }
  return assignments;
}

absl::StatusOr<std::vector<client::Assignment>> Assign(const ConsumeOptions& options,
                                                       const OffsetRange& range, Session& session) {
  if (range.stop_time.has_value()) return AssignTimes(options, range, session);
  ASSIGN_OR_RETURN(const PartitionList found, LookUp(options, std::nullopt, session));
  std::vector<client::Assignment> assignments;
  for (const auto& partition : found) {
    ASSIGN_OR_RETURN(const client::StartPosition start, StartOf(options, range, partition));
    assignments.push_back({.topic = options.topic,
                           .partition = partition.partition,
                           .start = start,
                           .stop_at_present_end = options.stop_at_end || range.stop_at_present_end,
                           .stop_before = std::nullopt});
  }
  return assignments;
}

// Until the consumer ends, the reader leaves or Ctrl-C.
absl::StatusOr<int> PrintAll(client::Consumer& consumer, bool bounded, RecordPrinter& printer) {
  while (!printer.done()) {
    if (Interrupt::requested()) {
      if (!bounded) return printer.exit_code();
      printer.SayAside("cairn: interrupted before the end");
      return kExitFailed;
    }
    ASSIGN_OR_RETURN(const bool came, printer.Step(consumer));
    if (!came && consumer.finished()) break;
  }
  return printer.exit_code();
}

RecordPrinter::Options PrinterOptions(const ConsumeOptions& options, const Session& session) {
  return {.json = options.json || session.json, .count_max = options.count_max};
}

client::ConsumerOptions ConsumerOptionsOf(const ConsumeOptions& wanted, std::size_t partitions) {
  client::ConsumerOptions options;
  options.out_of_range = OutOfRangeOf(wanted);
  options.prefetch_bytes = std::clamp(kPrefetchBytesAll / std::max<std::size_t>(partitions, 1),
                                      kPrefetchBytesMin, kPrefetchBytesMax);
  return options;
}

// Where a member begins if the group remembers no place, or one that is gone: -o, or by the names
// that a reader without a group has for it.
absl::StatusOr<client::AutoOffsetReset> BeginOf(const ConsumeOptions& options,
                                                const OffsetRange& range) {
  if (!options.out_of_range.has_value()) return AutoOffsetResetOf(range);
  if (options.range.has_value()) {
    return UsageError("with -g, -o and --out-of-range both say where to begin; give one");
  }
  if (*options.out_of_range == "earliest") return client::AutoOffsetReset::Earliest();
  if (*options.out_of_range == "latest") return client::AutoOffsetReset::Latest();
  return client::AutoOffsetReset::Error();
}

absl::StatusOr<int> ConsumeInGroup(const ConsumeOptions& options, const OffsetRange& range,
                                   RecordFormat format, Session& session) {
  ASSIGN_OR_RETURN(const client::AutoOffsetReset begin, BeginOf(options, range));
  GroupConsumption wanted{.group = *options.group,
                          .topics = options.topics,
                          .instance_id = options.instance_id.value_or(""),
                          .session_timeout = std::nullopt,
                          .begin = begin,
                          .stop_at_end = options.stop_at_end};
  if (options.instance_id.has_value() && options.instance_id->empty()) {
    return UsageError("--instance-id is empty; without one leave it out");
  }
  if (options.session_timeout.has_value()) {
    ASSIGN_OR_RETURN(wanted.session_timeout, ParseTimeout(*options.session_timeout));
  }
  RecordPrinter::Options printing = PrinterOptions(options, session);
  printing.flush_each = true;
  Interrupt::Install();  // it leaves the group
  RecordPrinter printer(std::move(format), printing, session);
  return ConsumeAsMember(wanted, printer, session);
}

absl::StatusOr<int> Consume(ConsumeOptions options, Session& session) {
  ASSIGN_OR_RETURN(const OffsetRange range,
                   ParseOffsetRange(options.range.value_or("start"), session.now));
  ASSIGN_OR_RETURN(RecordFormat format, RecordFormat::Parse(options.format));
  if (options.group.has_value()) return ConsumeInGroup(options, range, std::move(format), session);
  if (options.topics.size() > 1) {
    return UsageError("several topics can only be read as a member of a group: -g GROUP");
  }
  options.topic = options.topics.front();
  ASSIGN_OR_RETURN(std::vector<client::Assignment> assignments, Assign(options, range, session));
  if (assignments.empty()) return kExitOk;
  Interrupt::Install();
  ASSIGN_OR_RETURN(auto cluster, session.Cluster());
  ASSIGN_OR_RETURN(
      auto consumer,
      client::Consumer::Open(std::move(cluster), ConsumerOptionsOf(options, assignments.size())));
  RETURN_IF_ERROR(consumer->Assign(std::move(assignments), kAssignTimeout));
  const bool bounded = options.stop_at_end || range.stop_at_present_end ||
                       range.stop_time.has_value() ||
                       options.count_max != std::numeric_limits<std::int64_t>::max();
  RecordPrinter printer(std::move(format), PrinterOptions(options, session), session);
  return PrintAll(*consumer, bounded, printer);
}

void AddGroupOptions(CLI::App& command, ConsumeOptions& options, CLI::Option& partitions) {
  const auto add = [&](const char* name, std::optional<std::string>& value, const char* what,
                       const char* type) {
    return command
        .add_option_function<std::string>(
            name, [&value](const std::string& text) { value = text; }, what)
        ->type_name(type);
  };
  CLI::Option* group = add("-g,--group", options.group, "As a member of this group", "GROUP");
  group->excludes(&partitions);
  add("--session-timeout", options.session_timeout,
      "Not heard of for so long, it loses its partitions; default 45s", "DURATION")
      ->needs(group);
  add("--instance-id", options.instance_id, "A name to come back under, to the same partitions",
      "ID")
      ->needs(group);
}

}  // namespace

void AddConsume(CLI::App& app, Run& chosen) {
  auto options = std::make_shared<ConsumeOptions>();
  CLI::App* command = app.add_subcommand("consume", "Read records, from any offset or time");
  command->footer(kExamples);
  command->add_option("topic", options->topics, "The topic; with -g several, and patterns (* ?)")
      ->required()
      ->type_name("TOPIC");
  auto* partitions =
      command->add_option("-p,--partitions", options->partitions, "Only these partitions")
          ->type_name("P,…")
          ->delimiter(',')
          ->expected(1)
          ->take_all()
          ->check(WholeNumber(0, std::numeric_limits<std::int32_t>::max()));
  command->add_option("-o,--offset", options->range, "Where to begin and end; default start")
      ->type_name("OFFSET");
  command->add_option("-n,--count", options->count_max, "End after so many records in all")
      ->type_name("COUNT")
      ->check(WholeNumber(0, std::numeric_limits<std::int64_t>::max()));
  command
      ->add_option("--out-of-range", options->out_of_range,
                   "Where the wanted records are gone: error, earliest or latest")
      ->type_name("WHERE")
      ->check(CLI::IsMember({"error", "earliest", "latest"}).description(""));
  command->add_flag("-e,--exit", options->stop_at_end, "End at the present end");
  auto* format =
      command->add_option("-f,--record-format", options->format, "How a record is written")
          ->type_name("FORMAT");
  command->add_flag("-J,--json", options->json, "One JSON object a line")->excludes(format);
  AddGroupOptions(*command, *options, *partitions);
  command->callback([options, &chosen] {
    chosen = [options](Session& session) { return Consume(*options, session); };
  });
}

}  // namespace cairn::tools
