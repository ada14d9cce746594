#include "client/consumer.h"

#include <utility>

#include "client/consumer_state.h"
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
  auto state = std::make_shared<State>(cluster->core(), options);
  return std::unique_ptr<Consumer>(new Consumer(std::move(cluster), std::move(state)));
}

Consumer::Consumer(std::shared_ptr<Cluster> cluster, std::shared_ptr<State> state)
    : cluster_(std::move(cluster)), state_(std::move(state)) {}

Consumer::~Consumer() { state_->Close(); }

absl::Status Consumer::Assign(std::vector<Assignment> assignments, Duration timeout) {
  return state_->Assign(std::move(assignments), timeout);
}

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

bool Consumer::finished() const { return state_->finished(); }
void Consumer::Wake() { state_->Wake(); }

}  // namespace cairn::client
