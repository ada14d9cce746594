#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"

#include "broker/groups/group_shard.h"
#include "broker/groups/group_topics.h"
#include "broker/groups/session_count.h"

namespace cairn::broker {

class HelperPool;

// All consumer groups: which shard has a group, and whose sessions are over.
//
// Threads: any; Start, Open and Stop from one. One thread of its own sleeps as long as there are no
// members.
class GroupCoordinator {
 public:
  GroupCoordinator(const PartitionMap& map, HelperPool& helpers, AppendClock& clock);
  ~GroupCoordinator();

  // Reads the partitions of `__consumer_offsets`, several at a time. One that cannot be read is
  // found in Problems(), and its groups are refused with the reason.
  void Start(const std::vector<std::shared_ptr<Partition>>& partitions);
  // Requests may come. Only now time begins to count for the members that were there before: they
  // could not be heard of while the broker started.
  void Open();
  // No more requests; resets that wait have failed.
  void Stop(const absl::Status& why);

  // The shard of a group.
  //   ErrorCode::kInvalidRequest    not a name for a group
  //   ErrorCode::kPartitionOffline  its partition could not be read
  absl::StatusOr<GroupShard*> Find(std::string_view group);

  // In name order, after `after`, at most `max`; whether there are more.
  struct Names {
    std::vector<std::string> names;
    bool more = false;
  };
  Names List(std::string_view after, std::size_t max) const;

  void TopicChanged(const TopicId& id, const std::string& name);

  std::vector<std::string> Problems() const;

 private:
  void WatchSessions();

  HelperPool& helpers_;
  AppendClock& clock_;
  TopicsForGroups topics_;
  SessionCount sessions_;
  std::vector<std::shared_ptr<GroupShard>> shards_;
  std::thread watch_;
};

}  // namespace cairn::broker
