#include "broker/groups/group_draft.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "broker/groups/group_table.h"
#include "broker/groups/topic_pattern.h"
#include "protocol/check.h"
#include "protocol/limits.h"

namespace cairn::broker {
namespace {

void AddMatches(const std::string& wanted, const GroupTopics& topics, std::set<TopicId>& out) {
  if (!IsTopicPattern(wanted)) {
    const auto found = topics.find(wanted);
    if (found != topics.end()) out.insert(found->second.id);
    return;
  }
  // Names in order: those that begin like the pattern stand together.
  const std::string prefix = wanted.substr(0, wanted.find_first_of("*?"));
  for (auto it = topics.lower_bound(prefix);
       it != topics.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
    if (MatchesTopicPattern(wanted, it->first)) out.insert(it->second.id);
  }
}

std::vector<TopicId> TopicsOf(const GroupMember& member, const GroupTopics& topics) {
  std::set<TopicId> found;
  for (const std::string& wanted : member.topics) AddMatches(wanted, topics, found);
  return {found.begin(), found.end()};
}

// Members in the order in which they joined.
std::vector<MemberId> InOrder(const Group& group) {
  std::vector<MemberId> order;
  for (const auto& [id, member] : group.members) order.push_back(id);
  std::sort(order.begin(), order.end(), [&](const MemberId& a, const MemberId& b) {
    const std::int64_t joined_a = group.members.at(a).joined;
    const std::int64_t joined_b = group.members.at(b).joined;
    return joined_a != joined_b ? joined_a < joined_b : a < b;
  });
  return order;
}

struct TopicsRead {
  std::vector<AssignedTopic> topics;  // by id
  std::size_t left_out = 0;
};

// Topics that some member reads, as many as a group may; in name order, so that the same ones are
// left out each time.
TopicsRead FindTopicsRead(std::span<const AssignedMember> members, const GroupTopics& topics) {
  std::set<TopicId> wanted;
  for (const AssignedMember& member : members) {
    wanted.insert(member.topics.begin(), member.topics.end());
  }
  TopicsRead read;
  std::size_t partitions = 0;
  for (const auto& [name, topic] : topics) {
    if (!wanted.contains(topic.id)) continue;
    const auto more = static_cast<std::size_t>(topic.partitions);
    if (partitions + more > kGroupPartitionsMax || read.topics.size() == kGroupTopicsReadMax) {
      ++read.left_out;
      continue;
    }
    partitions += more;
    read.topics.push_back(topic);
  }
  std::sort(read.topics.begin(), read.topics.end(),
            [](const AssignedTopic& a, const AssignedTopic& b) { return a.id < b.id; });
  return read;
}

Assignment TargetsSoFar(const Group& group, const std::vector<MemberId>& order) {
  std::map<MemberId, MemberIndex> places;
  for (std::size_t i = 0; i < order.size(); ++i) places[order[i]] = static_cast<MemberIndex>(i);
  Assignment before;
  for (const auto& [partition, holding] : group.holdings) {
    // Who was to have it before who has it: moves that are under way go on.
    const MemberId& who = holding.target != kNoMember ? holding.target : holding.owner;
    const auto place = places.find(who);
    if (place != places.end()) before[partition] = place->second;
  }
  return before;
}

}  // namespace

GroupDraft::GroupDraft(std::string name, const Group* before)
    : name_(std::move(name)), group_(before == nullptr ? Group() : *before) {}

std::size_t GroupDraft::TakeNewBytes() {
  std::size_t bytes = 0;
  for (; counted_ < records_.size(); ++counted_) {
    const StateRecord& record = records_[counted_];
    bytes += record.key.size() + (record.value.has_value() ? record.value->size() : 0);
  }
  return bytes;
}

// ---- one row at a time ----

void GroupDraft::SetMember(const MemberId& id, GroupMember row) {
  records_.push_back(MemberRecord(name_, id, row));
  group_.members[id] = std::move(row);
}

void GroupDraft::SetHolding(const TopicPartition& id, const Holding& row) {
  if (row.owner == kNoMember && row.target == kNoMember) {
    if (group_.holdings.erase(id) > 0) records_.push_back(HoldingForgotten(name_, id));
    return;
  }
  Holding& holding = group_.holdings[id];
  if (holding == row) return;
  holding = row;
  records_.push_back(HoldingRecord(name_, id, row));
}

void GroupDraft::SetOffset(const TopicPartition& id, const CommittedOffset& row) {
  records_.push_back(OffsetRecord(name_, id, row));
  group_.offsets[id] = row;
}

void GroupDraft::ForgetOffset(const TopicPartition& id) {
  if (group_.offsets.erase(id) > 0) records_.push_back(OffsetForgotten(name_, id));
}

void GroupDraft::SetReset(std::int64_t number, OffsetReset row) {
  records_.push_back(ResetRecord(name_, number, row));
  group_.resets[number] = std::move(row);
}

void GroupDraft::WriteGroup() { records_.push_back(GroupRecord(name_, group_)); }

// ---- members ----

std::optional<MemberId> GroupDraft::FindInstance(std::string_view instance_id) const {
  if (instance_id.empty()) return std::nullopt;
  for (const auto& [id, member] : group_.members) {
    if (member.instance_id == instance_id) return id;
  }
  return std::nullopt;
}

GroupDraft::Joined GroupDraft::Join(const MemberId& id, GroupMember member, Assignor assignor) {
  Joined joined;
  const auto known = group_.members.find(id);
  const std::optional<MemberId> instance = FindInstance(member.instance_id);
  if (instance.has_value() && *instance != id) joined.fenced = instance;
  if (group_.members.empty() || group_.assignor != assignor) {
    // Members that differ have the last word; a group's record says that it exists.
    group_.assignor = assignor;
    group_.epoch = std::max<std::int64_t>(group_.epoch, 1);
    WriteGroup();
  }
  if (known != group_.members.end()) {
    member.joined = known->second.joined;
    if (!(member == known->second)) SetMember(id, std::move(member));
  } else {
    joined.is_new = true;
    std::int64_t last = 0;
    for (const auto& [other, row] : group_.members) last = std::max(last, row.joined);
    member.joined = joined.fenced.has_value() ? group_.members.at(*joined.fenced).joined : last + 1;
    SetMember(id, std::move(member));
  }
  if (joined.fenced.has_value()) ReplaceMember(*joined.fenced, id);
  return joined;
}

void GroupDraft::ReplaceMember(const MemberId& before, const MemberId& by) {
  bool gives = false;
  const std::int64_t epoch = group_.epoch + 1;
  const std::map<TopicPartition, Holding> holdings = group_.holdings;
  for (const auto& [partition, holding] : holdings) {
    Holding changed = holding;
    if (holding.owner == before) {
      changed.owner = by;
      changed.epoch = epoch;
      gives = true;
    }
    if (holding.target == before) changed.target = by;
    SetHolding(partition, changed);
  }
  group_.members.erase(before);
  records_.push_back(MemberForgotten(name_, before));
  if (!gives) return;
  group_.epoch = epoch;
  WriteGroup();
}

void GroupDraft::Leave(const MemberId& id) {
  if (group_.members.erase(id) == 0) return;
  records_.push_back(MemberForgotten(name_, id));
  const std::map<TopicPartition, Holding> holdings = group_.holdings;
  for (const auto& [partition, holding] : holdings) {
    Holding changed = holding;
    if (holding.owner == id) changed.owner = kNoMember;
    if (holding.target == id) changed.target = kNoMember;
    SetHolding(partition, changed);
  }
  DeleteIfNothing();
}

void GroupDraft::DeleteIfNothing() {
  if (group_.members.empty() && group_.offsets.empty() && group_.resets.empty()) Delete();
}

void GroupDraft::Release(const MemberId& id, std::span<const HeldPartition> partitions) {
  for (const HeldPartition& held : partitions) {
    const auto found = group_.holdings.find(held.partition);
    if (found == group_.holdings.end()) continue;
    if (found->second.owner != id || found->second.epoch != held.epoch) continue;
    Holding changed = found->second;
    changed.owner = kNoMember;
    SetHolding(held.partition, changed);
  }
}

// ---- who holds what ----

std::size_t GroupDraft::Rebalance(const GroupTopics& topics) {
  const std::vector<MemberId> order = InOrder(group_);
  std::vector<AssignedMember> members;
  for (const MemberId& id : order) members.push_back({TopicsOf(group_.members.at(id), topics)});
  const TopicsRead read = FindTopicsRead(members, topics);
  const Assignment targets =
      Assign(group_.assignor, members, read.topics, TargetsSoFar(group_, order));
  // What nobody is to hold any more stays with its owner until that one lets go.
  const std::map<TopicPartition, Holding> holdings = group_.holdings;
  for (const auto& [partition, holding] : holdings) {
    if (targets.contains(partition)) continue;
    SetHolding(partition, {holding.owner, kNoMember, holding.epoch});
  }
  for (const auto& [partition, place] : targets) {
    const auto found = group_.holdings.find(partition);
    Holding changed = found == group_.holdings.end() ? Holding() : found->second;
    changed.target = place == kNobody ? kNoMember : order[static_cast<std::size_t>(place)];
    SetHolding(partition, changed);
  }
  return read.left_out;
}

void GroupDraft::GiveOut(const std::set<TopicPartition>& withheld) {
  std::vector<std::pair<TopicPartition, Holding>> given;
  for (const auto& [partition, holding] : group_.holdings) {
    if (holding.owner != kNoMember || withheld.contains(partition)) continue;
    given.emplace_back(partition, Holding{holding.target, holding.target, group_.epoch + 1});
  }
  if (given.empty()) return;
  for (const auto& [partition, holding] : given) SetHolding(partition, holding);
  ++group_.epoch;
  WriteGroup();
}

// ---- offsets ----

ErrorCode GroupDraft::CheckCommit(const Group& group, const MemberId& member,
                                  const OffsetCommit& commit) {
  if (member == kNoMember) {
    if (!group.members.empty()) return ErrorCode::kGroupNotEmpty;
  } else {
    if (!group.members.contains(member)) return ErrorCode::kUnknownMember;
    const auto holding = group.holdings.find(commit.partition);
    if (holding == group.holdings.end() || holding->second.owner != member ||
        holding->second.epoch != commit.epoch) {
      return ErrorCode::kStaleAssignment;
    }
  }
  const auto committed = group.offsets.find(commit.partition);
  if (committed == group.offsets.end() || commit.offset >= committed->second.offset) {
    return ErrorCode::kOk;
  }
  // A power cut took back what had been committed, and the log grew again under a higher epoch.
  const LeaderEpoch known = committed->second.leader_epoch;
  return known != kNoEpoch && commit.leader_epoch > known ? ErrorCode::kOk
                                                          : ErrorCode::kCommitBehind;
}

void GroupDraft::Commit(const OffsetCommit& commit, Timestamp now) {
  if (group_.epoch == 0) {
    group_.epoch = 1;
    WriteGroup();
  }
  const auto before = group_.offsets.find(commit.partition);
  // Records that were trimmed lie below the offset: so the sum stays below any offset, too, unless
  // a reset went back.
  std::int64_t trimmed = std::min(commit.trimmed, commit.offset.value());
  if (before != group_.offsets.end()) {
    // A commit is sent again when its answer was lost, and then moves nothing on.
    const std::int64_t moved = std::max<std::int64_t>(0, commit.offset - before->second.offset);
    const std::int64_t more = std::min(trimmed, moved);
    const std::int64_t most = std::numeric_limits<std::int64_t>::max();
    trimmed = before->second.trimmed > most - more ? most : before->second.trimmed + more;
  }
  SetOffset(commit.partition, {commit.offset, commit.leader_epoch, now, commit.metadata, trimmed});
}

std::int64_t GroupDraft::Reset(std::span<OffsetChange> changes, std::string what,
                               std::int64_t undoes, Timestamp now) {
  FindReplaced(changes);
  const bool is_kept =
      undoes != 0 || std::any_of(changes.begin(), changes.end(), [](const OffsetChange& change) {
        return change.old_offset != change.new_offset;
      });
  if (!is_kept && group_.epoch == 0) return 0;  // nor does a group come into being
  ++group_.epoch;
  for (const OffsetChange& change : changes) {
    const auto before = group_.offsets.find(change.partition);
    CommittedOffset row;
    if (before != group_.offsets.end()) row.trimmed = before->second.trimmed;
    if (change.new_offset == kNoOffset) {
      ForgetOffset(change.partition);
    } else {
      row.offset = change.new_offset;
      row.at = now;
      SetOffset(change.partition, row);
    }
    const auto holding = group_.holdings.find(change.partition);
    if (holding == group_.holdings.end()) continue;
    const MemberId target = holding->second.target;
    SetHolding(change.partition, {target, target, group_.epoch});
  }
  const std::int64_t number =
      is_kept ? Remember(changes, std::move(what), undoes, now) : std::int64_t{0};
  WriteGroup();
  return number;
}

void GroupDraft::FindReplaced(std::span<OffsetChange> changes) const {
  for (OffsetChange& change : changes) {
    const auto before = group_.offsets.find(change.partition);
    const bool found = before != group_.offsets.end();
    change.old_offset = found ? before->second.offset : kNoOffset;
    change.old_leader_epoch = found ? before->second.leader_epoch : kNoEpoch;
  }
}

std::int64_t GroupDraft::Remember(std::span<const OffsetChange> changes, std::string what,
                                  std::int64_t undoes, Timestamp now) {
  const std::int64_t number = group_.next_reset++;
  const auto undone = group_.resets.find(undoes);
  if (undone != group_.resets.end()) {
    OffsetReset row = undone->second;
    row.undone_by = number;
    SetReset(undoes, std::move(row));
  }
  SetReset(number, {now, std::move(what), 0, undoes, {changes.begin(), changes.end()}});
  while (group_.resets.size() > kResetsKept) {
    records_.push_back(ResetForgotten(name_, group_.resets.begin()->first));
    group_.resets.erase(group_.resets.begin());
  }
  return number;
}

// ---- forgetting ----

void GroupDraft::ForgetTopics(const std::set<TopicId>& topics) {
  std::vector<TopicPartition> gone;
  for (const auto& [partition, row] : group_.offsets) {
    if (!topics.contains(partition.topic)) gone.push_back(partition);
  }
  for (const TopicPartition& partition : gone) ForgetOffset(partition);
  gone.clear();
  for (const auto& [partition, row] : group_.holdings) {
    if (!topics.contains(partition.topic)) gone.push_back(partition);
  }
  for (const TopicPartition& partition : gone) SetHolding(partition, {});
  if (!gone.empty() || changed()) DeleteIfNothing();
}

void GroupDraft::Delete() {
  CAIRN_CHECK(group_.members.empty());
  for (const auto& [id, row] : group_.holdings) records_.push_back(HoldingForgotten(name_, id));
  for (const auto& [id, row] : group_.offsets) records_.push_back(OffsetForgotten(name_, id));
  for (const auto& [id, row] : group_.resets) records_.push_back(ResetForgotten(name_, id));
  records_.push_back(GroupForgotten(name_));
  group_ = Group();
}

}  // namespace cairn::broker
