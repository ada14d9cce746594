#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "protocol/types.h"

namespace cairn::tools {

// The partitions that a command is about, by topic. An empty set: all of the topic's partitions.
using TopicScopes = std::map<std::string, std::set<PartitionIndex>>;

// Each text is a topic, `orders`, or some of its partitions, `orders:0,1,2`; several about one
// topic add up.
//   kInvalidArgument (a usage error)  not in that form
absl::StatusOr<TopicScopes> ParseTopicScopes(const std::vector<std::string>& texts);

bool InScope(const TopicScopes& scopes, const std::string& topic, PartitionIndex partition);

}  // namespace cairn::tools
