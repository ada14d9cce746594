#include "broker/groups/group_table.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "flatbuffers/flatbuffers.h"

#include "broker/state/records_generated.h"
#include "broker/state/state_record.h"
#include "protocol/check.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

enum class Kind : std::uint8_t { kGroup = 1, kMember = 2, kHolding = 3, kOffset = 4, kReset = 5 };

constexpr std::size_t kIdBytes = 16;
constexpr std::size_t kPartitionBytes = kIdBytes + 4;
constexpr std::size_t kNumberBytes = 8;

// ---- keys ----

Bytes Key(Kind kind, std::string_view group, std::size_t rest_bytes = 0) {
  CAIRN_CHECK(!group.empty() && group.size() <= kGroupNameBytesMax);
  Bytes key(2 + group.size() + rest_bytes);
  key[0] = static_cast<std::byte>(kind);
  key[1] = static_cast<std::byte>(group.size());
  std::memcpy(key.data() + 2, group.data(), group.size());
  return key;
}

MutableBytes RestOf(Bytes& key, std::string_view group) {
  return MutableBytes(key).subspan(2 + group.size());
}

Bytes MemberKey(std::string_view group, const MemberId& id) {
  Bytes key = Key(Kind::kMember, group, kIdBytes);
  std::memcpy(RestOf(key, group).data(), id.bytes.data(), kIdBytes);
  return key;
}

Bytes PartitionKey(Kind kind, std::string_view group, const TopicPartition& id) {
  Bytes key = Key(kind, group, kPartitionBytes);
  const MutableBytes rest = RestOf(key, group);
  std::memcpy(rest.data(), id.topic.bytes.data(), kIdBytes);
  StoreBe<std::int32_t>(rest, kIdBytes, id.partition.value());
  return key;
}

Bytes ResetKey(std::string_view group, std::int64_t number) {
  Bytes key = Key(Kind::kReset, group, kNumberBytes);
  StoreBe<std::int64_t>(RestOf(key, group), 0, number);
  return key;
}

template <typename Id>
Id ParseId(ByteView bytes) {
  Id id;
  std::memcpy(id.bytes.data(), bytes.data(), kIdBytes);
  return id;
}

TopicPartition ParsePartition(ByteView bytes) {
  return {ParseId<TopicId>(bytes), PartitionIndex(LoadBe<std::int32_t>(bytes, kIdBytes))};
}

// ---- values ----

template <typename Id>
records::Id ToRecord(const Id& id) {
  return records::Id(flatbuffers::span<const std::uint8_t, kIdBytes>(id.bytes.data(), kIdBytes));
}

template <typename Id>
Id FromRecord(const records::Id* id) {
  Id result;
  if (id != nullptr) std::memcpy(result.bytes.data(), id->bytes()->Data(), kIdBytes);
  return result;
}

absl::StatusOr<GroupMember> ParseMember(ByteView value) {
  Bytes aligned;
  ASSIGN_OR_RETURN(const records::Member* member, ParseRecord<records::Member>(value, aligned));
  GroupMember row;
  row.instance_id = RecordText(member->instance_id());
  row.client_id = RecordText(member->client_id());
  row.host = RecordText(member->host());
  if (member->topics() != nullptr) {
    for (const flatbuffers::String* topic : *member->topics()) {
      row.topics.push_back(RecordText(topic));
    }
  }
  row.session_timeout_ms = member->session_timeout_ms();
  row.joined = member->joined();
  return row;
}

absl::StatusOr<Holding> ParseHolding(ByteView value) {
  Bytes aligned;
  ASSIGN_OR_RETURN(const records::Holding* holding, ParseRecord<records::Holding>(value, aligned));
  return Holding{FromRecord<MemberId>(holding->owner()), FromRecord<MemberId>(holding->target()),
                 holding->epoch()};
}

absl::StatusOr<CommittedOffset> ParseOffset(ByteView value) {
  Bytes aligned;
  ASSIGN_OR_RETURN(const records::CommittedOffset* offset,
                   ParseRecord<records::CommittedOffset>(value, aligned));
  return CommittedOffset{Offset(offset->offset()), LeaderEpoch(offset->leader_epoch()),
                         Timestamp(offset->at()), RecordText(offset->metadata()),
                         offset->trimmed()};
}

