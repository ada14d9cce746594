#include "broker/groups/group_topics.h"

#include <utility>

namespace cairn::broker {

std::shared_ptr<const KnownTopics> TopicsForGroups::Load() {
  std::shared_ptr<const ServedTopics> served = map_.Load();
  const std::lock_guard lock(mutex_);
  if (served == served_) return known_;
  auto known = std::make_shared<KnownTopics>();
  for (const auto& [name, topic] : served->by_name()) {
    known->all.insert(topic->id);
    if (topic->internal) continue;
    known->readable[name] = {topic->id, static_cast<std::int32_t>(topic->partitions.size())};
    known->names[topic->id] = name;
  }
  served_ = std::move(served);
  known_ = std::move(known);
  return known_;
}

}  // namespace cairn::broker
