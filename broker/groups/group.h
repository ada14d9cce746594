#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "broker/groups/assignor.h"
#include "protocol/types.h"

namespace cairn::broker {

// A member as the group knows it, whether it is connected at the moment or not.
struct GroupMember {
  std::string instance_id;  // a static member; empty: none
  std::string client_id;
  std::string host;
  std::vector<std::string> topics;  // names and patterns
  std::uint32_t session_timeout_ms = 0;
  std::int64_t joined = 0;  // counts the joins of the group: assignors see members in this order

  friend bool operator==(const GroupMember&, const GroupMember&) = default;
};

// Who holds a partition. It goes from hand to hand: the owner keeps it until it lets go or its
// session ends, and only then does the target become the owner, under a new epoch.
struct Holding {
  MemberId owner = kNoMember;
  MemberId target = kNoMember;
  std::int64_t epoch = 0;  // of the owner's assignment

  friend bool operator==(const Holding&, const Holding&) = default;
};

struct CommittedOffset {
  Offset offset;                        // the next to read
  LeaderEpoch leader_epoch = kNoEpoch;  // of the last record before it
  Timestamp at;
  std::string metadata;
  std::int64_t trimmed = 0;  // records that were trimmed before they were read, ever

  friend bool operator==(const CommittedOffset&, const CommittedOffset&) = default;
};

struct OffsetChange {
  TopicPartition partition;
  Offset old_offset = kNoOffset;  // kNoOffset: there was no commit
  LeaderEpoch old_leader_epoch = kNoEpoch;
  Offset new_offset = kNoOffset;  // kNoOffset: the commit was taken away

  friend bool operator==(const OffsetChange&, const OffsetChange&) = default;
};

struct OffsetReset {
  Timestamp at;
  std::string what;
  std::int64_t undone_by = 0;  // the number of the reset that took it back; 0: none
  std::int64_t undoes = 0;     // the number of the one that it took back; 0: none
  std::vector<OffsetChange> changes;

  friend bool operator==(const OffsetReset&, const OffsetReset&) = default;
};

// All that is remembered of a group.
struct Group {
  std::int64_t epoch = 0;  // of the last assignment that was given out
  Assignor assignor = Assignor::kStickyUniform;
  std::int64_t next_reset = 1;
  std::map<MemberId, GroupMember> members;
  std::map<TopicPartition, Holding> holdings;  // those with an owner or a target
  std::map<TopicPartition, CommittedOffset> offsets;
  std::map<std::int64_t, OffsetReset> resets;  // by number; the last few

  friend bool operator==(const Group&, const Group&) = default;
};

}  // namespace cairn::broker
