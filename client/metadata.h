#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "protocol/messages.h"
#include "protocol/types.h"

namespace cairn::client {

// A topic as the broker described it at some moment. Never changes: a newer answer is a new object.
struct TopicInfo {
  std::string name;
  TopicId id;
  bool internal = false;
  std::int32_t partitions = 0;
  std::size_t batch_bytes_max = 0;
  Durability durability = Durability::kDurable;
  std::chrono::steady_clock::time_point fetched;
};

//   kNotFound  the broker knows no such topic
absl::StatusOr<TopicInfo> TopicInfoOf(const wire::TopicMetadata& topic);

// What is known about topics, by name. It is believed for a while and then asked for again.
//
// Threads: any.
class Metadata {
 public:
  static constexpr std::chrono::seconds kBelieved{60};

  // Null: not known.
  std::shared_ptr<const TopicInfo> Find(std::string_view name) const;
  std::shared_ptr<const TopicInfo> Keep(TopicInfo topic);
  void Forget(std::string_view name);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const TopicInfo>, std::less<>> topics_;
};

}  // namespace cairn::client
