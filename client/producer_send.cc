#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "client/deadline.h"
#include "client/producer_state.h"
#include "protocol/limits.h"
#include "protocol/partitioner.h"
#include "protocol/status.h"

// The half of a producer that runs on the application's threads.
namespace cairn::client {
namespace {

std::optional<ByteView> BytesOf(const std::optional<std::string_view>& text) {
  if (!text.has_value()) return std::nullopt;
  return AsBytes(*text);
}

Timestamp WallNow() {
  return Timestamp(std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count());
}

constexpr std::size_t kGrowthBehind = 4;

absl::Status Closed() { return absl::FailedPreconditionError("the producer is closed"); }

}  // namespace

absl::Status Producer::State::Send(std::string_view topic_name, const ProduceRecord& record,
                                   OnDelivery done) {
  std::vector<HeaderView> headers;
  for (const Header& header : record.headers) {
    headers.push_back({AsBytes(header.name),
                       header.value ? std::optional(AsBytes(*header.value)) : std::nullopt});
  }
  const Timestamp timestamp = record.timestamp == kNoTimestamp ? WallNow() : record.timestamp;
  if (timestamp < Timestamp(0)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("timestamp %d: it cannot be negative", timestamp.value()));
  }
  const RecordBatchBuilder::Record to_add{.timestamp = timestamp,
                                          .key = BytesOf(record.key),
                                          .value = BytesOf(record.value),
                                          .headers = headers};
  const std::size_t bound = RecordBatchBuilder::SizeBound(to_add);
  Patience patience(options_.block_timeout);

  std::unique_lock lock(mutex_);
  while (true) {
    if (closed_) return Closed();
    ASSIGN_OR_RETURN(Topic * topic, FindTopic(lock, topic_name, patience));
    ASSIGN_OR_RETURN(Partition * partition, Choose(lock, topic, record, patience));
    if (bound + kBatchHeaderBytes > topic->info->batch_bytes_max) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "a record of %d bytes; max.message.bytes of %s allows a batch of %d, header included",
          bound, topic_name, topic->info->batch_bytes_max));
    }
    bool waited = false;
    RETURN_IF_ERROR(AwaitRoom(lock, bound, waited, patience));
    if (waited) continue;  // the topic may have changed meanwhile
    Append(*partition, to_add, bound, std::move(done));
    return absl::OkStatus();
  }
}

absl::StatusOr<Producer::State::Topic*> Producer::State::FindTopic(
    std::unique_lock<std::mutex>& lock, std::string_view name, Patience& patience) {
  if (last_topic_ != nullptr && last_topic_->name == name) return last_topic_;
  while (true) {
    if (const auto found = topics_.find(name); found != topics_.end()) {
      return last_topic_ = found->second;
    }
    std::shared_ptr<const TopicInfo> info;
    if (core_->OnIoThread()) {
      info = core_->metadata().Find(name);
      if (info == nullptr) {
        return absl::UnavailableError(absl::StrFormat(
            "topic %s is not known yet, and a delivery callback cannot wait for it", name));
      }
    } else {
      lock.unlock();
      auto resolved = core_->ResolveTopic(name, patience.Left());
      lock.lock();
      if (absl::IsDeadlineExceeded(resolved.status())) {
        return absl::UnavailableError(
            absl::StrFormat("topic %s: %s", name, std::string(resolved.status().message())));
      }
      RETURN_IF_ERROR(resolved.status());
      if (closed_) return Closed();
      info = *std::move(resolved);
    }
    if (topics_.contains(name)) continue;  // another thread was quicker
    Topic& topic = all_topics_.emplace_back();
    topic.name = std::string(name);
    Adopt(topic, std::move(info));
    topics_.emplace(topic.name, &topic);
  }
}

void Producer::State::Adopt(Topic& topic, std::shared_ptr<const TopicInfo> info) {
  const PartitionQueue::Options queue_options{.in_flight_max = options_.in_flight_max,
                                              .idempotent = options_.acks != Acks::kNone,
                                              .backoff_min = core_->options().backoff_min,
                                              .backoff_max = core_->options().backoff_max};
  topic.info = std::move(info);
  while (std::ssize(topic.partitions) < topic.info->partitions) {
    const PartitionIndex index(static_cast<std::int32_t>(topic.partitions.size()));
    topic.partitions.emplace_back(topic, index, queue_options);
  }
}

absl::StatusOr<Producer::State::Partition*> Producer::State::Choose(
    std::unique_lock<std::mutex>& lock, Topic*& topic, const ProduceRecord& record,
    Patience& patience) {
  if (record.partition.value() < 0) {
    const auto count = static_cast<std::int32_t>(topic->partitions.size());
    const std::int32_t index = record.key.has_value()
                                   ? PartitionForKey(AsBytes(*record.key), count).value()
                                   : topic->sticky;
    return &topic->partitions[static_cast<std::size_t>(index)];
  }
  const auto index = static_cast<std::size_t>(record.partition.value());
  if (index >= topic->partitions.size() && !core_->OnIoThread()) {
    // Perhaps it has grown since.
    const std::string name = topic->name;
    core_->metadata().Forget(name);
    lock.unlock();
    auto info = core_->ResolveTopic(name, patience.Left());
    lock.lock();
    if (closed_) return Closed();
    RETURN_IF_ERROR(info.status());
    if ((*info)->id == topic->info->id) Adopt(*topic, *std::move(info));
  }
  if (index >= topic->partitions.size()) {
    return absl::NotFoundError(absl::StrFormat("topic %s has no partition %d, only 0 to %d",
                                               topic->name, record.partition.value(),
                                               topic->partitions.size() - 1));
  }
  return &topic->partitions[index];
}

