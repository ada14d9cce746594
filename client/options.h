#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "protocol/compression.h"
#include "protocol/limits.h"
#include "protocol/types.h"

namespace cairn::client {

using Duration = std::chrono::milliseconds;  // Duration::max(): without end

// How to reach the broker. Connections are made when first needed and again whenever they break.
struct ClusterOptions {
  std::string broker = "127.0.0.1:7654";  // HOST:PORT; an IPv6 host stands in brackets
  std::string client_id = "cairn-client";
  Duration connect_timeout{5'000};
  Duration backoff_min{20};  // between attempts to reconnect or retry; doubles up to backoff_max
  Duration backoff_max{1'000};
};

// When a send counts as done.
enum class Acks {
  kDefault,  // the durability of the topic
  kNone,     // handed to the socket; a loss is not noticed
  kWritten,
  kDurable,
};

// What Producer::Send does while buffer_bytes_max is in use.
enum class WhenFull {
  kBlock,  // wait up to block_timeout for room
  kFail,   // return kResourceExhausted at once
};

struct ProducerOptions {
  Acks acks = Acks::kDefault;
  Codec codec = Codec::kNone;
  // A batch is sent when it reaches this, at the latest; behind in_flight_max others it grows to
  // four times this, as far as the topic's max.message.bytes allows.
  std::size_t batch_bytes = 256u << 10;
  Duration linger{5};  // … or when its oldest record is this old; at once if nothing is in flight
  std::size_t buffer_bytes_max = 64u << 20;  // records accepted and not yet answered
  WhenFull when_full = WhenFull::kBlock;
  Duration block_timeout{60'000};
  Duration delivery_timeout{120'000};  // from Send to the delivery result, retries included
  int in_flight_max = 5;               // batches per partition; at most kProducerBatchesKept
};

// A partition as its group's members know it.
struct GroupPartition {
  std::string topic;
  PartitionIndex partition;

  friend auto operator<=>(const GroupPartition&, const GroupPartition&) = default;
};

// Why partitions went from a member.
enum class LostHow {
  // They are given up now: what was processed can still be committed in the callback.
  kInGoodOrder,
  // They belong to others already (the session had ended): a commit would be refused.
  kTakenAway,
};

// Where a member begins where its group has no committed offset, and what it does when the offset
// is not in the log (any more).
class AutoOffsetReset {
 public:
  enum class Kind { kEarliest, kLatest, kError, kTime };

  static AutoOffsetReset Earliest() { return {Kind::kEarliest, kNoTimestamp}; }
  static AutoOffsetReset Latest() { return {Kind::kLatest, kNoTimestamp}; }
  // Neither: the partition fails with ConsumerEvent::kFailed (kNotFound without a commit,
  // kOutOfRange outside of the log).
  static AutoOffsetReset Error() { return {Kind::kError, kNoTimestamp}; }
  // The first record at or after that time; where a committed offset is outside of the log, its
  // start.
  static AutoOffsetReset AtTime(Timestamp time) { return {Kind::kTime, time}; }

  Kind kind() const { return kind_; }
  Timestamp time() const { return time_; }

 private:
  AutoOffsetReset(Kind kind, Timestamp time) : kind_(kind), time_(time) {}

  Kind kind_;
  Timestamp time_;
};

// How the members of a group share what they read.
enum class GroupAssignor {
  kStickyUniform,  // evenly, and with as few moves as possible
  kRange,          // the partitions of the same number of all topics go to the same member
};

// Being a member of a consumer group.
struct GroupOptions {
  std::string group;  // 1 to 255 bytes of printable ASCII, not beginning with "__"
  // A static member: one that comes back under this name before its session ended goes on with
  // what it held. Two at a time: the older one is fenced. Empty: none.
  std::string instance_id;
  // What is not heard of for so long (1 s to 30 min) loses what it holds to the others. Heartbeats
  // are sent by the I/O thread, however long the application takes between two Polls.
  Duration session_timeout{45'000};
  GroupAssignor assignor = GroupAssignor::kStickyUniform;

  // Commit what has been processed, at this interval and whenever a partition is given up. What
  // Poll handed out counts as processed when Poll is called again.
  bool auto_commit = true;
  Duration auto_commit_interval{5'000};
  AutoOffsetReset auto_offset_reset = AutoOffsetReset::Earliest();

  // An application that takes longer between two Polls is stuck: the member leaves by itself, and
  // joins again with the next Poll. Nothing: it may take as long as it likes.
  std::optional<Duration> max_processing;
  // Whether Close gives the partitions to the others at once. Nothing: unless there is an
  // instance_id.
  std::optional<bool> leave_on_close;

  // Called on the application's thread, within Poll or Close. Commit, Committed, Position, Seek,
  // Pause and Resume may be used there; Poll, Subscribe and Close may not.
  std::function<void(const std::vector<GroupPartition>& gained)> on_gained;
  std::function<void(const std::vector<GroupPartition>& lost, LostHow how)> on_lost;
};

struct ConsumerOptions {
  std::size_t prefetch_bytes = 1u << 20;  // per assigned partition: the credit given to the broker
  // What to do when the wanted offset is outside the log, or records were trimmed before they were
  // read: an error from Poll, or going on at the start or the end of the log.
  enum class OutOfRange { kError, kEarliest, kLatest } out_of_range = OutOfRange::kError;
  // For Subscribe. A member's partitions go by auto_offset_reset instead of out_of_range.
  std::optional<GroupOptions> group = std::nullopt;
};

}  // namespace cairn::client
