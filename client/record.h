#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/types.h"

namespace cairn::client {

// A header: a null value (nothing) is not an empty one.
struct Header {
  std::string name;
  std::optional<std::string> value;
};

// What a producer sends. Everything is copied by Send. Null (nothing) and empty are different, for
// keys and for values; a null value is a tombstone on a compacted topic.
struct ProduceRecord {
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  std::vector<Header> headers;
  Timestamp timestamp = kNoTimestamp;  // kNoTimestamp: the time of the call to Send
  PartitionIndex partition{-1};  // -1: by the key; without a key, a sticky partition per batch
};

struct ConsumedHeader {
  std::string_view name;
  std::optional<std::string_view> value;
};

// A record that was read. Everything borrows from the PolledRecords it came in.
struct ConsumedRecord {
  std::string_view topic;
  PartitionIndex partition;
  LeaderEpoch leader_epoch;  // for commits: tells what a power cut took back
  Offset offset;
  Timestamp timestamp;
  bool is_append_time = false;  // the broker's (message.timestamp.type=LogAppendTime)
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  std::vector<ConsumedHeader> headers;
};

}  // namespace cairn::client
