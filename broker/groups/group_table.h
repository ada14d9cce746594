#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "broker/groups/group.h"
#include "broker/state/state_topic.h"
#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::broker {

// The records by which a change of a group is written down; broker/state/records.fbs has their
// bytes. Names of groups have at most kGroupNameBytesMax bytes.
StateRecord GroupRecord(std::string_view group, const Group& row);
StateRecord GroupForgotten(std::string_view group);
StateRecord MemberRecord(std::string_view group, const MemberId& id, const GroupMember& row);
StateRecord MemberForgotten(std::string_view group, const MemberId& id);
StateRecord HoldingRecord(std::string_view group, const TopicPartition& id, const Holding& row);
StateRecord HoldingForgotten(std::string_view group, const TopicPartition& id);
StateRecord OffsetRecord(std::string_view group, const TopicPartition& id,
                         const CommittedOffset& row);
StateRecord OffsetForgotten(std::string_view group, const TopicPartition& id);
StateRecord ResetRecord(std::string_view group, std::int64_t number, const OffsetReset& row);
StateRecord ResetForgotten(std::string_view group, std::int64_t number);

// The groups of one partition of `__consumer_offsets`.
//
// Pure: no clock, no disk. Decisions are made elsewhere (group_draft.h); what was decided enters
// only through Apply, live and in replay, so that replaying the log gives the same table.
//
// A group is there as long as anything of it is. Compaction may take away older records of a key
// before younger ones of another, so replay sees states in between that never were; after the last
// record the table is what it was.
class GroupTable {
 public:
  //   kDataLoss            not a record of this topic
  //   kFailedPrecondition  a record of a newer version
  absl::Status Apply(ByteView key, std::optional<ByteView> value);

  // nullptr: no such group. Borrowed until the next Apply.
  const Group* Find(std::string_view name) const;
  const std::map<std::string, Group, std::less<>>& groups() const { return groups_; }

  friend bool operator==(const GroupTable&, const GroupTable&) = default;

 private:
  std::map<std::string, Group, std::less<>> groups_;
};

}  // namespace cairn::broker
