#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "broker/partitions/partition_map.h"

namespace cairn::broker {

// The configs of a topic that were set, by name; what is absent has its default.
using TopicConfigs = std::map<std::string, std::string, std::less<>>;

// One config that a topic can have. Names, units and values are Kafka's where the thing is Kafka's.
struct TopicConfigRow {
  std::string_view name;
  std::string_view default_value;
  bool immutable;            // only at creation
  std::string_view meaning;  // for people
  // Checks `value` and puts it where it acts.
  //   kInvalidArgument  what a value must look like
  absl::Status (*apply)(std::string_view value, TopicOptions& options);
};

// All of them, by name. A new config is one row in topic_config.cc.
std::span<const TopicConfigRow> TopicConfigRows();

// What `configs` come to, over the defaults.
//   ErrorCode::kInvalidConfig  an unknown name, one whose feature this version does not have, or a
//   bad
//                              value; names the config and lists what is known
absl::StatusOr<TopicOptions> ResolveTopicConfigs(const TopicConfigs& configs);

// `configs` after `changes`, of which an empty value puts the default back.
//   ErrorCode::kInvalidConfig  as above, or a config that cannot be changed later
absl::StatusOr<TopicConfigs> ChangeTopicConfigs(const TopicConfigs& configs,
                                                const TopicConfigs& changes);

// Every config with its value in effect, by name: for `describe`.
struct ConfigInEffect {
  std::string name;
  std::string value;
  bool is_default = false;
};
std::vector<ConfigInEffect> ConfigsInEffect(const TopicConfigs& configs);

}  // namespace cairn::broker
