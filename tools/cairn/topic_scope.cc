#include "tools/cairn/topic_scope.h"

#include <charconv>
#include <cstdint>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

#include "protocol/status.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

absl::StatusOr<PartitionIndex> ParsePartition(std::string_view digits, std::string_view text) {
  std::int32_t index = -1;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() || index < 0) {
    return UsageError(
        absl::StrFormat("'%s': '%s' is not a partition; write TOPIC or TOPIC:0,1,2", text, digits));
  }
  return PartitionIndex(index);
}

// "0,1,2": at least one.
absl::StatusOr<std::set<PartitionIndex>> ParsePartitions(std::string_view list,
                                                         std::string_view text) {
  std::set<PartitionIndex> partitions;
  for (const absl::string_view digits :
       absl::StrSplit(absl::string_view(list.data(), list.size()), ',')) {
    ASSIGN_OR_RETURN(const PartitionIndex partition,
                     ParsePartition({digits.data(), digits.size()}, text));
    partitions.insert(partition);
  }
  return partitions;
}

absl::Status AddScope(std::string_view text, TopicScopes& scopes) {
  const std::size_t colon = text.find(':');
  const std::string topic(text.substr(0, colon));
  if (topic.empty()) {
    return UsageError(absl::StrFormat("'%s' names no topic; write TOPIC or TOPIC:0,1,2", text));
  }
  std::set<PartitionIndex> partitions;
  if (colon != std::string_view::npos) {
    ASSIGN_OR_RETURN(partitions, ParsePartitions(text.substr(colon + 1), text));
  }
  std::set<PartitionIndex>& known = scopes.try_emplace(topic, partitions).first->second;
  if (known.empty() || partitions.empty()) {
    known.clear();
  } else {
    known.insert(partitions.begin(), partitions.end());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TopicScopes> ParseTopicScopes(const std::vector<std::string>& texts) {
  TopicScopes scopes;
  for (const std::string& text : texts) RETURN_IF_ERROR(AddScope(text, scopes));
  return scopes;
}

bool InScope(const TopicScopes& scopes, const std::string& topic, PartitionIndex partition) {
  const auto found = scopes.find(topic);
  if (found == scopes.end()) return false;
  return found->second.empty() || found->second.contains(partition);
}

}  // namespace cairn::tools
