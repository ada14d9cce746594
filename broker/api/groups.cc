// Looking at consumer groups, and deleting them.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "broker/api/group_request.h"
#include "broker/groups/lag.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

using flatbuffers::FlatBufferBuilder;

wire::GroupState StateOf(const GroupShard::Picture& picture) {
  if (picture.resetting) return wire::GroupState::Resetting;
  if (picture.group.members.empty()) return wire::GroupState::Empty;
  const bool settled =
      std::all_of(picture.group.holdings.begin(), picture.group.holdings.end(),
                  [](const auto& row) { return row.second.owner == row.second.target; });
  return settled ? wire::GroupState::Stable : wire::GroupState::Assigning;
}

// Everything that a group holds or has committed.
std::vector<TopicPartition> PartitionsOf(const Group& group) {
  std::vector<TopicPartition> partitions;
  for (const auto& [id, row] : group.holdings) partitions.push_back(id);
  for (const auto& [id, row] : group.offsets) {
    if (!group.holdings.contains(id)) partitions.push_back(id);
  }
  std::sort(partitions.begin(), partitions.end());
  return partitions;
}

// ---- the list ----

constexpr std::int64_t kLagNotKnown = -1;

struct Summary {
  std::string name;
  wire::GroupState state;
  std::int32_t members;
  std::int64_t total_lag;
  std::int32_t partitions;
  std::int32_t uncommitted;
};
struct Summaries {
  std::vector<Summary> groups;
  bool more = false;
};

Summary Summarize(std::string name, const GroupShard::Picture& picture,
                  const ServedTopics& topics) {
  const Group& group = picture.group;
  const std::vector<TopicPartition> partitions = PartitionsOf(group);
  std::int64_t lag = 0;
  std::int32_t uncommitted = 0;
  for (const TopicPartition& id : partitions) {
    const auto place = topics.Find(id);
    if (!place.ok()) continue;
    const Partition::Ends ends = (*place->partition)->ends();
    const auto committed = group.offsets.find(id);
    if (committed != group.offsets.end()) {
      lag += LagOf(ends, committed->second.offset);
    } else if (ends.log_start < ends.committed_end) {
      ++uncommitted;  // where its members begin there is their affair
    }
  }
  const bool is_known = uncommitted == 0 || !group.offsets.empty();
  return {std::move(name),
          StateOf(picture),
          static_cast<std::int32_t>(group.members.size()),
          is_known ? lag : kLagNotKnown,
          static_cast<std::int32_t>(partitions.size()),
          uncommitted};
}

Summaries SummarizeAll(const Services& services, const std::string& after) {
  GroupCoordinator::Names names = services.groups.List(after, kGroupsPerReply);
  const std::shared_ptr<const ServedTopics> topics = services.partitions.Load();
  Summaries out;
  out.more = names.more;
  for (std::string& name : names.names) {
    const absl::StatusOr<GroupShard*> shard = services.groups.Find(name);
    if (!shard.ok()) continue;
    const auto picture = (*shard)->Find(name);
    if (picture.has_value()) out.groups.push_back(Summarize(std::move(name), *picture, *topics));
  }
  return out;
}

void Encode(Connection& on, std::uint64_t correlation, const Summaries& summaries) {
  auto& builder = on.builder();
  std::vector<flatbuffers::Offset<wire::GroupSummary>> groups;
  for (const Summary& each : summaries.groups) {
    groups.push_back(wire::CreateGroupSummary(builder, ToWire(builder, each.name), each.state,
                                              each.members, each.total_lag, each.partitions,
                                              each.uncommitted));
  }
  on.Reply(correlation,
           wire::CreateGroupsReply(builder, builder.CreateVector(groups), summaries.more));
}

// ---- one of them ----

// A page's share for members, and where a page ends, well below kControlBytesMax. One more of
// either always fits; nor are there more tables than kControlTablesMax.
constexpr std::size_t kMemberBytesMax = 256u << 10;
constexpr std::size_t kPageBytesMax = 640u << 10;
constexpr std::size_t kMembersPerReply = 1000;
// What a text and a table take besides what they say, at most.
constexpr std::size_t kTextBytes = 12;
constexpr std::size_t kTableBytes = 80;

// A page of it.
struct Description {
  GroupShard::Picture picture;
  std::vector<MemberId> members;
  bool members_more = false;
  std::vector<std::pair<TopicId, std::string>> topics;
  std::vector<wire::GroupPartition> partitions;
  std::vector<std::string> metadata;
  std::uint32_t partitions_total = 0;
  std::vector<MemberId> holders;
  std::size_t bytes = 0;  // about
};

