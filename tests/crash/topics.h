#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "tests/support/history.h"

namespace cairn::test {

struct TopicPlan {
  std::string name;
  std::int32_t partitions;
  PartitionRules::Keeps keeps;
  std::map<std::string, std::string> configs;

  Durability durability() const {
    const auto config = configs.find("durability");
    return config != configs.end() && config->second == "written" ? Durability::kWritten
                                                                  : Durability::kDurable;
  }
};

// Topics that between them make a broker do all that it does to its files.
inline std::vector<TopicPlan> PlanOfTopics() {
  using Keeps = PartitionRules::Keeps;
  return {
      {"plain", 3, Keeps::kAll, {}},
      {"rolling", 2, Keeps::kAll, {{"segment.bytes", "200000"}}},
      {"trimmed", 2, Keeps::kFromLogStart, {{"segment.bytes", "100000"}}},
      {"retained",
       1,
       Keeps::kFromLogStart,
       {{"segment.bytes", "100000"}, {"retention.bytes", "1000000"}}},
      {"compacted",
       1,
       Keeps::kNewestOfKey,
       {{"cleanup.policy", "compact"},
        {"segment.bytes", "20000"},
        {"min.cleanable.dirty.ratio", "0.01"}}},
      {"written", 2, Keeps::kAll, {{"durability", "written"}, {"flush.ms", "300"}}},
      {"rolling-written",
       1,
       Keeps::kAll,
       {{"durability", "written"}, {"flush.ms", "1000"}, {"segment.bytes", "200000"}}},
  };
}

// Of each producer on compacted topics; see History::keys_per_producer.
inline constexpr std::int64_t kKeysPerProducer = 300;

// The partitions of all topics in one row: a place in it is what a history calls a partition.
class Places {
 public:
  explicit Places(const std::vector<TopicPlan>& topics) {
    for (const TopicPlan& topic : topics) {
      first_[topic.name] = static_cast<std::int32_t>(rules_.size());
      for (std::int32_t p = 0; p < topic.partitions; ++p) {
        rules_.push_back(
            {absl::StrFormat("%s:%d", topic.name, p), topic.durability(), topic.keeps});
        places_.emplace_back(topic.name, PartitionIndex(p));
      }
    }
  }

  std::int32_t size() const { return static_cast<std::int32_t>(rules_.size()); }
  const std::vector<PartitionRules>& rules() const { return rules_; }
  const PartitionRules& rules(std::int32_t place) const {
    return rules_[static_cast<std::size_t>(place)];
  }
  const std::string& topic(std::int32_t place) const {
    return places_[static_cast<std::size_t>(place)].first;
  }
  PartitionIndex partition(std::int32_t place) const {
    return places_[static_cast<std::size_t>(place)].second;
  }
  std::int32_t Find(std::string_view topic, PartitionIndex partition) const {
    return first_.find(topic)->second + partition.value();
  }

 private:
  std::vector<PartitionRules> rules_;
  std::vector<std::pair<std::string, PartitionIndex>> places_;
  std::map<std::string, std::int32_t, std::less<>> first_;
};

}  // namespace cairn::test
