#include "bench/consume_load.h"

#include <chrono>

#include "client/admin.h"
#include "protocol/status.h"

namespace cairn::bench {

absl::StatusOr<std::unique_ptr<ConsumeLoad>> ConsumeLoad::Open(const Target& target,
                                                               const std::string& topic,
                                                               std::size_t prefetch_bytes) {
  auto load = std::make_unique<ConsumeLoad>();
  ASSIGN_OR_RETURN(const auto cluster, target.Connect());
  client::ConsumerOptions options;
  options.prefetch_bytes = prefetch_bytes;
  options.out_of_range = client::ConsumerOptions::OutOfRange::kEarliest;
  ASSIGN_OR_RETURN(load->consumer_, client::Consumer::Open(cluster, options));
  client::Admin admin(cluster);
  ASSIGN_OR_RETURN(const auto offsets, admin.Offsets(topic));
  for (const auto& each : offsets) {
    load->assignments_.push_back({.topic = topic, .partition = each.partition});
    load->assignments_.back().stop_at_present_end = true;
  }
  return load;
}

void ConsumeLoad::Run() {
  while (!stop_ && status_.ok()) status_ = ReadOnce();
}

absl::Status ConsumeLoad::ReadOnce() {
  RETURN_IF_ERROR(consumer_->Assign(assignments_, std::chrono::seconds(10)));
  std::int64_t seen = 0;
  while (!consumer_->finished() && !stop_) {
    ASSIGN_OR_RETURN(const client::PolledRecords polled,
                     consumer_->Poll(std::chrono::milliseconds(100)));
    RETURN_IF_ERROR(Count(polled));
    seen += std::ssize(polled.records());
  }
  if (seen > 0 || stop_) return absl::OkStatus();
  return absl::NotFoundError("the topic has no records to read");
}

absl::Status ConsumeLoad::Count(const client::PolledRecords& polled) {
  for (const client::ConsumerEvent& event : polled.events()) RETURN_IF_ERROR(event.status);
  std::int64_t bytes = 0;
  for (const client::ConsumedRecord& record : polled.records()) {
    bytes += static_cast<std::int64_t>(record.key.value_or("").size() +
                                       record.value.value_or("").size());
  }
  tally_.Add({std::ssize(polled.records()), bytes});
  return absl::OkStatus();
}

}  // namespace cairn::bench