std::size_t BytesOf(const GroupMember& member) {
  std::size_t bytes = kTableBytes + member.instance_id.size() + member.client_id.size() +
                      member.host.size() + 4 * kTextBytes;
  for (const std::string& topic : member.topics) bytes += topic.size() + kTextBytes;
  return bytes;
}

// Places of members in a page's holders, which get those that are new to it.
class Holders {
 public:
  Holders(const Group& group, std::vector<MemberId>& holders) : group_(group), holders_(holders) {}

  std::int32_t PlaceOf(const MemberId& member) {
    if (!group_.members.contains(member)) return -1;
    const auto place = places_.emplace(member, static_cast<std::int32_t>(holders_.size()));
    if (place.second) holders_.push_back(member);
    return place.first->second;
  }

 private:
  const Group& group_;
  std::vector<MemberId>& holders_;
  std::map<MemberId, std::int32_t> places_;
};

wire::GroupPartition DescribePartition(const Group& group, const TopicPartition& id,
                                       Holders& holders, Partition* partition) {
  const auto holding = group.holdings.find(id);
  const Holding held = holding == group.holdings.end() ? Holding() : holding->second;
  const std::int32_t owner = holders.PlaceOf(held.owner);
  const std::int32_t target = holders.PlaceOf(held.target);
  const auto committed = group.offsets.find(id);
  CommittedOffset offset{kNoOffset, kNoEpoch, kNoTimestamp, "", 0};
  if (committed != group.offsets.end()) offset = committed->second;
  Partition::Ends ends;
  Timestamp first_unread = kNoTimestamp;
  if (partition != nullptr) {
    ends = partition->ends();
    if (offset.offset != kNoOffset) first_unread = FirstUnread(*partition, offset.offset);
  }
  return wire::GroupPartition(ToWire(id.topic), id.partition.value(), offset.leader_epoch.value(),
                              owner, target, held.epoch, offset.offset.value(), offset.at.value(),
                              ends.log_start.value(), ends.committed_end.value(),
                              first_unread.value(), offset.trimmed);
}

void AddMembers(const std::optional<MemberId>& after, Description& out) {
  const auto& members = out.picture.group.members;
  auto next = after.has_value() ? members.upper_bound(*after) : members.begin();
  for (; next != members.end(); ++next) {
    if (out.bytes >= kMemberBytesMax || out.members.size() == kMembersPerReply) break;
    out.members.push_back(next->first);
    out.bytes += BytesOf(next->second);
  }
  out.members_more = next != members.end();
}

void AddPartitions(std::uint32_t after, const ServedTopics& topics, Description& out) {
  const Group& group = out.picture.group;
  Holders holders(group, out.holders);
  const std::vector<TopicPartition> partitions = PartitionsOf(group);
  out.partitions_total = static_cast<std::uint32_t>(partitions.size());
  for (std::size_t i = after; i < partitions.size(); ++i) {
    if (out.bytes >= kPageBytesMax || out.partitions.size() == kGroupPartitionsPerReply ||
        out.topics.size() == kGroupTopicsReadMax) {
      break;
    }
    const TopicPartition& id = partitions[i];
    const auto place = topics.Find(id);
    if (place.ok() && (out.topics.empty() || out.topics.back().first != id.topic)) {
      out.topics.emplace_back(id.topic, place->topic->name);
      out.bytes += kTableBytes + place->topic->name.size() + kTextBytes;
    }
    out.partitions.push_back(
        DescribePartition(group, id, holders, place.ok() ? place->partition->get() : nullptr));
    const auto committed = group.offsets.find(id);
    out.metadata.push_back(committed == group.offsets.end() ? std::string()
                                                            : committed->second.metadata);
    out.bytes += sizeof(wire::GroupPartition) + out.metadata.back().size() + kTextBytes;
  }
}

absl::StatusOr<Description> Describe(const Services& services, const std::string& name,
                                     std::uint32_t partitions_after,
                                     const std::optional<MemberId>& members_after) {
  ASSIGN_OR_RETURN(GroupShard * shard, services.groups.Find(name));
  std::optional<GroupShard::Picture> picture = shard->Find(name);
  if (!picture.has_value()) {
    return MakeError(ErrorCode::kUnknownGroup, absl::StrFormat("there is no group %s", name));
  }
  Description out;
  out.picture = *std::move(picture);
  AddMembers(members_after, out);
  AddPartitions(partitions_after, *services.partitions.Load(), out);
  return out;
}

