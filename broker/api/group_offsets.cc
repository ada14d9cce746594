// The offsets of consumer groups: commits and resets.

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "broker/api/group_request.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

// What a group's history says of a reset is for people.
constexpr std::size_t kWhatBytesMax = 1000;

absl::StatusOr<std::vector<OffsetCommit>> CommitsOf(const wire::CommitOffsets& asked) {
  RETURN_IF_ERROR(CheckRows(asked.commits()));
  std::vector<OffsetCommit> commits;
  std::set<TopicPartition> seen;
  const std::size_t count = asked.commits() == nullptr ? 0 : asked.commits()->size();
  if (asked.metadata() != nullptr && asked.metadata()->size() != count) {
    return MakeError(
        ErrorCode::kInvalidRequest,
        absl::StrFormat("%d commits with %d times metadata", count, asked.metadata()->size()));
  }
  for (flatbuffers::uoffset_t i = 0; i < count; ++i) {
    const wire::OffsetCommit& each = *asked.commits()->Get(i);
    OffsetCommit& commit = commits.emplace_back();
    commit.partition = {FromWire(each.topic()), PartitionIndex(each.partition())};
    if (!seen.insert(commit.partition).second) {
      return MakeError(ErrorCode::kInvalidRequest,
                       absl::StrFormat("two commits for partition %d of topic %s in one request",
                                       each.partition(), ToString(commit.partition.topic)));
    }
    commit.epoch = each.epoch();
    commit.offset = Offset(each.offset());
    commit.leader_epoch = LeaderEpoch(each.leader_epoch());
    commit.trimmed = each.trimmed();
    if (asked.metadata() != nullptr) commit.metadata = FromWire(asked.metadata()->Get(i));
    if (commit.offset < Offset(0) || commit.trimmed < 0 ||
        commit.metadata.size() > kCommitMetadataBytesMax) {
      return MakeError(
          ErrorCode::kInvalidRequest,
          absl::StrFormat("a commit of offset %d after %d trimmed records with %d bytes "
                          "of metadata: %d are allowed",
                          commit.offset.value(), commit.trimmed, commit.metadata.size(),
                          kCommitMetadataBytesMax));
    }
  }
  return commits;
}

std::vector<wire::OffsetChange> ToWire(const std::vector<OffsetChange>& changes) {
  std::vector<wire::OffsetChange> out;
  for (const OffsetChange& change : changes) {
    out.emplace_back(cairn::ToWire(change.partition.topic), change.partition.partition.value(),
                     change.old_offset.value(), change.new_offset.value());
  }
  return out;
}

// It stands, does not take one back itself, and some of its topics are still there.
bool CanBeTakenBack(const OffsetReset& reset, const ServedTopics& topics) {
  if (reset.undone_by != 0 || reset.undoes != 0) return false;
  return std::any_of(reset.changes.begin(), reset.changes.end(), [&](const OffsetChange& change) {
    return topics.Find(change.partition).ok();
  });
}

}  // namespace

void HandleCommitOffsets(const Request& request, const wire::CommitOffsets& asked) {
  GroupShard* shard = ShardOf(request, FromWire(asked.group()));
  if (shard == nullptr) return;
  absl::StatusOr<std::vector<OffsetCommit>> commits = CommitsOf(asked);
  if (!commits.ok()) return request.connection.Fail(request.correlation, commits.status());
  const MemberId member = asked.member() == nullptr ? kNoMember : MemberFromWire(*asked.member());
  using Outcome = absl::StatusOr<std::vector<ErrorCode>>;
  shard->Commit(std::string(FromWire(asked.group())), member, *std::move(commits),
                AnswerLater<Outcome>(
                    request, [](Connection& on, std::uint64_t correlation, const Outcome& outcome) {
                      std::vector<std::uint16_t> codes;
                      for (const ErrorCode code : *outcome) {
                        codes.push_back(static_cast<std::uint16_t>(code));
                      }
                      const auto vector = on.builder().CreateVector(codes);
                      on.Reply(correlation, wire::CreateOffsetsCommitted(on.builder(), vector));
                    }));
}

void HandleResetOffsets(const Request& request, const wire::ResetOffsets& asked) {
  GroupShard* shard = ShardOf(request, FromWire(asked.group()));
  if (shard == nullptr) return;
  absl::Status fits = CheckRows(asked.changes());
  const std::chrono::milliseconds timeout(asked.timeout_ms());
  if (fits.ok() && timeout > kResetTimeoutMax) {
    fits = MakeError(
        ErrorCode::kInvalidRequest,
        absl::StrFormat("a reset that waits %d ms for members; up to %d are possible",
                        timeout.count(), std::chrono::milliseconds(kResetTimeoutMax).count()));
  }
  if (!fits.ok()) return request.connection.Fail(request.correlation, fits);
  GroupShard::ResetRequest reset;
  reset.group = std::string(FromWire(asked.group()));
  reset.what = std::string(FromWire(asked.what()).substr(0, kWhatBytesMax));
  reset.undoes = asked.undoes();
  reset.force = asked.force();
  reset.timeout = timeout;
  reset.asker_left = request.connection.peer_left();
  if (asked.changes() != nullptr) {
    for (const wire::OffsetChange* each : *asked.changes()) {
      OffsetChange& change = reset.changes.emplace_back();
      change.partition = {FromWire(each->topic()), PartitionIndex(each->partition())};
      change.new_offset = Offset(each->new_offset());
    }
  }
  using Outcome = absl::StatusOr<GroupShard::ResetDone>;
  shard->Reset(
      std::move(reset), AnswerLater<Outcome>(request, [](Connection& on, std::uint64_t correlation,
                                                         const Outcome& outcome) {
        const auto changes = on.builder().CreateVectorOfStructs(ToWire(outcome->changes));
        on.Reply(correlation, wire::CreateOffsetsReset(on.builder(), outcome->number, changes));
      }));
}

void HandleDescribeReset(const Request& request, const wire::DescribeReset& asked) {
  Connection& connection = request.connection;
  const std::string group(FromWire(asked.group()));
  GroupShard* shard = ShardOf(request, group);
  if (shard == nullptr) return;
  const std::optional<GroupShard::Picture> picture = shard->Find(group);
  if (!picture.has_value()) {
    return connection.Fail(
        request.correlation,
        MakeError(ErrorCode::kUnknownGroup, absl::StrFormat("there is no group %s", group)));
  }
  const auto& resets = picture->group.resets;
  auto found = resets.find(asked.number());
  if (asked.number() == 0) {
    const std::shared_ptr<const ServedTopics> topics = connection.services().partitions.Load();
    found = resets.end();
    for (auto it = resets.begin(); it != resets.end(); ++it) {
      if (CanBeTakenBack(it->second, *topics)) found = it;
    }
  }
  if (found == resets.end()) {
    return connection.Fail(
        request.correlation,
        MakeError(ErrorCode::kOffsetOutOfRange,
                  asked.number() == 0
                      ? absl::StrFormat("group %s has no reset to take back", group)
                      : absl::StrFormat("group %s remembers no reset %d", group, asked.number())));
  }
  auto& builder = connection.builder();
  const OffsetReset& row = found->second;
  const auto what = cairn::ToWire(builder, row.what);
  const auto reset = wire::CreateGroupReset(builder, found->first, row.at.value(), what,
                                            static_cast<std::int32_t>(row.changes.size()),
                                            row.undone_by, row.undoes);
  const auto changes = builder.CreateVectorOfStructs(ToWire(row.changes));
  connection.Reply(request.correlation, wire::CreateResetDescription(builder, reset, changes));
}

}  // namespace cairn::broker
