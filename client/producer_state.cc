#include "client/producer_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "client/deadline.h"
#include "protocol/error_code.h"
#include "protocol/record_batch_builder.h"
#include "protocol/status.h"

// The half of a producer that runs on the I/O thread.
namespace cairn::client {
namespace {

wire::Acks ToWire(Acks acks) {
  switch (acks) {
    case Acks::kDefault:
      return wire::Acks::Default;
    case Acks::kNone:
      return wire::Acks::None;
    case Acks::kWritten:
      return wire::Acks::Written;
    case Acks::kDurable:
      return wire::Acks::Durable;
  }
  return wire::Acks::Default;
}

// Kept for their memory when they are delivered.
constexpr std::size_t kSpareBatches = 16;

// What a block of that size may grow to when it is compressed and cannot be: the bounds of lz4
// frames (n / 255 + 16 a block) and zstd (n / 256 + 64) with their headers, rounded up.
std::size_t CompressedBound(std::size_t plain) { return plain + plain / 128 + 512; }

}  // namespace

Producer::State::State(std::shared_ptr<Core> core, const ProducerOptions& options)
    : core_(std::move(core)),
      options_(options),
      identity_backoff_(core_->options().backoff_min, core_->options().backoff_max),
      timer_(core_->io()),
      identity_timer_(core_->io()),
      tick_timer_(core_->io()) {}

void Producer::State::Start() {
  core_->Post([self = shared_from_this()] { self->core_->AddListener(self); });
}

absl::Status Producer::State::Close(Duration timeout) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return absl::OkStatus();
    closed_ = true;
  }
  changed_.notify_all();
  absl::Status flushed = absl::OkStatus();
  if (!core_->OnIoThread()) flushed = Flush(timeout);
  core_->PostAndWait([this] {
    Pump();
    ForEachPartition([this](Partition& partition) {
      TakeOver(partition, TimePoint::max()).IgnoreError();
      partition.queue.FailAll(absl::CancelledError("the producer was closed"), true);
      Deliver(partition);
    });
    timer_.cancel();
    identity_timer_.cancel();
    tick_timer_.cancel();
  });
  return flushed;
}

template <typename Visit>
void Producer::State::ForEachPartition(Visit visit) {
  std::vector<Partition*> partitions;
  {
    const std::lock_guard lock(mutex_);
    for (Topic& topic : all_topics_) {
      for (Partition& partition : topic.partitions) partitions.push_back(&partition);
    }
  }
  for (Partition* partition : partitions) visit(*partition);
}

// ---- batches ----

void Producer::State::Pump() {
  std::vector<Partition*> dirty;
  {
    const std::lock_guard lock(mutex_);
    dirty.swap(dirty_);
    for (Partition* partition : dirty) partition->dirty = false;
    pump_posted_ = false;
  }
  if (!dirty.empty()) Tick();
  for (Partition* partition : dirty) Drive(*partition);
}

// Does whatever can be done for a partition now, and sees to it that it is driven again.
void Producer::State::Drive(Partition& partition) {
  const TimePoint now = Clock::now();
  PartitionQueue& queue = partition.queue;
  if (const absl::Status retired = TakeOver(partition, now); !retired.ok()) {
    queue.FailAll(retired, false);
  }
  if (queue.needs_identity()) WantIdentity(partition);
  if (Connection* connection = queue.idle() ? nullptr : core_->connection()) {
    while (const auto to_send = queue.NextToSend(now)) SendBatch(partition, *to_send, *connection);
    if (const auto retry_at = queue.retry_at()) WakeAt(partition, *retry_at);
  }
  Deliver(partition);
}

// Moves what is ready into the queue: sealed batches, and the open one if nothing is in flight or
// it has lingered long enough. Not OK: the topic is retired.
absl::Status Producer::State::TakeOver(Partition& partition, TimePoint now) {
  std::optional<TimePoint> linger_over;
  absl::Status retired;
  {
    const std::lock_guard lock(mutex_);
    retired = partition.topic.retired;
    if (partition.open != nullptr) {
      const TimePoint due = DeadlineAfter(options_.linger, partition.open->created);
      const bool nothing_in_flight = partition.queue.idle() && partition.sealed.empty();
      if (nothing_in_flight || due <= now || !retired.ok()) {
        Close(partition);
      } else {
        linger_over = due;
      }
    }
    for (auto& batch : partition.sealed) partition.queue.Push(std::move(batch));
    partition.sealed.clear();
  }
  if (linger_over.has_value()) WakeAt(partition, *linger_over);
  return retired;
}

