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

struct Summary {
  std::string name;
  wire::GroupState state;
  std::int32_t members;
  std::int64_t total_lag;
  std::int32_t partitions;
};
struct Summaries {
  std::vector<Summary> groups;
  bool more = false;
};

Summary Summarize(std::string name, const GroupShard::Picture& picture,
                  const ServedTopics& topics) {
  std::int64_t lag = 0;
  for (const auto& [id, row] : picture.group.offsets) {
    const auto place = topics.Find(id);
    if (place.ok()) lag += LagOf((*place->partition)->ends(), row.offset);
  }
  return {std::move(name), StateOf(picture),
          static_cast<std::int32_t>(picture.group.members.size()), lag,
          static_cast<std::int32_t>(PartitionsOf(picture.group).size())};
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
                                              each.members, each.total_lag, each.partitions));
  }
  on.Reply(correlation,
           wire::CreateGroupsReply(builder, builder.CreateVector(groups), summaries.more));
}

// ---- one of them ----

struct Description {
  GroupShard::Picture picture;
  std::vector<std::pair<TopicId, std::string>> topics;
  std::vector<wire::GroupPartition> partitions;
  std::vector<std::string> metadata;
  std::uint32_t partitions_total = 0;
};

std::map<MemberId, std::int32_t> PlacesOf(const Group& group) {
  std::map<MemberId, std::int32_t> places;
  for (const auto& [id, member] : group.members) {
    places.emplace(id, static_cast<std::int32_t>(places.size()));
  }
  return places;
}

wire::GroupPartition DescribePartition(const Group& group, const TopicPartition& id,
                                       const std::map<MemberId, std::int32_t>& places,
                                       Partition* partition) {
  const auto place_of = [&](const MemberId& member) {
    const auto place = places.find(member);
    return place == places.end() ? -1 : place->second;
  };
  const auto holding = group.holdings.find(id);
  const Holding held = holding == group.holdings.end() ? Holding() : holding->second;
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
                              place_of(held.owner), place_of(held.target), held.epoch,
                              offset.offset.value(), offset.at.value(), ends.log_start.value(),
                              ends.committed_end.value(), first_unread.value(), offset.trimmed);
}

absl::StatusOr<Description> Describe(const Services& services, const std::string& name,
                                     std::uint32_t after) {
  ASSIGN_OR_RETURN(GroupShard * shard, services.groups.Find(name));
  std::optional<GroupShard::Picture> picture = shard->Find(name);
  if (!picture.has_value()) {
    return MakeError(ErrorCode::kUnknownGroup, absl::StrFormat("there is no group %s", name));
  }
  Description out{*std::move(picture), {}, {}, {}, 0};
  const Group& group = out.picture.group;
  const std::shared_ptr<const ServedTopics> topics = services.partitions.Load();
  const std::map<MemberId, std::int32_t> places = PlacesOf(group);
  const std::vector<TopicPartition> partitions = PartitionsOf(group);
  out.partitions_total = static_cast<std::uint32_t>(partitions.size());
  for (std::size_t i = after; i < partitions.size(); ++i) {
    if (out.partitions.size() == kGroupPartitionsPerReply) break;
    const TopicPartition& id = partitions[i];
    const auto place = topics->Find(id);
    if (place.ok() && (out.topics.empty() || out.topics.back().first != id.topic)) {
      out.topics.emplace_back(id.topic, place->topic->name);
    }
    out.partitions.push_back(
        DescribePartition(group, id, places, place.ok() ? place->partition->get() : nullptr));
    const auto committed = group.offsets.find(id);
    out.metadata.push_back(committed == group.offsets.end() ? std::string()
                                                            : committed->second.metadata);
  }
  return out;
}

auto EncodeMembers(FlatBufferBuilder& builder, const Group& group) {
  std::vector<flatbuffers::Offset<wire::GroupMember>> members;
  for (const auto& [id, member] : group.members) {
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
  const auto members = EncodeMembers(builder, group);
  std::vector<flatbuffers::Offset<wire::GroupTopic>> topics;
  for (const auto& [id, name] : description.topics) {
    const wire::Uuid uuid = ToWire(id);
    topics.push_back(wire::CreateGroupTopic(builder, &uuid, ToWire(builder, name)));
  }
  const auto topic_vector = builder.CreateVector(topics);
  const auto partitions = builder.CreateVectorOfStructs(description.partitions);
  const auto metadata = builder.CreateVectorOfStrings(description.metadata);
  const auto resets = EncodeResets(builder, group);
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
  LookLater<Outcome>(
      request,
      [&services, name = std::string(FromWire(describe.group())),
       after = describe.partitions_after()]() -> Outcome {
        return Describe(services, name, after);
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
