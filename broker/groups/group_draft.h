#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/groups/group.h"
#include "broker/state/state_record.h"
#include "protocol/error_code.h"
#include "protocol/types.h"

namespace cairn::broker {

// The topics that groups may read, by name.
using GroupTopics = std::map<std::string, AssignedTopic, std::less<>>;

// What a member says it holds.
struct HeldPartition {
  TopicPartition partition;
  std::int64_t epoch = 0;
};

struct OffsetCommit {
  TopicPartition partition;
  std::int64_t epoch = 0;  // of the assignment
  Offset offset;
  LeaderEpoch leader_epoch = kNoEpoch;
  std::string metadata;
  std::int64_t trimmed = 0;  // since the last commit; counts as far as this one moves on
};

// A group as it will be: what is decided changes a copy, and is written down as records beside.
// Once those are durable and applied, the group is what the draft was.
//
// Pure: the same calls upon the same group give the same records.
class GroupDraft {
 public:
  // `before` is nothing for a group that does not exist yet.
  GroupDraft(std::string name, const Group* before);

  const std::string& name() const { return name_; }
  const Group& group() const { return group_; }
  bool changed() const { return !records_.empty(); }
  const std::vector<StateRecord>& records() const { return records_; }
  // The size of the records since the last call.
  std::size_t TakeNewBytes();

  struct Joined {
    bool is_new = false;
    // The member that held the same instance id; it is one no more.
    std::optional<MemberId> fenced;
  };
  // Makes a member, or takes over what it says now. With an instance id that another member has, it
  // takes that one's place, and what it holds, under new epochs.
  Joined Join(const MemberId& id, GroupMember member, Assignor assignor);

  // The member that has the instance id; an empty one is nobody's.
  std::optional<MemberId> FindInstance(std::string_view instance_id) const;

  // A member is one no more; what it held is free. Without members and anything to remember, the
  // group is gone.
  void Leave(const MemberId& id);

  // The member holds those no more; those that it does not hold under that epoch are passed over.
  void Release(const MemberId& id, std::span<const HeldPartition> partitions);

  // Decides anew who is to hold what. After members, their topics or the topics have changed.
  // Gives how many topics were left out because they are too many (kGroupPartitionsMax,
  // kGroupTopicsReadMax).
  std::size_t Rebalance(const GroupTopics& topics);

  // Gives what is free to those who are to have it, except for `withheld`, under a new epoch.
  void GiveOut(const std::set<TopicPartition>& withheld);

  // Whether the commit counts: kOk, kUnknownMember, kStaleAssignment, kCommitBehind,
  // kGroupNotEmpty (of nobody, to a group with members). `member` is kNoMember for nobody.
  static ErrorCode CheckCommit(const Group& group, const MemberId& member,
                               const OffsetCommit& commit);
  // Of a commit that counts.
  void Commit(const OffsetCommit& commit, Timestamp now);

  // Moves offsets, and those who are to hold the partitions get them under a new epoch, whoever
  // holds them now. Gives the number under which what was replaced is kept; 0: no offset changed,
  // and so there is nothing to keep. `changes` get their old offsets.
  std::int64_t Reset(std::span<OffsetChange> changes, std::string what, std::int64_t undoes,
                     Timestamp now);

  // Forgets what there is of partitions whose topic is no more. `topics` are those that exist, by
  // id, whether or not groups may read them.
  void ForgetTopics(const std::set<TopicId>& topics);

  // Forgets the group. Requires that it has no members.
  void Delete();

 private:
  void SetMember(const MemberId& id, GroupMember row);
  void SetHolding(const TopicPartition& id, const Holding& row);
  void SetOffset(const TopicPartition& id, const CommittedOffset& row);
  void ForgetOffset(const TopicPartition& id);
  void SetReset(std::int64_t number, OffsetReset row);
  void FindReplaced(std::span<OffsetChange> changes) const;
  std::int64_t Remember(std::span<const OffsetChange> changes, std::string what,
                        std::int64_t undoes, Timestamp now);
  void WriteGroup();
  void ReplaceMember(const MemberId& before, const MemberId& by);
  void DeleteIfNothing();

  const std::string name_;
  Group group_;
  std::vector<StateRecord> records_;
  std::size_t counted_ = 0;  // records whose size was taken
};

// How many resets are remembered of a group.
inline constexpr std::size_t kResetsKept = 10;

}  // namespace cairn::broker
