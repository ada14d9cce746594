#include <string>
#include <vector>

#include "absl/strings/str_format.h"

#include "broker/api/connection_table.h"
#include "broker/api/handlers.h"
#include "broker/api/services.h"
#include "broker/catalog/topic_config.h"
#include "protocol/error_code.h"

namespace cairn::broker {
namespace {

// The others have their code all the same; a reply must fit in a control message.
constexpr std::size_t kProblemsMax = 100;

using flatbuffers::FlatBufferBuilder;

auto Configs(FlatBufferBuilder& builder, const TopicConfigs& configs) {
  std::vector<flatbuffers::Offset<wire::ConfigEntry>> entries;
  for (const ConfigInEffect& config : ConfigsInEffect(configs)) {
    const auto name = ToWire(builder, config.name);
    const auto value = ToWire(builder, config.value);
    entries.push_back(wire::CreateConfigEntry(builder, name, value, config.is_default));
  }
  return builder.CreateVector(entries);
}

auto History(FlatBufferBuilder& builder, const TopicRow& row) {
  std::vector<flatbuffers::Offset<wire::PartitionCount>> counts;
  for (const PartitionCount& count : row.history) {
    counts.push_back(wire::CreatePartitionCount(builder, count.epoch, count.partitions));
  }
  return builder.CreateVector(counts);
}

struct PartitionStates {
  std::vector<wire::PartitionState> states;
  std::vector<flatbuffers::Offset<wire::PartitionProblem>> problems;
};

PartitionStates StatesOf(FlatBufferBuilder& builder, const ServedTopic& topic) {
  PartitionStates out;
  for (const auto& partition : topic.partitions) {
    const Partition::State state = partition->state();
    const std::int32_t index = partition->id().partition.value();
    out.states.emplace_back(state.ends.log_start.value(), state.ends.log_end.value(),
                            state.ends.durable_end.value(), state.ends.committed_end.value(),
                            state.bytes, index, state.ends.leader_epoch.value(), state.segments,
                            static_cast<std::uint16_t>(CodeOf(state.write_state)));
    if (state.write_state.ok() || out.problems.size() >= kProblemsMax) continue;
    const auto message = ToWire(builder, std::string(state.write_state.message()));
    out.problems.push_back(wire::CreatePartitionProblem(builder, index, message));
  }
  return out;
}

}  // namespace

void HandleDescribeTopic(const Request& request, const wire::DescribeTopic& describe) {
  Connection& connection = request.connection;
  const std::string_view name = FromWire(describe.name());
  const std::optional<TopicRow> row = connection.services().catalog.Find(name);
  const ServedTopic* topic = connection.table().topics().Find(name);
  // Between the catalog's word and the map's there is a moment in which only one of them knows it.
  if (!row || topic == nullptr) {
    return connection.Fail(
        request.correlation,
        MakeError(ErrorCode::kUnknownTopic, absl::StrFormat("there is no topic \"%s\"", name)));
  }
  auto& builder = connection.builder();
  const auto text = ToWire(builder, row->name);
  const auto configs = Configs(builder, row->configs);
  const auto history = History(builder, *row);
  const PartitionStates partitions = StatesOf(builder, *topic);
  const auto states = builder.CreateVectorOfStructs(partitions.states);
  const auto problems = builder.CreateVector(partitions.problems);
  const wire::Uuid id = ToWire(row->id);
  connection.Reply(request.correlation,
                   wire::CreateTopicDescription(builder, text, &id, row->created.value(), configs,
                                                states, problems, history));
}

}  // namespace cairn::broker
