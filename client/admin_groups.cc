#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "client/admin.h"
#include "client/ask.h"
#include "client/core.h"
#include "client/deadline.h"
#include "protocol/status.h"

namespace cairn::client {
namespace {

using Builder = flatbuffers::FlatBufferBuilder;

GroupState FromWire(wire::GroupState state) {
  switch (state) {
    case wire::GroupState::Stable:
      return GroupState::kStable;
    case wire::GroupState::Assigning:
      return GroupState::kAssigning;
    case wire::GroupState::Resetting:
      return GroupState::kResetting;
    default:
      return GroupState::kEmpty;
  }
}

std::optional<Offset> OffsetFromWire(std::int64_t offset) {
  if (offset < 0) return std::nullopt;
  return Offset(offset);
}

std::optional<Timestamp> TimeFromWire(std::int64_t time) {
  if (time < 0) return std::nullopt;
  return Timestamp(time);
}

std::optional<std::int64_t> LagFromWire(std::int64_t lag) {
  if (lag < 0) return std::nullopt;
  return lag;
}

GroupMemberDescription FromWire(const wire::GroupMember& from) {
  GroupMemberDescription member;
  if (from.id() != nullptr) member.id = MemberFromWire(*from.id());
  member.instance_id = Text(from.instance_id());
  member.client_id = Text(from.client_id());
  member.host = Text(from.host());
  ForEach(from.topics(),
          [&](const flatbuffers::String& topic) { member.topics.push_back(Text(&topic)); });
  member.session_timeout = Duration(from.session_timeout_ms());
  return member;
}

GroupPartitionDescription FromWire(const wire::GroupPartition& from) {
  GroupPartitionDescription partition;
  partition.topic_id = cairn::FromWire(from.topic());
  partition.partition = PartitionIndex(from.partition());
  partition.epoch = from.epoch();
  partition.committed = OffsetFromWire(from.offset());
  partition.leader_epoch = LeaderEpoch(from.leader_epoch());
  if (partition.committed.has_value()) partition.committed_at = TimeFromWire(from.committed_at());
  partition.log_start = Offset(from.log_start());
  partition.log_end = Offset(from.log_end());
  partition.first_unread = TimeFromWire(from.first_unread());
  partition.trimmed = from.trimmed();
  return partition;
}

GroupResetSummary FromWire(const wire::GroupReset& from) {
  return {.number = from.number(),
          .at = Timestamp(from.at()),
          .what = Text(from.what()),
          .partitions = from.partitions(),
          .undone_by = from.undone_by(),
          .undoes = from.undoes()};
}

// Who holds a partition, before all members are known; kNoMember: nobody.
struct Holders {
  MemberId owner = kNoMember, target = kNoMember;
};

MemberId HolderFromWire(const wire::GroupDescription& page, std::int32_t place) {
  const auto* holders = page.holders();
  if (holders == nullptr || place < 0) return kNoMember;
  const auto index = static_cast<flatbuffers::uoffset_t>(place);
  return index < holders->size() ? MemberFromWire(*holders->Get(index)) : kNoMember;
}

// `holders` are those of the group's partitions. One that came or left between two pages may not be
// among the members.
void FindHolders(const std::vector<Holders>& holders, GroupDescription& group) {
  std::map<MemberId, std::size_t> places;
  for (const GroupMemberDescription& member : group.members) {
    places.emplace(member.id, places.size());
  }
  const auto find = [&](const MemberId& id) {
    const auto place = places.find(id);
    return place == places.end() ? std::nullopt : std::optional(place->second);
  };
  for (std::size_t i = 0; i < holders.size(); ++i) {
    group.partitions[i].owner = find(holders[i].owner);
    group.partitions[i].target = find(holders[i].target);
  }
}

// Adds a page's members and partitions; everything else is that of the last page.
void TakePage(const wire::GroupDescription& from, GroupDescription& group,
              std::vector<Holders>& holders) {
  group.state = FromWire(from.state());
  group.epoch = from.epoch();
  group.assignor = from.assignor() == wire::Assignor::Range ? GroupAssignor::kRange
                                                            : GroupAssignor::kStickyUniform;
  ForEach(from.members(),
          [&](const wire::GroupMember& member) { group.members.push_back(FromWire(member)); });
  group.resets.clear();
  ForEach(from.resets(),
          [&](const wire::GroupReset& reset) { group.resets.push_back(FromWire(reset)); });
  std::map<TopicId, std::string> names;
  ForEach(from.topics(), [&](const wire::GroupTopic& topic) {
    if (topic.id() != nullptr) names[cairn::FromWire(*topic.id())] = Text(topic.name());
  });
  const auto* metadata = from.metadata();
  flatbuffers::uoffset_t row = 0;
  ForEach(from.partitions(), [&](const wire::GroupPartition& each) {
    GroupPartitionDescription partition = FromWire(each);
    holders.push_back({HolderFromWire(from, each.owner()), HolderFromWire(from, each.target())});
    partition.topic = names[partition.topic_id];
    if (partition.topic.empty()) partition.topic = ToString(partition.topic_id);
    if (metadata != nullptr && row < metadata->size()) {
      partition.metadata = Text(metadata->Get(row));
    }
    group.partitions.push_back(std::move(partition));
    ++row;
  });
}

template <typename Changes>
std::vector<GroupOffsetChange> ChangesFromWire(const Changes* from) {
  std::vector<GroupOffsetChange> changes;
  ForEach(from, [&](const wire::OffsetChange& change) {
    changes.push_back({.topic = cairn::FromWire(change.topic()),
                       .partition = PartitionIndex(change.partition()),
                       .old_offset = OffsetFromWire(change.old_offset()),
                       .new_offset = OffsetFromWire(change.new_offset())});
  });
  return changes;
}

std::uint32_t MillisecondsToWire(Duration duration) {
  constexpr Duration kLongest = std::chrono::hours(24);
  return static_cast<std::uint32_t>(std::clamp(duration, Duration(0), kLongest).count());
}

}  // namespace

absl::StatusOr<std::vector<GroupSummary>> Admin::ListGroups() {
  std::vector<GroupSummary> groups;
  const auto deadline = DeadlineAfter(timeout_);
  for (bool more = true; more;) {
    const std::size_t before = groups.size();
    const std::string after = groups.empty() ? "" : groups.back().group;
    RETURN_IF_ERROR(Ask<wire::GroupsReply>(
        *cluster_->core(), kRead, TimeLeft(deadline),
        [&](Builder& builder) { return wire::CreateListGroups(builder, ToWire(builder, after)); },
        [&](const wire::GroupsReply& reply) {
          ForEach(reply.groups(), [&](const wire::GroupSummary& group) {
            groups.push_back({.group = Text(group.group()),
                              .state = FromWire(group.state()),
                              .members = group.members(),
                              .total_lag = LagFromWire(group.total_lag()),
                              .partitions = group.partitions(),
                              .uncommitted = group.uncommitted()});
          });
          more = reply.more();
        }));
    if (more && groups.size() == before) {
      return absl::InternalError("the broker promised more groups and sent none");
    }
  }
  return groups;
}

absl::StatusOr<GroupDescription> Admin::DescribeGroup(std::string_view group) {
  GroupDescription description;
  description.group = std::string(group);
  std::vector<Holders> holders;
  const auto deadline = DeadlineAfter(timeout_);
  for (bool more = true; more;) {
    const std::size_t before = description.partitions.size();
    const std::size_t members_before = description.members.size();
    RETURN_IF_ERROR(Ask<wire::GroupDescription>(
        *cluster_->core(), kRead, TimeLeft(deadline),
        [&](Builder& builder) {
          const auto name = ToWire(builder, group);
          const wire::Uuid last =
              ToWire(members_before == 0 ? kNoMember : description.members.back().id);
          return wire::CreateDescribeGroup(builder, name, static_cast<std::uint32_t>(before),
                                           members_before == 0 ? nullptr : &last);
        },
        [&](const wire::GroupDescription& page) {
          TakePage(page, description, holders);
          // A page with nothing: there are fewer by now.
          more = (description.partitions.size() > before &&
                  description.partitions.size() < page.partitions_total()) ||
                 (description.members.size() > members_before && page.members_more());
        }));
  }
  FindHolders(holders, description);
  return description;
}

absl::Status Admin::DeleteGroup(std::string_view group) {
  return Ask<wire::GroupDeleted>(
      *cluster_->core(), kChange, timeout_,
      [&](Builder& builder) { return wire::CreateDeleteGroup(builder, ToWire(builder, group)); },
      [](const wire::GroupDeleted&) {});
}

absl::StatusOr<GroupReset> Admin::ResetOffsets(const GroupResetRequest& request) {
  std::vector<wire::OffsetChange> changes;
  changes.reserve(request.changes.size());
  for (const GroupOffsetChange& change : request.changes) {
    changes.emplace_back(ToWire(change.topic), change.partition.value(),
                         change.old_offset.value_or(kNoOffset).value(),
                         change.new_offset.value_or(kNoOffset).value());
  }
  const std::uint32_t wait = MillisecondsToWire(request.wait);
  const Duration timeout =
      timeout_ > Duration::max() - Duration(wait) ? timeout_ : timeout_ + Duration(wait);
  GroupReset reset;
  RETURN_IF_ERROR(Ask<wire::OffsetsReset>(
      *cluster_->core(), kChange, timeout,
      [&](Builder& builder) {
        const auto group = ToWire(builder, request.group);
        const auto rows = builder.CreateVectorOfStructs(changes);
        const auto what = ToWire(builder, request.what);
        return wire::CreateResetOffsets(builder, group, rows, what, request.force, wait,
                                        request.undoes);
      },
      [&](const wire::OffsetsReset& reply) {
        reset.number = reply.number();
        reset.changes = ChangesFromWire(reply.changes());
      }));
  return reset;
}

absl::StatusOr<GroupResetDescription> Admin::DescribeReset(std::string_view group,
                                                           std::int64_t number) {
  GroupResetDescription description;
  RETURN_IF_ERROR(Ask<wire::ResetDescription>(
      *cluster_->core(), kRead, timeout_,
      [&](Builder& builder) {
        const auto name = ToWire(builder, group);
        return wire::CreateDescribeReset(builder, name, number);
      },
      [&](const wire::ResetDescription& reply) {
        description.summary = FromWire(*reply.reset());
        description.changes = ChangesFromWire(reply.changes());
      }));
  return description;
}

}  // namespace cairn::client