absl::StatusOr<OffsetReset> ParseReset(ByteView value) {
  Bytes aligned;
  ASSIGN_OR_RETURN(const records::Reset* reset, ParseRecord<records::Reset>(value, aligned));
  OffsetReset row;
  row.at = Timestamp(reset->at());
  row.what = RecordText(reset->what());
  row.undone_by = reset->undone_by();
  row.undoes = reset->undoes();
  if (reset->changes() != nullptr) {
    for (const records::OffsetChange* change : *reset->changes()) {
      row.changes.push_back(
          {{FromRecord<TopicId>(&change->topic()), PartitionIndex(change->partition())},
           Offset(change->old_offset()),
           LeaderEpoch(change->old_leader_epoch()),
           Offset(change->new_offset())});
    }
  }
  return row;
}

// Takes a row in, or out where it has no value.
template <typename Map, typename Parse>
absl::Status Enter(Map& rows, const typename Map::key_type& id, std::optional<ByteView> value,
                   Parse parse) {
  if (!value.has_value()) {
    rows.erase(id);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(rows[id], parse(*value));
  return absl::OkStatus();
}

absl::Status EnterGroup(Group& group, std::optional<ByteView> value) {
  if (!value.has_value()) {
    const Group none;
    group.epoch = none.epoch;
    group.assignor = none.assignor;
    group.next_reset = none.next_reset;
    return absl::OkStatus();
  }
  Bytes aligned;
  ASSIGN_OR_RETURN(const records::Group* row, ParseRecord<records::Group>(*value, aligned));
  group.epoch = row->epoch();
  group.assignor = row->assignor() == static_cast<std::uint8_t>(Assignor::kRange)
                       ? Assignor::kRange
                       : Assignor::kStickyUniform;
  group.next_reset = row->next_reset();
  return absl::OkStatus();
}

std::optional<std::size_t> RestBytes(Kind kind) {
  switch (kind) {
    case Kind::kGroup:
      return 0;
    case Kind::kMember:
      return kIdBytes;
    case Kind::kHolding:
    case Kind::kOffset:
      return kPartitionBytes;
    case Kind::kReset:
      return kNumberBytes;
  }
  return std::nullopt;
}

absl::Status EnterRecord(Group& group, Kind kind, ByteView rest, std::optional<ByteView> value) {
  switch (kind) {
    case Kind::kGroup:
      return EnterGroup(group, value);
    case Kind::kMember:
      return Enter(group.members, ParseId<MemberId>(rest), value, ParseMember);
    case Kind::kHolding:
      return Enter(group.holdings, ParsePartition(rest), value, ParseHolding);
    case Kind::kOffset:
      return Enter(group.offsets, ParsePartition(rest), value, ParseOffset);
    case Kind::kReset:
      return Enter(group.resets, LoadBe<std::int64_t>(rest, 0), value, ParseReset);
  }
  return absl::OkStatus();
}

bool IsNothing(const Group& group) {
  return group.epoch == 0 && group.next_reset == 1 && group.members.empty() &&
         group.holdings.empty() && group.offsets.empty() && group.resets.empty();
}

}  // namespace

// ---- writing ----

StateRecord GroupRecord(std::string_view group, const Group& row) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(records::CreateGroup(builder, row.epoch, static_cast<std::uint8_t>(row.assignor),
                                      row.next_reset));
  return {Key(Kind::kGroup, group), RecordBytes(builder)};
}

StateRecord GroupForgotten(std::string_view group) {
  return {Key(Kind::kGroup, group), std::nullopt};
}

StateRecord MemberRecord(std::string_view group, const MemberId& id, const GroupMember& row) {
  flatbuffers::FlatBufferBuilder builder;
  const auto instance = builder.CreateString(row.instance_id);
  const auto client = builder.CreateString(row.client_id);
  const auto host = builder.CreateString(row.host);
  const auto topics = builder.CreateVectorOfStrings(row.topics);
  builder.Finish(records::CreateMember(builder, instance, client, host, topics,
                                       row.session_timeout_ms, row.joined));
  return {MemberKey(group, id), RecordBytes(builder)};
}

