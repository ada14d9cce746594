#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"

#include "broker/partitions/partition.h"
#include "broker/runtime/published.h"
#include "protocol/limits.h"
#include "protocol/types.h"

namespace cairn::broker {

// What the configs of a topic come to for those who serve it.
struct TopicOptions {
  PartitionOptions partition;
  std::int64_t batch_bytes_max = kBatchBytesDefault;  // max.message.bytes
  bool validate_full = false;                         // validate.records=full
  bool log_append_time = false;                       // message.timestamp.type=LogAppendTime
  // How far ahead of the broker's clock a record's timestamp may be.
  std::int64_t timestamp_after_max_ms = 3600 * 1000;
};

// A topic as it is served. Never changed once published: an altered or grown topic is a new one
// with the same id (and the same Partition objects).
struct ServedTopic {
  std::string name;
  TopicId id;
  bool internal = false;
  TopicOptions options;
  std::vector<std::shared_ptr<Partition>> partitions;  // by index
};

// All that is served at one moment.
class ServedTopics {
 public:
  // Borrowed; nullptr when there is none.
  const ServedTopic* Find(const TopicId& id) const;
  const ServedTopic* Find(std::string_view name) const;

  // One partition with its topic. Borrowed.
  struct Place {
    const ServedTopic* topic = nullptr;
    const std::shared_ptr<Partition>* partition = nullptr;
  };
  //   ErrorCode::kUnknownTopic      no topic of this id
  //   ErrorCode::kUnknownPartition  the topic has fewer; says which there are
  absl::StatusOr<Place> Find(const TopicPartition& id) const;

  // In name order.
  const std::map<std::string, std::shared_ptr<const ServedTopic>, std::less<>>& by_name() const {
    return by_name_;
  }
  std::int64_t partition_count() const;

 private:
  friend class PartitionMap;
  std::map<std::string, std::shared_ptr<const ServedTopic>, std::less<>> by_name_;
  absl::flat_hash_map<TopicId, std::shared_ptr<const ServedTopic>> by_id_;
};

// Where the partitions are found: kept by the catalog, read by everybody.
//
// Threads: any. On a worker use one Reader for all its connections (no lock, no counting while
// nothing changes); elsewhere Load().
class PartitionMap {
 public:
  using Reader = Published<ServedTopics>::Reader;

  PartitionMap();

  std::shared_ptr<const ServedTopics> Load() const { return topics_.Load(); }
  Reader NewReader() const { return Reader(topics_); }

  // One partition, held. Errors as ServedTopics::Find.
  absl::StatusOr<std::shared_ptr<Partition>> Find(const TopicPartition& id) const;

  // Serves `topic`, in place of the one of its id or name if there is one. Put and Remove are
  // called by the catalog only, one at a time.
  void Put(std::shared_ptr<const ServedTopic> topic);
  void Put(std::vector<std::shared_ptr<const ServedTopic>> topics);
  void Remove(const TopicId& id);

 private:
  Published<ServedTopics> topics_;
};

}  // namespace cairn::broker
