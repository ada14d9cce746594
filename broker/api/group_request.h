#pragma once

#include <string_view>

#include "broker/api/handlers.h"
#include "broker/api/services.h"
#include "broker/groups/coordinator.h"

namespace cairn::broker {

// The shard of the group that a request is about, or nothing: then it has been refused.
inline GroupShard* ShardOf(const Request& request, std::string_view group) {
  const absl::StatusOr<GroupShard*> shard = request.connection.services().groups.Find(group);
  if (shard.ok()) return *shard;
  request.connection.Fail(request.correlation, shard.status());
  return nullptr;
}

}  // namespace cairn::broker
