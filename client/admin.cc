#include "client/admin.h"

#include <utility>

#include "client/ask.h"
#include "client/core.h"
#include "client/deadline.h"
#include "protocol/error_code.h"
#include "protocol/status.h"

namespace cairn::client {
namespace {

using Builder = flatbuffers::FlatBufferBuilder;

auto ConfigsToWire(Builder& builder, const std::map<std::string, std::string>& configs) {
  std::vector<flatbuffers::Offset<wire::ConfigEntry>> entries;
  for (const auto& [name, value] : configs) {
    const auto name_text = ToWire(builder, name);
    const auto value_text = ToWire(builder, value);
    entries.push_back(wire::CreateConfigEntry(builder, name_text, value_text));
  }
  return builder.CreateVector(entries);
}

TopicDescription DescriptionFromWire(const wire::TopicDescription& from) {
  TopicDescription topic;
  topic.name = Text(from.name());
  topic.id = FromWire(*from.id());
  topic.created = Timestamp(from.created());
  ForEach(from.configs(), [&](const wire::ConfigEntry& config) {
    topic.configs.push_back({Text(config.name()), Text(config.value()), config.is_default()});
  });
  std::map<std::int32_t, std::string> problems;
  ForEach(from.problems(), [&](const wire::PartitionProblem& problem) {
    problems[problem.partition()] = Text(problem.message());
  });
  ForEach(from.partitions(), [&](const wire::PartitionState& state) {
    std::string& problem = problems[state.partition()];
    topic.partitions.push_back({.partition = PartitionIndex(state.partition()),
                                .log_start = Offset(state.log_start()),
                                .log_end = Offset(state.log_end()),
                                .durable_end = Offset(state.durable_end()),
                                .committed_end = Offset(state.committed_end()),
                                .leader_epoch = LeaderEpoch(state.leader_epoch()),
                                .bytes = state.bytes(),
                                .segments = state.segments(),
                                .state = StatusFromWire(state.code(), problem),
                                .problem = problem});
  });
  ForEach(from.history(), [&](const wire::PartitionCount& count) {
    topic.history.emplace_back(count.epoch(), count.partitions());
  });
  return topic;
}

void TakeRecovered(const wire::RecoverySummary& from, BrokerStatus& status) {
  status.recovery_sums = {.took_ms = from.took_ms(),
                          .partitions = from.partitions(),
                          .bytes_scanned = from.bytes_scanned(),
                          .bytes_cut = from.bytes_cut(),
                          .batches_cut = from.batches_cut(),
                          .producers_rebuilt = from.producers_rebuilt(),
                          .epochs_raised = from.epochs_raised(),
                          .offline = from.offline(),
                          .left_out = from.left_out()};
  if (from.done() == nullptr || from.topics() == nullptr) return;
  for (const wire::RecoveredPartition* each : *from.done()) {
    if (each->topic() >= from.topics()->size()) continue;
    BrokerStatus::Recovered& out = status.recovered.emplace_back();
    out.topic = Text(from.topics()->Get(each->topic()));
    out.partition = PartitionIndex(each->partition());
    out.bytes_scanned = each->bytes_scanned();
    out.bytes_cut = each->bytes_cut();
    out.batches_cut = each->batches_cut();
    out.producers_rebuilt = each->producers_rebuilt();
    if (each->leader_epoch() >= 0) out.leader_epoch = LeaderEpoch(each->leader_epoch());
    if (each->offline_from() >= 0) out.offline_from = Offset(each->offline_from());
  }
}

BrokerStatus StatusFromReply(const wire::StatusReply& from) {
  BrokerStatus status;
  status.software = Text(from.software());
  status.data_dir = Text(from.data_dir());
  status.cluster_id = ToString(FromWire(*from.cluster_id()));
  status.uptime_ms = from.uptime_ms();
  status.disk_used = from.disk_used();
  status.disk_free = from.disk_free();
  status.disk_total = from.disk_total();
  status.topics = from.topics();
  status.partitions = from.partitions();
  status.connections = from.connections();
  status.pid = from.pid();
  status.clean_start = from.clean_start();
  ForEach(from.problems(), [&](const flatbuffers::String& problem) {
    status.problems.emplace_back(FromWire(&problem));
  });
  ForEach(from.recovery(), [&](const wire::RecoveryNote& note) {
    status.recovery.push_back(
        {Text(note.topic()), PartitionIndex(note.partition()), Text(note.message())});
  });
  if (from.recovered() != nullptr) TakeRecovered(*from.recovered(), status);
  if (const wire::ScrubProgress* scrub = from.scrub(); scrub != nullptr) {
    const auto time = [](std::int64_t ms) {
      return ms < 0 ? std::nullopt : std::optional<Timestamp>(ms);
    };
    status.scrub = {.enabled = scrub->enabled(),
                    .running = scrub->running(),
                    .round_began = time(scrub->round_began_ms()),
                    .completed = time(scrub->completed_ms()),
                    .segments = scrub->segments(),
                    .bytes = scrub->bytes(),
                    .damages = scrub->damages()};
  }
  return status;
}

std::string WhyNoOffsets(const wire::PartitionOffsets& from, std::string_view topic) {
  switch (static_cast<ErrorCode>(from.code())) {
    case ErrorCode::kUnknownPartition:
      return absl::StrFormat("topic %s has no partition %d", topic, from.partition());
    case ErrorCode::kPartitionOffline:
      return absl::StrFormat(
          "the partition is damaged at or after offset %d; the broker's status "
          "and log say where and how",
          from.committed_end());
    default:
      return absl::StrFormat("%s:%d cannot be asked for its offsets", topic, from.partition());
  }
}

OffsetsOfPartition OffsetsFromWire(const wire::PartitionOffsets& from, std::string_view topic) {
  OffsetsOfPartition offsets;
  offsets.partition = PartitionIndex(from.partition());
  offsets.log_start = Offset(from.log_start());
  offsets.committed_end = Offset(from.committed_end());
  if (from.offset() >= 0) offsets.offset = Offset(from.offset());
  if (from.timestamp() >= 0) offsets.timestamp = Timestamp(from.timestamp());
  if (from.code() != 0) {
    offsets.status = StatusFromWire(from.code(), WhyNoOffsets(from, topic));
  }
  return offsets;
}

}  // namespace

Admin::Admin(std::shared_ptr<Cluster> cluster, Duration timeout)
    : cluster_(std::move(cluster)), timeout_(timeout) {}

absl::StatusOr<std::vector<TopicSummary>> Admin::ListTopics(bool include_internal) {
  std::vector<TopicSummary> topics;
  std::string after;
  absl::Status bad;
  const auto deadline = DeadlineAfter(timeout_);
  for (bool more = true; more;) {
    const std::size_t before = topics.size();
    RETURN_IF_ERROR(Ask<wire::MetadataReply>(
        *cluster_->core(), kRead, TimeLeft(deadline),
        [&](Builder& builder) {
          const auto after_text = after.empty() ? 0 : ToWire(builder, after);
          return wire::CreateMetadata(builder, 0, after_text, include_internal);
        },
        [&](const wire::MetadataReply& reply) {
          ForEach(reply.topics(), [&](const wire::TopicMetadata& topic) {
            auto info = TopicInfoOf(topic);
            if (!info.ok()) return bad.Update(info.status());
            topics.push_back(
                {info->name, info->id, info->internal, info->partitions, info->durability});
          });
          more = reply.more();
        }));
    RETURN_IF_ERROR(bad);
    if (more && topics.size() == before) {
      return absl::InternalError("the broker promised more topics and sent none");
    }
    if (more) after = topics.back().name;
  }
  return topics;
}

absl::StatusOr<TopicDescription> Admin::DescribeTopic(std::string_view name) {
  TopicDescription topic;
  RETURN_IF_ERROR(Ask<wire::TopicDescription>(
      *cluster_->core(), kRead, timeout_,
      [&](Builder& builder) { return wire::CreateDescribeTopic(builder, ToWire(builder, name)); },
      [&](const wire::TopicDescription& reply) { topic = DescriptionFromWire(reply); }));
  return topic;
}

absl::StatusOr<TopicId> Admin::CreateTopic(std::string_view name, std::int32_t partitions,
                                           const std::map<std::string, std::string>& configs) {
  TopicId id;
  RETURN_IF_ERROR(Ask<wire::TopicCreated>(
      *cluster_->core(), kChange, timeout_,
      [&](Builder& builder) {
        const auto name_text = ToWire(builder, name);
        const auto entries = ConfigsToWire(builder, configs);
        return wire::CreateCreateTopic(builder, name_text, partitions, entries);
      },
      [&](const wire::TopicCreated& reply) { id = FromWire(*reply.id()); }));
  cluster_->core()->metadata().Forget(name);
  return id;
}

absl::Status Admin::AlterTopic(std::string_view name,
                               const std::map<std::string, std::string>& configs,
                               std::optional<std::int32_t> partitions, bool remap_keys) {
  const absl::Status status = Ask<wire::TopicAltered>(
      *cluster_->core(), kChange, timeout_,
      [&](Builder& builder) {
        const auto name_text = ToWire(builder, name);
        const auto entries = ConfigsToWire(builder, configs);
        return wire::CreateAlterTopic(builder, name_text, entries, partitions.value_or(0),
                                      remap_keys);
      },
      [](const wire::TopicAltered&) {});
  cluster_->core()->metadata().Forget(name);
  return status;
}

absl::Status Admin::DeleteTopic(std::string_view name) {
  const absl::Status status = Ask<wire::TopicDeleted>(
      *cluster_->core(), kChange, timeout_,
      [&](Builder& builder) { return wire::CreateDeleteTopic(builder, ToWire(builder, name)); },
      [](const wire::TopicDeleted&) {});
  cluster_->core()->metadata().Forget(name);
  return status;
}

absl::StatusOr<Offset> Admin::TrimTopic(std::string_view name, PartitionIndex partition,
                                        Offset before) {
  Offset log_start;
  RETURN_IF_ERROR(Ask<wire::TopicTrimmed>(
      *cluster_->core(), kChange, timeout_,
      [&](Builder& builder) {
        const auto name_text = ToWire(builder, name);
        return wire::CreateTrimTopic(builder, name_text, partition.value(), before.value());
      },
      [&](const wire::TopicTrimmed& reply) { log_start = Offset(reply.log_start()); }));
  return log_start;
}

absl::StatusOr<std::vector<OffsetsOfPartition>> Admin::Offsets(
    std::string_view topic, std::optional<Timestamp> at,
    const std::vector<PartitionIndex>& partitions) {
  Core& core = *cluster_->core();
  const auto deadline = DeadlineAfter(timeout_);
  ASSIGN_OR_RETURN(const auto info, core.ResolveTopic(topic, timeout_));
  std::vector<wire::OffsetQuery> queries;
  const std::int64_t time = at.has_value() ? at->value() : -1;
  for (const PartitionIndex partition : partitions) queries.emplace_back(time, partition.value());
  for (std::int32_t i = 0; partitions.empty() && i < info->partitions; ++i) {
    queries.emplace_back(time, i);
  }
  std::vector<OffsetsOfPartition> offsets;
  const absl::Status status = Ask<wire::OffsetsReply>(
      core, kRead, TimeLeft(deadline),
      [&](Builder& builder) {
        const auto query_vector = builder.CreateVectorOfStructs(queries);
        const wire::Uuid id = ToWire(info->id);
        return wire::CreateListOffsets(builder, &id, query_vector);
      },
      [&](const wire::OffsetsReply& reply) {
        ForEach(reply.partitions(), [&](const wire::PartitionOffsets& partition) {
          offsets.push_back(OffsetsFromWire(partition, topic));
        });
      });
  if (absl::IsNotFound(status)) core.metadata().Forget(topic);
  RETURN_IF_ERROR(status);
  return offsets;
}

absl::StatusOr<BrokerStatus> Admin::Status() {
  BrokerStatus status;
  RETURN_IF_ERROR(Ask<wire::StatusReply>(
      *cluster_->core(), kRead, timeout_,
      [](Builder& builder) { return wire::CreateStatus(builder); },
      [&](const wire::StatusReply& reply) { status = StatusFromReply(reply); }));
  return status;
}

}  // namespace cairn::client