auto EncodeMembers(FlatBufferBuilder& builder, const Description& description) {
  std::vector<flatbuffers::Offset<wire::GroupMember>> members;
  for (const MemberId& id : description.members) {
    const GroupMember& member = description.picture.group.members.at(id);
    const wire::Uuid uuid = ToWire(id);
    const auto instance = ToWire(builder, member.instance_id);
    const auto client = ToWire(builder, member.client_id);
    const auto host = ToWire(builder, member.host);
    const auto topics = builder.CreateVectorOfStrings(member.topics);
    members.push_back(wire::CreateGroupMember(builder, &uuid, instance, client, host, topics,
                                              member.session_timeout_ms));
  }
  return builder.CreateVector(members);
}

auto EncodeResets(FlatBufferBuilder& builder, const Group& group) {
  std::vector<flatbuffers::Offset<wire::GroupReset>> resets;
  for (const auto& [number, reset] : group.resets) {
    resets.push_back(wire::CreateGroupReset(
        builder, number, reset.at.value(), ToWire(builder, reset.what),
        static_cast<std::int32_t>(reset.changes.size()), reset.undone_by, reset.undoes));
  }
  return builder.CreateVector(resets);
}

void Encode(Connection& on, std::uint64_t correlation, const Description& description) {
  auto& builder = on.builder();
  const Group& group = description.picture.group;
  const auto members = EncodeMembers(builder, description);
  std::vector<flatbuffers::Offset<wire::GroupTopic>> topics;
  for (const auto& [id, name] : description.topics) {
    const wire::Uuid uuid = ToWire(id);
    topics.push_back(wire::CreateGroupTopic(builder, &uuid, ToWire(builder, name)));
  }
  const auto topic_vector = builder.CreateVector(topics);
  const auto partitions = builder.CreateVectorOfStructs(description.partitions);
  const auto metadata = builder.CreateVectorOfStrings(description.metadata);
  const auto resets = EncodeResets(builder, group);
  std::vector<wire::Uuid> holders;
  for (const MemberId& id : description.holders) holders.push_back(ToWire(id));
  const auto holder_vector = builder.CreateVectorOfStructs(holders);
  wire::GroupDescriptionBuilder reply(builder);
  reply.add_state(StateOf(description.picture));
  reply.add_epoch(group.epoch);
  reply.add_assignor(static_cast<wire::Assignor>(group.assignor));
  reply.add_members(members);
  reply.add_topics(topic_vector);
  reply.add_partitions(partitions);
  reply.add_metadata(metadata);
  reply.add_partitions_total(description.partitions_total);
  reply.add_resets(resets);
  reply.add_members_more(description.members_more);
  reply.add_holders(holder_vector);
  on.Reply(correlation, reply.Finish());
}

// Looks on a helper's thread, where it may wait for the disk.
template <typename Outcome, typename Look, typename Answer>
void LookLater(const Request& request, Look look, Answer answer) {
  request.connection.services().helpers.Submit(
      HelperKind::kRead,
      [look = std::move(look), answer = std::move(answer)](const absl::Status& status) mutable {
        answer(status.ok() ? look() : Outcome(status));
      });
}

}  // namespace

void HandleListGroups(const Request& request, const wire::ListGroups& list) {
  using Outcome = absl::StatusOr<Summaries>;
  const Services& services = request.connection.services();
  LookLater<Outcome>(
      request,
      [&services, after = std::string(FromWire(list.after()))]() -> Outcome {
        return SummarizeAll(services, after);
      },
      AnswerLater<Outcome>(request, [](Connection& on, std::uint64_t correlation,
                                       const Outcome& found) { Encode(on, correlation, *found); }));
}

void HandleDescribeGroup(const Request& request, const wire::DescribeGroup& describe) {
  using Outcome = absl::StatusOr<Description>;
  const Services& services = request.connection.services();
  std::optional<MemberId> members_after;
  if (describe.members_after() != nullptr) {
    members_after = MemberFromWire(*describe.members_after());
  }
  LookLater<Outcome>(
      request,
      [&services, members_after, name = std::string(FromWire(describe.group())),
       after = describe.partitions_after()]() -> Outcome {
        return Describe(services, name, after, members_after);
      },
      AnswerLater<Outcome>(request, [](Connection& on, std::uint64_t correlation,
                                       const Outcome& found) { Encode(on, correlation, *found); }));
}

void HandleDeleteGroup(const Request& request, const wire::DeleteGroup& remove) {
  const std::string group(FromWire(remove.group()));
  GroupShard* shard = ShardOf(request, group);
  if (shard == nullptr) return;
  shard->Delete(group,
                AnswerLater<absl::Status>(
                    request, [](Connection& on, std::uint64_t correlation, const absl::Status&) {
                      on.Reply(correlation, wire::CreateGroupDeleted(on.builder()));
                    }));
}

}  // namespace cairn::broker
