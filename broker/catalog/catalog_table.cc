#include "broker/catalog/catalog_table.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "broker/state/records_generated.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

constexpr std::byte kTopicKind{1};
constexpr std::byte kProducerIdsKind{2};

Bytes TopicKey(const TopicId& id) {
  Bytes key(1 + id.bytes.size());
  key[0] = kTopicKind;
  std::memcpy(key.data() + 1, id.bytes.data(), id.bytes.size());
  return key;
}

// The table in `value`; `aligned` keeps its bytes.
template <typename Table>
absl::StatusOr<const Table*> ParseValue(std::optional<ByteView> value, Bytes& aligned) {
  if (!value.has_value()) return absl::DataLossError("a record of the catalog lacks its value");
  return ParseRecord<Table>(*value, aligned);
}

absl::StatusOr<TopicRow> ParseTopic(const TopicId& id, std::optional<ByteView> value) {
  Bytes aligned;
  ASSIGN_OR_RETURN(const records::Topic* topic, ParseValue<records::Topic>(value, aligned));
  TopicRow row;
  row.id = id;
  row.name = RecordText(topic->name());
  row.created = Timestamp(topic->created());
  row.deleted = topic->deleted();
  if (topic->configs() != nullptr) {
    for (const records::Config* config : *topic->configs()) {
      row.configs[RecordText(config->name())] = RecordText(config->value());
    }
  }
  for (const records::Count* count : *topic->history()) {
    row.history.push_back({count->epoch(), count->partitions()});
  }
  if (row.history.empty() || !CheckTopicName(row.name).ok()) {
    return absl::DataLossError(absl::StrFormat("topic %s has %d partition counts and the name '%s'",
                                               ToString(id), row.history.size(), row.name));
  }
  for (const PartitionCount& count : row.history) {
    if (count.partitions >= 1 && count.partitions <= kPartitionsPerTopicMax) continue;
    return absl::DataLossError(
        absl::StrFormat("topic %s has %d partitions", row.name, count.partitions));
  }
  return row;
}

}  // namespace

StateRecord CatalogTable::TopicRecord(const TopicRow& row) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<records::Config>> configs;
  for (const auto& [name, value] : row.configs) {
    configs.push_back(
        records::CreateConfig(builder, builder.CreateString(name), builder.CreateString(value)));
  }
  std::vector<flatbuffers::Offset<records::Count>> history;
  for (const PartitionCount& count : row.history) {
    history.push_back(records::CreateCount(builder, count.epoch, count.partitions));
  }
  builder.Finish(records::CreateTopic(builder, builder.CreateString(row.name), row.created.value(),
                                      builder.CreateVector(configs), builder.CreateVector(history),
                                      row.deleted));
  return {TopicKey(row.id), RecordBytes(builder)};
}

StateRecord CatalogTable::TopicForgotten(const TopicId& id) { return {TopicKey(id), std::nullopt}; }

StateRecord CatalogTable::ProducerIdsRecord(ProducerId next) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(records::CreateProducerIds(builder, next.value()));
  return {Bytes{kProducerIdsKind}, RecordBytes(builder)};
}

absl::Status CatalogTable::Apply(ByteView key, std::optional<ByteView> value) {
  if (key.empty()) return absl::DataLossError("a record of the catalog has an empty key");
  if (key[0] == kTopicKind && key.size() == 1 + sizeof(TopicId::bytes)) {
    TopicId id;
    std::memcpy(id.bytes.data(), key.data() + 1, id.bytes.size());
    return ApplyTopic(id, value);
  }
  if (key[0] == kProducerIdsKind && key.size() == 1) {
    Bytes aligned;
    ASSIGN_OR_RETURN(const records::ProducerIds* ids,
                     ParseValue<records::ProducerIds>(value, aligned));
    next_producer_id_ = ProducerId(ids->next());
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrFormat("a record of kind %d with a key of %d bytes is not known to this version; a "
                      "newer one wrote it",
                      std::to_integer<int>(key[0]), key.size()));
}

absl::Status CatalogTable::ApplyTopic(const TopicId& id, std::optional<ByteView> value) {
  std::optional<TopicRow> row;
  if (value.has_value()) {
    ASSIGN_OR_RETURN(row, ParseTopic(id, value));
  }
  const auto old = topics_.find(id);
  if (old != topics_.end()) {
    const auto named = by_name_.find(old->second.name);
    if (named != by_name_.end() && named->second == id) by_name_.erase(named);
    topics_.erase(old);
  }
  if (!row.has_value()) return absl::OkStatus();
  if (!row->deleted) by_name_[row->name] = id;
  topics_.emplace(id, *std::move(row));
  return absl::OkStatus();
}

const TopicRow* CatalogTable::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : Find(found->second);
}

const TopicRow* CatalogTable::Find(const TopicId& id) const {
  const auto found = topics_.find(id);
  return found == topics_.end() || found->second.deleted ? nullptr : &found->second;
}

}  // namespace cairn::broker
