#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "broker/groups/group_draft.h"
#include "broker/partitions/partition_map.h"
#include "protocol/types.h"

namespace cairn::broker {

// What there is to read, at one moment.
struct KnownTopics {
  GroupTopics readable;                  // all but the broker's own
  std::map<TopicId, std::string> names;  // of those
  std::set<TopicId> all;
};

// The topics of the partition map as groups see them; made anew only when the map is another.
//
// Threads: any.
class TopicsForGroups {
 public:
  explicit TopicsForGroups(const PartitionMap& map) : map_(map) {}

  std::shared_ptr<const KnownTopics> Load();

 private:
  const PartitionMap& map_;
  std::mutex mutex_;
  std::shared_ptr<const ServedTopics> served_;
  std::shared_ptr<const KnownTopics> known_;
};

}  // namespace cairn::broker