absl::Status Producer::State::AwaitRoom(std::unique_lock<std::mutex>& lock, std::size_t bytes,
                                        bool& waited, Patience& patience) {
  // A record larger than the whole buffer is taken when the buffer is empty.
  const auto has_room = [&] {
    return closed_ || buffered_ == 0 || buffered_ + bytes <= options_.buffer_bytes_max;
  };
  if (has_room()) return absl::OkStatus();
  if (options_.when_full == WhenFull::kFail || core_->OnIoThread()) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("the producer's buffer is full: %d of %d bytes are not delivered yet",
                        buffered_, options_.buffer_bytes_max));
  }
  waited = true;
  if (changed_.wait_until(lock, patience.End(), has_room)) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrFormat("the producer's buffer of %d bytes stayed full for %d ms",
                      options_.buffer_bytes_max, options_.block_timeout.count()));
}

// What is behind as many batches as may be on the wire goes no sooner for being sealed early;
// larger batches then put more on the wire, and each answer, and each sync, serves more.
std::size_t Producer::State::BatchLimit(const Partition& partition) const {
  const bool behind = partition.undelivered >= options_.in_flight_max;
  const std::size_t wanted = options_.batch_bytes * (behind ? kGrowthBehind : 1);
  return std::min(wanted, partition.topic.info->batch_bytes_max);
}

void Producer::State::Append(Partition& partition, const RecordBatchBuilder::Record& record,
                             std::size_t bound, OnDelivery done) {
  const std::size_t limit = BatchLimit(partition);
  if (partition.open != nullptr && (partition.open->builder.size() + bound > limit ||
                                    partition.open->record_count == kBatchRecordsMax)) {
    Seal(partition);
  }
  if (partition.open == nullptr) OpenBatch(partition);
  Batch& batch = *partition.open;
  batch.builder.Add(record);
  if (done) {
    batch.callbacks.resize(static_cast<std::size_t>(batch.record_count));
    batch.callbacks.push_back(std::move(done));
  }
  ++batch.record_count;
  batch.accounted += bound;
  buffered_ += bound;
  if (batch.builder.size() >= limit) Seal(partition);
}

void Producer::State::OpenBatch(Partition& partition) {
  if (spare_.empty()) {
    partition.open = std::make_unique<Batch>();
  } else {
    partition.open = std::move(spare_.back());
    spare_.pop_back();
  }
  partition.open->accounted = 0;
  partition.open->created = Clock::now();
  partition.open->deadline = DeadlineAfter(options_.delivery_timeout, partition.open->created);
  partition.open->generation = generation_;
  ++outstanding_[generation_];
  RefreshIfOld(partition.topic, partition.open->created);
  MarkDirty(partition);  // it is sent at once, or its linger begins
}

void Producer::State::Seal(Partition& partition) {
  Close(partition);
  MarkDirty(partition);
}

// Nothing is added to the open batch any more; records without a key go to the next partition.
void Producer::State::Close(Partition& partition) {
  partition.sealed.push_back(std::move(partition.open));
  ++partition.undelivered;
  Topic& topic = partition.topic;
  if (topic.sticky == partition.index.value()) {
    topic.sticky = (topic.sticky + 1) % static_cast<std::int32_t>(topic.partitions.size());
  }
}

void Producer::State::MarkDirty(Partition& partition) {
  if (partition.dirty) return;
  partition.dirty = true;
  dirty_.push_back(&partition);
  if (std::exchange(pump_posted_, true)) return;
  core_->Post([self = shared_from_this()] { self->Pump(); });
}

void Producer::State::RefreshIfOld(Topic& topic, TimePoint now) {
  if (topic.refreshing || now - topic.info->fetched < Metadata::kBelieved) return;
  topic.refreshing = true;
  core_->Post([self = shared_from_this(), &topic,
               deadline = DeadlineAfter(options_.delivery_timeout, now)] {
    self->core_->FetchTopic(topic.name, deadline, [self, &topic](auto info) {
      self->OnRefreshed(topic, std::move(info));
    });
  });
}

absl::Status Producer::State::Flush(Duration timeout) {
  if (core_->OnIoThread()) {
    return absl::FailedPreconditionError("Flush cannot be used in a delivery callback");
  }
  const TimePoint deadline = DeadlineAfter(timeout);
  std::unique_lock lock(mutex_);
  const std::uint64_t last = generation_++;
  for (Topic& topic : all_topics_) {
    for (Partition& partition : topic.partitions) {
      if (partition.open != nullptr) Seal(partition);
    }
  }
  const auto delivered = [&] { return outstanding_.empty() || outstanding_.begin()->first > last; };
  if (changed_.wait_until(lock, deadline, delivered)) return absl::OkStatus();
  std::int64_t batches = 0;
  for (const auto& [generation, count] : outstanding_) batches += generation <= last ? count : 0;
  return absl::DeadlineExceededError(
      absl::StrFormat("%d batches were not delivered within %d ms", batches, timeout.count()));
}

}  // namespace cairn::client
