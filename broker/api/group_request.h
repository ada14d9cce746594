#pragma once

#include <string_view>

#include "absl/strings/str_format.h"

#include "broker/api/handlers.h"
#include "broker/api/services.h"
#include "broker/groups/coordinator.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::broker {

// The shard of the group that a request is about, or nothing: then it has been refused.
inline GroupShard* ShardOf(const Request& request, std::string_view group) {
  const absl::StatusOr<GroupShard*> shard = request.connection.services().groups.Find(group);
  if (shard.ok()) return *shard;
  request.connection.Fail(request.correlation, shard.status());
  return nullptr;
}

// One request works on so many partitions at most.
//   ErrorCode::kInvalidRequest
template <typename Rows>
absl::Status CheckRows(const Rows* rows) {
  if (rows == nullptr || rows->size() <= kGroupPartitionsMax) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest,
                   absl::StrFormat("a request about %d partitions; %d are possible at a time",
                                   rows->size(), kGroupPartitionsMax));
}

}  // namespace cairn::broker
