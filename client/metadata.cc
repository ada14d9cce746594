#include "client/metadata.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"

namespace cairn::client {

absl::StatusOr<TopicInfo> TopicInfoOf(const wire::TopicMetadata& topic) {
  const std::string_view name = FromWire(topic.name());
  if (topic.code() != 0) {
    return StatusFromWire(topic.code(), absl::StrFormat("there is no topic '%s'", name));
  }
  if (topic.id() == nullptr || topic.partitions() == nullptr || topic.partitions()->size() == 0) {
    return absl::InternalError(absl::StrFormat("the broker left out parts of topic '%s'", name));
  }
  return TopicInfo{.name = std::string(name),
                   .id = FromWire(*topic.id()),
                   .internal = topic.internal(),
                   .partitions = static_cast<std::int32_t>(topic.partitions()->size()),
                   .batch_bytes_max = topic.batch_bytes_max(),
                   .durability = FromWire(topic.durability()),
                   .fetched = std::chrono::steady_clock::now()};
}

std::shared_ptr<const TopicInfo> Metadata::Find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = topics_.find(name);
  return found == topics_.end() ? nullptr : found->second;
}

std::shared_ptr<const TopicInfo> Metadata::Keep(TopicInfo topic) {
  auto kept = std::make_shared<const TopicInfo>(std::move(topic));
  const std::lock_guard lock(mutex_);
  topics_[kept->name] = kept;
  return kept;
}

void Metadata::Forget(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (const auto found = topics_.find(name); found != topics_.end()) topics_.erase(found);
}

}  // namespace cairn::client
