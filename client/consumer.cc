#include "client/consumer.h"

#include <utility>

#include "client/consumer_state.h"
#include "client/group_member.h"
#include "client/polled_frames.h"
#include "protocol/status.h"

namespace cairn::client {

PolledRecords::PolledRecords() = default;
PolledRecords::PolledRecords(PolledRecords&&) noexcept = default;
PolledRecords& PolledRecords::operator=(PolledRecords&&) noexcept = default;
PolledRecords::~PolledRecords() = default;

absl::StatusOr<std::unique_ptr<Consumer>> Consumer::Open(std::shared_ptr<Cluster> cluster,
                                                         ConsumerOptions options) {
  if (options.prefetch_bytes == 0) {
    return absl::InvalidArgumentError("prefetch_bytes is 0: nothing would ever be sent");
  }
  if (options.group.has_value()) RETURN_IF_ERROR(CheckGroupOptions(*options.group));
  auto state = std::make_shared<State>(cluster->core(), options);
  return std::unique_ptr<Consumer>(new Consumer(std::move(cluster), std::move(state)));
}

Consumer::Consumer(std::shared_ptr<Cluster> cluster, std::shared_ptr<State> state)
    : cluster_(std::move(cluster)), state_(std::move(state)) {}

Consumer::~Consumer() { state_->Abandon(); }

absl::Status Consumer::Assign(std::vector<Assignment> assignments, Duration timeout) {
  return state_->Assign(std::move(assignments), timeout);
}

absl::Status Consumer::Subscribe(std::vector<std::string> topics) {
  return state_->Subscribe(std::move(topics));
}

absl::Status Consumer::Close(Duration timeout) { return state_->Close(timeout); }

absl::StatusOr<PolledRecords> Consumer::Poll(Duration timeout, std::size_t records_max) {
  if (records_max == 0) return absl::InvalidArgumentError("records_max is 0");
  return state_->Poll(timeout, records_max);
}

absl::Status Consumer::Seek(std::string_view topic, PartitionIndex partition, StartPosition start) {
  return state_->Seek(topic, partition, start);
}

absl::Status Consumer::Pause(std::string_view topic, PartitionIndex partition) {
  ASSIGN_OR_RETURN(PartitionReader * reader, state_->Find(topic, partition));
  reader->paused = true;
  return absl::OkStatus();
}

absl::Status Consumer::Resume(std::string_view topic, PartitionIndex partition) {
  ASSIGN_OR_RETURN(PartitionReader * reader, state_->Find(topic, partition));
  reader->paused = false;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Offset>> Consumer::Position(std::string_view topic,
                                                         PartitionIndex partition) const {
  ASSIGN_OR_RETURN(const PartitionReader* reader, state_->Find(topic, partition));
  return reader->position();
}

absl::StatusOr<std::optional<Offset>> Consumer::CommittedEnd(std::string_view topic,
                                                             PartitionIndex partition) const {
  ASSIGN_OR_RETURN(const PartitionReader* reader, state_->Find(topic, partition));
  return reader->committed_end();
}

std::vector<GroupPartition> Consumer::assignment() const { return state_->assignment(); }

absl::Status Consumer::Commit(Duration timeout) {
  ASSIGN_OR_RETURN(GroupMember * member, state_->member());
  return member->Commit(timeout);
}

absl::Status Consumer::Commit(const std::vector<OffsetToCommit>& offsets, Duration timeout) {
  ASSIGN_OR_RETURN(GroupMember * member, state_->member());
  return member->Commit(offsets, timeout);
}

absl::Status Consumer::CommitAsync(OnCommitted done) {
  ASSIGN_OR_RETURN(GroupMember * member, state_->member());
  member->CommitAsync(std::move(done));
  return absl::OkStatus();
}

absl::Status Consumer::CommitAsync(const std::vector<OffsetToCommit>& offsets, OnCommitted done) {
  ASSIGN_OR_RETURN(GroupMember * member, state_->member());
  member->CommitAsync(offsets, std::move(done));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Offset>> Consumer::Committed(std::string_view topic,
                                                          PartitionIndex partition) const {
  ASSIGN_OR_RETURN(const GroupMember* member, state_->member());
  ASSIGN_OR_RETURN(const PartitionReader* reader, state_->Find(topic, partition));
  return member->Committed({reader->topic_id(), partition});
}

bool Consumer::finished() const { return state_->finished(); }
void Consumer::Wake() { state_->Wake(); }

}  // namespace cairn::client
