#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "client/cluster.h"
#include "client/group_description.h"
#include "client/options.h"
#include "protocol/types.h"

namespace cairn::client {

struct TopicSummary {
  std::string name;
  TopicId id;
  bool internal = false;
  std::int32_t partitions = 0;
  Durability durability = Durability::kDurable;
};

struct TopicConfig {
  std::string name;
  std::string value;
  bool is_default = true;
};

struct PartitionDescription {
  PartitionIndex partition;
  Offset log_start, log_end, durable_end, committed_end;
  LeaderEpoch leader_epoch;
  std::int64_t bytes = 0;
  std::int32_t segments = 0;
  absl::Status state;   // what a write would meet
  std::string problem;  // details for people; empty: none
};

struct TopicDescription {
  std::string name;
  TopicId id;
  Timestamp created;
  std::vector<TopicConfig> configs;
  std::vector<PartitionDescription> partitions;
  std::vector<std::pair<std::int32_t, std::int32_t>>
      history;  // (epoch, partition count), oldest first
};

struct OffsetsOfPartition {
  PartitionIndex partition;
  absl::Status status;
  Offset log_start, committed_end;
  std::optional<Offset>
      offset;  // for the time asked: the first record at or after it, else the end
  std::optional<Timestamp> timestamp;  // of that record; nothing: there is none
};

struct BrokerStatus {
  std::string software, data_dir, cluster_id;
  std::int64_t uptime_ms = 0;
  std::int64_t disk_used = 0, disk_free = 0, disk_total = 0;
  std::int32_t topics = 0, partitions = 0, connections = 0, pid = 0;
  bool clean_start = true;
  std::vector<std::string> problems;
  struct Recovery {
    std::string topic;
    PartitionIndex partition;
    std::string message;
  };
  std::vector<Recovery> recovery;  // what was done at the last start, in words
  // One partition in which the last start had something to do.
  struct Recovered {
    std::string topic;
    PartitionIndex partition;
    std::int64_t bytes_scanned = 0, bytes_cut = 0;
    std::int32_t batches_cut = 0;
    bool producers_rebuilt = false;
    std::optional<LeaderEpoch> leader_epoch;  // raised to
    std::optional<Offset> offline_from;
  };
  struct RecoverySums {  // over all partitions
    std::int64_t took_ms = 0;
    std::int32_t partitions = 0;
    std::int64_t bytes_scanned = 0, bytes_cut = 0, batches_cut = 0;
    std::int32_t producers_rebuilt = 0, epochs_raised = 0, offline = 0;
    std::int32_t left_out = 0;  // of `recovered`
  };
  std::vector<Recovered> recovered;  // the worst first
  RecoverySums recovery_sums;
  // The background check of sealed segments.
  struct Scrub {
    bool enabled = false, running = false;
    std::optional<Timestamp> round_began, completed;
    std::int64_t segments = 0, bytes = 0, damages = 0;  // in this round, or in the last one
  };
  Scrub scrub;
};

// Asks about topics and consumer groups, and changes them. Every call waits for its answer, at most
// `timeout` (kDeadlineExceeded), and reconnects by itself. Reads are retried until then; changes
// are sent once, and a change whose answer was lost is kUnavailable: it may have been done.
//
// Threads: any thread may call anything.
class Admin {
 public:
  explicit Admin(std::shared_ptr<Cluster> cluster, Duration timeout = Duration(30'000));

  absl::StatusOr<std::vector<TopicSummary>> ListTopics(bool include_internal = false);
  //   kNotFound
  absl::StatusOr<TopicDescription> DescribeTopic(std::string_view name);
  //   kAlreadyExists    kInvalidArgument: name, count or config, with what is known
  absl::StatusOr<TopicId> CreateTopic(std::string_view name, std::int32_t partitions,
                                      const std::map<std::string, std::string>& configs);
  // An empty value puts a config's default back. `partitions`: the new count; needs remap_keys.
  absl::Status AlterTopic(std::string_view name, const std::map<std::string, std::string>& configs,
                          std::optional<std::int32_t> partitions, bool remap_keys);
  absl::Status DeleteTopic(std::string_view name);
  // Drops the records before `before`; gives the new log start.
  absl::StatusOr<Offset> TrimTopic(std::string_view name, PartitionIndex partition, Offset before);

  // Of all partitions, or of those named; with `at`, also the offset for that time.
  absl::StatusOr<std::vector<OffsetsOfPartition>> Offsets(
      std::string_view topic, std::optional<Timestamp> at = std::nullopt,
      const std::vector<PartitionIndex>& partitions = {});

  absl::StatusOr<BrokerStatus> Status();

  // In name order.
  absl::StatusOr<std::vector<GroupSummary>> ListGroups();
  // Everything about it. The pages of a large one are asked for one after the other, so partitions
  // may have moved in between.
  //   kNotFound
  absl::StatusOr<GroupDescription> DescribeGroup(std::string_view group);
  // With its offsets.
  //   kNotFound    kFailedPrecondition: it has members
  absl::Status DeleteGroup(std::string_view group);
  // All of the changes are made, or none. A group with members goes on at the new offsets; this
  // waits for them, at most `wait`, on top of the timeout of other calls.
  //   kFailedPrecondition  another reset is under way
  //   kDeadlineExceeded    a member did not release its partitions in time; nothing has changed
  absl::StatusOr<GroupReset> ResetOffsets(const GroupResetRequest& request);
  // `number` 0: the last one that was not taken back.
  //   kNotFound    kOutOfRange: no such reset
  absl::StatusOr<GroupResetDescription> DescribeReset(std::string_view group, std::int64_t number);

 private:
  std::shared_ptr<Cluster> cluster_;
  Duration timeout_;
};

}  // namespace cairn::client