// Gives a batch its bytes, or the ones it has another identity.
absl::Status Producer::State::Pack(const PartitionQueue::ToSend& to_send,
                                   std::size_t batch_bytes_max) const {
  Batch& batch = *to_send.batch;
  if (batch.bytes != nullptr) {
    if (to_send.first_time) {
      StampProducer(*batch.bytes, to_send.identity.id, to_send.identity.epoch,
                    to_send.base_sequence);
    }
    return absl::OkStatus();
  }
  const bool compress = CompressedBound(batch.builder.size()) <= batch_bytes_max;
  ASSIGN_OR_RETURN(Bytes bytes,
                   batch.builder.Finish({.codec = compress ? options_.codec : Codec::kNone,
                                         .producer_id = to_send.identity.id,
                                         .producer_epoch = to_send.identity.epoch,
                                         .base_sequence = to_send.base_sequence}));
  batch.builder = RecordBatchBuilder();
  batch.bytes = std::make_shared<Bytes>(std::move(bytes));
  return absl::OkStatus();
}

void Producer::State::SendBatch(Partition& partition, const PartitionQueue::ToSend& to_send,
                                Connection& connection) {
  std::shared_ptr<const TopicInfo> info;
  {
    const std::lock_guard lock(mutex_);
    info = partition.topic.info;
  }
  if (absl::Status packed = Pack(to_send, info->batch_bytes_max); !packed.ok()) {
    // Our own refusal, as definite as the broker's.
    const absl::Status why = MakeError(ErrorCode::kInvalidRequest, std::string(packed.message()));
    return partition.queue.OnAnswer(to_send.serial, {.status = why}, Clock::now());
  }
  const bool wants_answer = options_.acks != Acks::kNone;
  const std::uint64_t correlation = wants_answer ? connection.NextCorrelation() : 0;
  const wire::Uuid topic = cairn::ToWire(info->id);
  Bytes head;
  FinishFrame(connection.builder(), correlation,
              wire::CreateProduce(connection.builder(), &topic, partition.index.value(),
                                  ToWire(options_.acks)),
              to_send.batch->bytes->size(), head);
  const auto self = shared_from_this();
  const std::uint64_t serial = to_send.serial;
  if (!wants_answer) {
    connection.Send(std::move(head), to_send.batch->bytes, [self, &partition, serial] {
      partition.queue.OnAnswer(serial, {}, Clock::now());
      self->Drive(partition);
    });
    return;
  }
  connection.Request(
      correlation, std::move(head), to_send.batch->bytes,
      [self, &partition, serial](const absl::Status& broken, const ReceivedFrame* reply) {
        // OnDisconnected has told the queue if there is none.
        if (broken.ok()) self->OnProduced(partition, serial, *reply);
      });
}

void Producer::State::OnProduced(Partition& partition, std::uint64_t serial,
                                 const ReceivedFrame& reply) {
  PartitionQueue::Answer answer;
  if (const auto produced = ReplyAs<wire::Produced>(*reply.message); produced.ok()) {
    answer.base_offset = Offset((*produced)->base_offset());
    answer.durability = FromWire((*produced)->durability());
  } else {
    answer.status = produced.status();
  }
  partition.queue.OnAnswer(serial, answer, Clock::now());
  const ErrorCode code = CodeOf(answer.status);
  if (code == ErrorCode::kUnknownTopic || code == ErrorCode::kUnknownPartition) {
    Retire(partition.topic, answer.status);
  }
  Drive(partition);
}

void Producer::State::Deliver(Partition& partition) {
  std::vector<PartitionQueue::Settled> settled = partition.queue.TakeSettled();
  for (const PartitionQueue::Settled& one : settled) {
    Delivery delivery{.status = one.status,
                      .outcome = one.outcome,
                      .partition = partition.index,
                      .offset = kNoOffset,
                      .durability = one.durability};
    const auto& callbacks = one.batch->callbacks;
    for (std::size_t i = 0; i < callbacks.size(); ++i) {
      if (one.base_offset != kNoOffset) {
        delivery.offset = one.base_offset + static_cast<std::int64_t>(i);
      }
      if (callbacks[i]) callbacks[i](delivery);
    }
  }
  if (settled.empty()) return;
  // Without the lock: what the callbacks captured may be anything, and may end here.
  for (PartitionQueue::Settled& one : settled) one.batch->Recycle();
  {
    const std::lock_guard lock(mutex_);
    partition.undelivered -= static_cast<std::int32_t>(settled.size());
    for (PartitionQueue::Settled& one : settled) {
      buffered_ -= one.batch->accounted;
      const auto generation = outstanding_.find(one.batch->generation);
      if (--generation->second == 0) outstanding_.erase(generation);
      if (spare_.size() < kSpareBatches) spare_.push_back(std::move(one.batch));
    }
  }
  changed_.notify_all();
}

// ---- the connection ----

void Producer::State::OnConnected(Connection&) {
  ForEachPartition([this](Partition& partition) {
    if (!partition.queue.idle()) Drive(partition);
  });
}

void Producer::State::OnDisconnected(const absl::Status&) {
  ForEachPartition([this](Partition& partition) {
    partition.queue.OnDisconnected();
    Deliver(partition);
  });
}

// ---- identity ----

void Producer::State::WantIdentity(Partition& partition) {
  if (identity_.id != kNoProducer && !(partition.queue.identity() == identity_)) {
    return partition.queue.OnIdentity(identity_);
  }
  partition.awaits_identity = true;
  AskForIdentity();
}

