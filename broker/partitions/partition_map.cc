#include "broker/partitions/partition_map.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"

namespace cairn::broker {
namespace {

absl::Status UnknownTopic(const TopicId& id) {
  return MakeError(
      ErrorCode::kUnknownTopic,
      absl::StrFormat("there is no topic with the id %s; it may have been deleted", ToString(id)));
}

absl::Status UnknownPartition(const ServedTopic& topic, PartitionIndex partition) {
  return MakeError(
      ErrorCode::kUnknownPartition,
      absl::StrFormat("topic %s has no partition %d; it has partitions 0 to %d", topic.name,
                      partition.value(), static_cast<int>(topic.partitions.size()) - 1));
}

}  // namespace

const ServedTopic* ServedTopics::Find(const TopicId& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second.get();
}

const ServedTopic* ServedTopics::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second.get();
}

absl::StatusOr<ServedTopics::Place> ServedTopics::Find(const TopicPartition& id) const {
  const ServedTopic* topic = Find(id.topic);
  if (topic == nullptr) return UnknownTopic(id.topic);
  const std::int32_t index = id.partition.value();
  if (index < 0 || static_cast<std::size_t>(index) >= topic->partitions.size()) {
    return UnknownPartition(*topic, id.partition);
  }
  return Place{topic, &topic->partitions[static_cast<std::size_t>(index)]};
}

std::int64_t ServedTopics::partition_count() const {
  std::int64_t count = 0;
  for (const auto& [name, topic] : by_name_) {
    count += static_cast<std::int64_t>(topic->partitions.size());
  }
  return count;
}

PartitionMap::PartitionMap() : topics_(std::make_shared<const ServedTopics>()) {}

absl::StatusOr<std::shared_ptr<Partition>> PartitionMap::Find(const TopicPartition& id) const {
  const std::shared_ptr<const ServedTopics> topics = Load();
  const absl::StatusOr<ServedTopics::Place> place = topics->Find(id);
  if (!place.ok()) return place.status();
  return *place->partition;
}

void PartitionMap::Put(std::shared_ptr<const ServedTopic> topic) {
  std::vector<std::shared_ptr<const ServedTopic>> topics;
  topics.push_back(std::move(topic));
  Put(std::move(topics));
}

void PartitionMap::Put(std::vector<std::shared_ptr<const ServedTopic>> topics) {
  auto next = std::make_shared<ServedTopics>(*Load());
  for (std::shared_ptr<const ServedTopic>& topic : topics) {
    const auto old = next->by_name_.find(topic->name);
    if (old != next->by_name_.end()) next->by_id_.erase(old->second->id);
    next->by_id_[topic->id] = topic;
    next->by_name_[topic->name] = std::move(topic);
  }
  topics_.Store(std::move(next));
}

void PartitionMap::Remove(const TopicId& id) {
  auto next = std::make_shared<ServedTopics>(*Load());
  const auto found = next->by_id_.find(id);
  if (found == next->by_id_.end()) return;
  next->by_name_.erase(found->second->name);
  next->by_id_.erase(found);
  topics_.Store(std::move(next));
}

}  // namespace cairn::broker
