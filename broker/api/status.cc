#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include "absl/strings/str_format.h"

#include "broker/api/connection_table.h"
#include "broker/api/handlers.h"
#include "broker/api/services.h"

namespace cairn::broker {
namespace {

// A reply must fit in a control message, whatever has happened.
constexpr std::size_t kLinesMax = 400;
constexpr std::size_t kLineBytesMax = 400;
constexpr std::size_t kRecoveredMax = 10'000;
constexpr std::int64_t kFreeLow = 16 << 20;

using flatbuffers::FlatBufferBuilder;

std::string_view Shorten(std::string_view line) { return line.substr(0, kLineBytesMax); }

auto Problems(FlatBufferBuilder& builder, const Services& services,
              const storage::DataDir::DiskSpace& space) {
  std::vector<std::string> lines = services.facts.problems;
  if (std::optional<std::string> clock = services.clock.Problem()) {
    lines.push_back(*std::move(clock));
  }
  // Producers wait and try again while the disk is full: this is where an operator learns why.
  if (const storage::Reserve& reserve = services.data_dir.reserve(); reserve.is_short()) {
    lines.push_back(absl::StrFormat(
        "the disk is full: %d bytes free, and %d of the %d kept for deletions, trims and group "
        "commits; producers wait until there is room and then go on by themselves",
        space.free, reserve.held(), reserve.bytes()));
  } else if (space.total > 0 && space.free < kFreeLow) {
    lines.push_back(absl::StrFormat(
        "the disk is nearly full: %d bytes free; without room, writes are refused", space.free));
  }
  for (std::string& line : services.catalog.Problems()) lines.push_back(std::move(line));
  for (std::string& line : services.groups.Problems()) lines.push_back(std::move(line));
  if (lines.size() > kLinesMax) {
    const std::size_t more = lines.size() - kLinesMax;
    lines.resize(kLinesMax);
    lines.push_back(absl::StrFormat("and %d more; see the log of the start", more));
  }
  std::vector<flatbuffers::Offset<flatbuffers::String>> texts;
  for (const std::string& line : lines) texts.push_back(ToWire(builder, Shorten(line)));
  return builder.CreateVector(texts);
}

auto Notes(FlatBufferBuilder& builder, const RecoverySummary& summary) {
  std::vector<flatbuffers::Offset<wire::RecoveryNote>> out;
  std::size_t left_out = 0;
  const auto add = [&](std::string_view topic, PartitionIndex partition, std::string_view message) {
    const auto name = ToWire(builder, topic);
    const auto text = ToWire(builder, Shorten(message));
    out.push_back(wire::CreateRecoveryNote(builder, name, partition.value(), text));
  };
  for (const RecoverySummary::Partition& each : summary.done) {
    for (const std::string& note : each.report.notes) {
      if (out.size() < kLinesMax) {
        add(each.topic, each.partition, note);
      } else {
        ++left_out;
      }
    }
  }
  if (left_out > 0) {
    add("", PartitionIndex(-1), absl::StrFormat("and %d more; see the log of the start", left_out));
  }
  return builder.CreateVector(out);
}

// Structs in one vector, and each topic's name once: a start after a power cut may have had
// something to do in every partition.
auto Recovered(FlatBufferBuilder& builder, const RecoverySummary& summary) {
  std::map<std::string_view, std::uint32_t> places;
  std::vector<flatbuffers::Offset<flatbuffers::String>> names;
  std::vector<wire::RecoveredPartition> done;
  for (const RecoverySummary::Partition& each : summary.done) {
    if (done.size() == kRecoveredMax) break;
    const auto [place, is_new] =
        places.emplace(each.topic, static_cast<std::uint32_t>(names.size()));
    if (is_new && names.size() == kLinesMax) break;
    if (is_new) names.push_back(ToWire(builder, each.topic));
    const storage::RecoveryReport& report = each.report;
    done.emplace_back(place->second, each.partition.value(), report.bytes_scanned, report.bytes_cut,
                      report.offline_from.value(), report.raised_to.value(),
                      static_cast<std::int32_t>(report.batches_cut), report.producers_rebuilt);
  }
  const auto topics = builder.CreateVector(names);
  const auto partitions = builder.CreateVectorOfStructs(done);
  return wire::CreateRecoverySummary(
      builder, summary.took.count(), summary.partitions, summary.bytes_scanned, summary.bytes_cut,
      summary.batches_cut, summary.producers_rebuilt, summary.epochs_raised, summary.offline,
      topics, partitions, static_cast<std::int32_t>(summary.done.size() - done.size()));
}

auto Scrub(FlatBufferBuilder& builder, const Scrubber::Progress& progress) {
  const storage::ScrubState& state = progress.state;
  return wire::CreateScrubProgress(builder, progress.enabled, progress.running,
                                   state.round_began.value(), state.completed.value(),
                                   state.segments, state.bytes, state.damages);
}

std::int64_t UptimeMs(const Services& services) {
  const auto up = std::chrono::steady_clock::now() - services.facts.started;
  return std::chrono::duration_cast<std::chrono::milliseconds>(up).count();
}

void Encode(Connection& on, std::uint64_t correlation, const DiskUsage::Seen& disk) {
  const Services& services = on.services();
  const ServedTopics& topics = on.table().topics();
  const auto visible = std::count_if(topics.by_name().begin(), topics.by_name().end(),
                                     [](const auto& entry) { return !entry.second->internal; });
  std::int64_t partition_count = 0;
  for (const auto& [name, topic] : topics.by_name()) {
    if (!topic->internal) partition_count += static_cast<std::int64_t>(topic->partitions.size());
  }
  auto& builder = on.builder();
  const auto software = ToWire(builder, services.facts.software);
  const auto data_dir = ToWire(
      builder, std::filesystem::absolute(services.data_dir.path()).lexically_normal().string());
  const auto problems = Problems(builder, services, disk.space);
  const auto notes = Notes(builder, services.catalog.recovery());
  const auto recovered = Recovered(builder, services.catalog.recovery());
  const auto scrub = Scrub(builder, services.scrubber.progress());
  const wire::Uuid cluster = ToWire(services.data_dir.cluster_id());
  wire::StatusReplyBuilder reply(builder);
  reply.add_software(software);
  reply.add_cluster_id(&cluster);
  reply.add_uptime_ms(UptimeMs(services));
  reply.add_data_dir(data_dir);
  reply.add_disk_used(disk.used);
  reply.add_disk_free(disk.space.free);
  reply.add_disk_total(disk.space.total);
  reply.add_topics(static_cast<std::int32_t>(visible));
  reply.add_partitions(static_cast<std::int32_t>(partition_count));
  reply.add_connections(services.connections.served.load(std::memory_order_relaxed));
  reply.add_problems(problems);
  reply.add_recovery(notes);
  reply.add_recovered(recovered);
  reply.add_scrub(scrub);
  reply.add_clean_start(services.catalog.clean_start());
  reply.add_pid(::getpid());
  on.Reply(correlation, reply.Finish());
}

}  // namespace

void HandleStatus(const Request& request) {
  using Outcome = absl::StatusOr<DiskUsage::Seen>;
  const Services& services = request.connection.services();
  auto answer =
      AnswerLater<Outcome>(request, [](Connection& on, std::uint64_t correlation,
                                       const Outcome& disk) { Encode(on, correlation, *disk); });
  services.helpers.Submit(
      HelperKind::kRead,
      [&usage = services.disk_usage, answer = std::move(answer)](absl::Status status) mutable {
        if (!status.ok()) return answer(Outcome(std::move(status)));
        answer(Outcome(usage.Look(DiskUsage::Clock::now())));
      });
}

}  // namespace cairn::broker
