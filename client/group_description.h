#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/options.h"
#include "protocol/types.h"

// Consumer groups as Admin shows them.
namespace cairn::client {

enum class GroupState {
  kEmpty,      // no members; offsets may be kept
  kStable,     // everybody holds what is meant for them
  kAssigning,  // partitions are on their way from one member to another
  kResetting,  // a reset waits for members to release partitions
};

struct GroupSummary {
  std::string group;
  GroupState state = GroupState::kEmpty;
  std::int32_t members = 0;
  // Records, in partitions with a committed offset; nothing: not known of any of them.
  std::optional<std::int64_t> total_lag;
  std::int32_t partitions = 0;   // with a committed offset or an owner
  std::int32_t uncommitted = 0;  // of those: with records, and without a committed offset
};

struct GroupMemberDescription {
  MemberId id;
  std::string instance_id;  // empty: not a static member
  std::string client_id, host;
  std::vector<std::string> topics;  // names and patterns
  Duration session_timeout{0};
};

struct GroupPartitionDescription {
  TopicId topic_id;
  std::string topic;
  PartitionIndex partition;
  // Places in GroupDescription::members: who holds it, and who is to hold it. Nothing: nobody.
  std::optional<std::size_t> owner, target;
  std::int64_t epoch = 0;           // of the assignment
  std::optional<Offset> committed;  // the next to read; nothing: there is no commit
  LeaderEpoch leader_epoch;         // of the record before it; kNoEpoch: not known
  std::optional<Timestamp> committed_at;
  std::string metadata;                   // that came with the commit
  Offset log_start, log_end;              // log_end: the committed end
  std::optional<Timestamp> first_unread;  // of the first unread record; nothing: there is none
  std::int64_t trimmed = 0;               // records that retention took before they were read
};

struct GroupResetSummary {
  std::int64_t number = 0;
  Timestamp at;
  std::string what;  // as the one who asked for it called it
  std::int32_t partitions = 0;
  std::int64_t undone_by = 0;  // the number of the reset that took it back; 0: none
  std::int64_t undoes = 0;     // the number of the one that it took back; 0: none
};

struct GroupDescription {
  std::string group;
  GroupState state = GroupState::kEmpty;
  std::int64_t epoch = 0;  // raised whenever partitions are given out
  GroupAssignor assignor = GroupAssignor::kStickyUniform;
  std::vector<GroupMemberDescription> members;
  std::vector<GroupPartitionDescription> partitions;
  std::vector<GroupResetSummary> resets;  // the newest last
};

struct GroupOffsetChange {
  TopicId topic;
  PartitionIndex partition;
  std::optional<Offset> old_offset;  // nothing: there was no commit
  std::optional<Offset> new_offset;  // nothing: the commit is taken away
};

struct GroupResetRequest {
  std::string group;
  std::vector<GroupOffsetChange> changes;  // old_offset is not looked at
  std::string what;                        // for the history, "--to-earliest"
  bool force = false;                      // do not wait for the members
  Duration wait{60'000};                   // for the members to release what they hold
  std::int64_t undoes = 0;                 // the reset that this one takes back; 0: none
};

struct GroupReset {
  std::int64_t number = 0;                 // 0: no offset changed, and nothing is kept
  std::vector<GroupOffsetChange> changes;  // with the offsets that were replaced
};

struct GroupResetDescription {
  GroupResetSummary summary;
  std::vector<GroupOffsetChange> changes;
};

}  // namespace cairn::client