void Producer::State::AskForIdentity() {
  if (std::exchange(asking_, true)) return;
  core_->Call(
      [identity = identity_](flatbuffers::FlatBufferBuilder& builder, std::uint64_t correlation,
                             Bytes& head) {
        FinishFrame(builder, correlation,
                    wire::CreateInitProducer(builder, identity.id.value(), identity.epoch.value()),
                    0, head);
      },
      Core::Retry::kUntilDeadline, DeadlineAfter(options_.delivery_timeout),
      [self = shared_from_this()](const absl::Status& status, const wire::Message* message) {
        self->asking_ = false;
        self->OnIdentity(status, message);
      });
}

void Producer::State::OnIdentity(const absl::Status& status, const wire::Message* message) {
  absl::Status failure = status;
  ProducerIdentity given;
  if (message != nullptr) {
    if (const auto ready = ReplyAs<wire::ProducerReady>(*message); ready.ok()) {
      given = {ProducerId((*ready)->producer_id()), ProducerEpoch((*ready)->producer_epoch())};
    } else {
      failure = ready.status();
    }
  }
  if (given.id < ProducerId(0) || given.epoch < ProducerEpoch(0) || given == identity_) {
    if (absl::IsCancelled(failure)) return;
    // An id of another data directory's past, say: begin with a new one.
    if (CodeOf(failure) == ErrorCode::kUnknownProducer) identity_ = {};
    if (!AnyAwaitsIdentity()) return;
    identity_timer_.expires_after(identity_backoff_.Next());
    identity_timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (!error && self->AnyAwaitsIdentity()) self->AskForIdentity();
    });
    return;
  }
  identity_backoff_.Reset();
  identity_ = given;
  ForEachPartition([this](Partition& partition) {
    if (std::exchange(partition.awaits_identity, false)) Drive(partition);
  });
}

// False: those who did have given up, or the producer is closed.
bool Producer::State::AnyAwaitsIdentity() {
  bool any = false;
  ForEachPartition([&](Partition& partition) {
    partition.awaits_identity = partition.awaits_identity && partition.queue.needs_identity();
    any = any || partition.awaits_identity;
  });
  return any;
}

// ---- topics ----

// The topic is no more. What is sent to its name from now on looks the name up again.
void Producer::State::Retire(Topic& topic, const absl::Status& why) {
  std::vector<Partition*> partitions;
  {
    const std::lock_guard lock(mutex_);
    if (!topic.retired.ok()) return;
    topic.retired = why;
    topics_.erase(topic.name);
    last_topic_ = nullptr;
    for (Partition& partition : topic.partitions) partitions.push_back(&partition);
  }
  core_->metadata().Forget(topic.name);
  for (Partition* partition : partitions) Drive(*partition);
}

void Producer::State::OnRefreshed(Topic& topic,
                                  absl::StatusOr<std::shared_ptr<const TopicInfo>> info) {
  bool gone = absl::IsNotFound(info.status());
  {
    const std::lock_guard lock(mutex_);
    topic.refreshing = false;
    if (!topic.retired.ok()) return;
    if (info.ok()) {
      gone = (*info)->id != topic.info->id;
      if (!gone) Adopt(topic, *std::move(info));
    }
  }
  if (gone) {
    Retire(topic, MakeError(ErrorCode::kUnknownTopic,
                            absl::StrFormat("topic %s was deleted", topic.name)));
  }
}

// ---- time ----

void Producer::State::WakeAt(Partition& partition, TimePoint when) {
  if (partition.wake_at <= when) return;
  partition.wake_at = when;
  wakes_.emplace(when, &partition);
  ArmTimer();
}

void Producer::State::ArmTimer() {
  if (wakes_.empty() || wakes_.begin()->first >= timer_at_) return;
  timer_at_ = wakes_.begin()->first;
  timer_.expires_at(timer_at_);
  timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (!error) self->OnTimer();
  });
}

void Producer::State::OnTimer() {
  const TimePoint now = Clock::now();
  timer_at_ = TimePoint::max();
  std::vector<Partition*> due;
  while (!wakes_.empty() && wakes_.begin()->first <= now) {
    Partition* partition = wakes_.begin()->second;
    if (partition->wake_at == wakes_.begin()->first) {
      partition->wake_at = TimePoint::max();
      due.push_back(partition);
    }
    wakes_.erase(wakes_.begin());
  }
  for (Partition* partition : due) Drive(*partition);
  ArmTimer();
}

// Looks for batches whose time is over, now and then while there are any batches.
void Producer::State::Tick() {
  if (std::exchange(ticking_, true)) return;
  tick_timer_.expires_after(std::clamp(options_.delivery_timeout / 8, Duration(10), Duration(250)));
  tick_timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    self->ticking_ = false;
    if (error) return;
    const TimePoint now = Clock::now();
    bool more = false;
    self->ForEachPartition([&](Partition& partition) {
      if (partition.queue.idle()) return;
      partition.queue.Expire(now);
      self->Drive(partition);
      more = more || !partition.queue.idle();
    });
    if (more) self->Tick();
  });
}

}  // namespace cairn::client
