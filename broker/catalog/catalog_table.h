#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

#include "broker/catalog/topic_config.h"
#include "broker/state/state_topic.h"
#include "protocol/types.h"

namespace cairn::broker {

// How many partitions a topic has had. The epoch is raised whenever it grows.
struct PartitionCount {
  std::int32_t epoch = 0;
  std::int32_t partitions = 0;

  friend bool operator==(const PartitionCount&, const PartitionCount&) = default;
};

// One topic as the catalog knows it.
struct TopicRow {
  TopicId id;
  std::string name;
  Timestamp created;
  TopicConfigs configs;
  std::vector<PartitionCount> history;  // oldest first, never empty; the last is now
  bool deleted = false;                 // remembered until its directories are gone

  std::int32_t partitions() const { return history.back().partitions; }
  friend bool operator==(const TopicRow&, const TopicRow&) = default;
};

// Which topics there are, and which producer ids have been given away: the state behind the
// catalog.
//
// Pure: no clock, no disk. Decisions are made elsewhere against this table; what was decided enters
// only through Apply, live and in replay, so that replaying the log gives the same table.
class CatalogTable {
 public:
  // The records by which a decision is written down; broker/state/records.fbs has their bytes.
  static StateRecord TopicRecord(const TopicRow& row);
  static StateRecord TopicForgotten(const TopicId& id);
  static StateRecord ProducerIdsRecord(ProducerId next);

  // Takes one record in. Kinds that this version does not know are an error: a newer version wrote
  // them.
  //   kDataLoss            not a record of the catalog
  //   kFailedPrecondition  a record of a newer version
  absl::Status Apply(ByteView key, std::optional<ByteView> value);

  // A topic that is not deleted; nullptr: none. Borrowed until the next Apply.
  const TopicRow* Find(std::string_view name) const;
  const TopicRow* Find(const TopicId& id) const;
  const std::map<TopicId, TopicRow>& topics() const { return topics_; }
  // The first producer id that was never reserved.
  ProducerId next_producer_id() const { return next_producer_id_; }

  friend bool operator==(const CatalogTable&, const CatalogTable&) = default;

 private:
  absl::Status ApplyTopic(const TopicId& id, std::optional<ByteView> value);

  std::map<TopicId, TopicRow> topics_;
  std::map<std::string, TopicId, std::less<>> by_name_;  // those that are not deleted
  ProducerId next_producer_id_{0};
};

}  // namespace cairn::broker