StateRecord MemberForgotten(std::string_view group, const MemberId& id) {
  return {MemberKey(group, id), std::nullopt};
}

StateRecord HoldingRecord(std::string_view group, const TopicPartition& id, const Holding& row) {
  flatbuffers::FlatBufferBuilder builder;
  const records::Id owner = ToRecord(row.owner);
  const records::Id target = ToRecord(row.target);
  builder.Finish(records::CreateHolding(builder, row.owner == kNoMember ? nullptr : &owner,
                                        row.target == kNoMember ? nullptr : &target, row.epoch));
  return {PartitionKey(Kind::kHolding, group, id), RecordBytes(builder)};
}

StateRecord HoldingForgotten(std::string_view group, const TopicPartition& id) {
  return {PartitionKey(Kind::kHolding, group, id), std::nullopt};
}

StateRecord OffsetRecord(std::string_view group, const TopicPartition& id,
                         const CommittedOffset& row) {
  flatbuffers::FlatBufferBuilder builder;
  flatbuffers::Offset<flatbuffers::String> metadata;
  if (!row.metadata.empty()) metadata = builder.CreateString(row.metadata);
  builder.Finish(records::CreateCommittedOffset(builder, row.offset.value(),
                                                row.leader_epoch.value(), row.at.value(), metadata,
                                                row.trimmed));
  return {PartitionKey(Kind::kOffset, group, id), RecordBytes(builder)};
}

StateRecord OffsetForgotten(std::string_view group, const TopicPartition& id) {
  return {PartitionKey(Kind::kOffset, group, id), std::nullopt};
}

StateRecord ResetRecord(std::string_view group, std::int64_t number, const OffsetReset& row) {
  flatbuffers::FlatBufferBuilder builder;
  std::vector<records::OffsetChange> changes;
  changes.reserve(row.changes.size());
  for (const OffsetChange& change : row.changes) {
    changes.emplace_back(ToRecord(change.partition.topic), change.partition.partition.value(),
                         change.old_leader_epoch.value(), change.old_offset.value(),
                         change.new_offset.value());
  }
  const auto what = builder.CreateString(row.what);
  const auto vector = builder.CreateVectorOfStructs(changes);
  builder.Finish(
      records::CreateReset(builder, row.at.value(), what, row.undone_by, row.undoes, vector));
  return {ResetKey(group, number), RecordBytes(builder)};
}

StateRecord ResetForgotten(std::string_view group, std::int64_t number) {
  return {ResetKey(group, number), std::nullopt};
}

// ---- reading ----

absl::Status GroupTable::Apply(ByteView key, std::optional<ByteView> value) {
  const auto refuse = [&] {
    return absl::DataLossError(
        absl::StrFormat("a key of %d bytes is not one of a group's", key.size()));
  };
  if (key.size() < 2) return refuse();
  const auto kind = static_cast<Kind>(key[0]);
  const auto name_bytes = std::to_integer<std::size_t>(key[1]);
  const std::optional<std::size_t> rest_bytes = RestBytes(kind);
  if (!rest_bytes.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("a record of kind %d is not known to this version; a newer one wrote it",
                        std::to_integer<int>(key[0])));
  }
  if (name_bytes == 0 || key.size() != 2 + name_bytes + *rest_bytes) return refuse();
  const std::string_view name = AsText(key.subspan(2, name_bytes));
  auto found = groups_.find(name);
  if (found == groups_.end()) {
    if (!value.has_value()) return absl::OkStatus();
    found = groups_.emplace(std::string(name), Group()).first;
  }
  RETURN_IF_ERROR(EnterRecord(found->second, kind, key.subspan(2 + name_bytes), value));
  if (IsNothing(found->second)) groups_.erase(found);
  return absl::OkStatus();
}

const Group* GroupTable::Find(std::string_view name) const {
  const auto found = groups_.find(name);
  return found == groups_.end() ? nullptr : &found->second;
}

}  // namespace cairn::broker
