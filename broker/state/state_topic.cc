#include "broker/state/state_topic.h"

#include <future>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/runtime/helper_pool.h"
#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/record_batch.h"
#include "protocol/record_batch_builder.h"
#include "protocol/status.h"
#include "storage/segment.h"

namespace cairn::broker {
namespace {

constexpr std::size_t kReplayBytes = 1 << 20;

absl::StatusOr<Bytes> BuildBatch(std::span<const StateRecord> records, Timestamp now) {
  RecordBatchBuilder builder;
  for (const StateRecord& record : records) {
    RecordBatchBuilder::Record out;
    out.timestamp = now;
    out.key = ByteView(record.key);
    if (record.value.has_value()) out.value = ByteView(*record.value);
    builder.Add(out);
  }
  ASSIGN_OR_RETURN(Bytes batch, builder.Finish({}));
  if (batch.size() <= kBatchBytesMax) return batch;
  // Nothing could read it again.
  return MakeError(ErrorCode::kTooLarge,
                   absl::StrFormat("%d records make a batch of %d bytes, more than %d",
                                   records.size(), batch.size(), kBatchBytesMax));
}

}  // namespace

StateTopic::StateTopic(std::shared_ptr<Partition> partition, HelperPool& helpers, Apply apply)
    : partition_(std::move(partition)), helpers_(helpers), apply_(std::move(apply)) {}

absl::Status StateTopic::Replay() {
  const Partition::Ends ends = partition_->ends();
  storage::ReadCursor cursor;
  Offset next = ends.log_start;
  while (next < ends.committed_end) {
    ASSIGN_OR_RETURN(const storage::LogRead read, partition_->Read(next, kReplayBytes, cursor));
    if (read.cold != nullptr) {
      RETURN_IF_ERROR(read.cold->Prepare(read.cold_position));
      continue;
    }
    for (ByteView rest = read.view.bytes; !rest.empty();) {
      ASSIGN_OR_RETURN(const RecordBatchView batch, RecordBatchView::ParseHeader(rest));
      RETURN_IF_ERROR(ApplyBatch(batch.bytes()));
      rest = rest.subspan(batch.size());
    }
    if (read.view.mapping->is_lost()) {
      return absl::DataLossError(
          absl::StrFormat("%s-%d: its files were cut short while they were read",
                          partition_->topic_name(), partition_->id().partition.value()));
    }
    CAIRN_CHECK(read.next > next);
    next = read.next;
  }
  return partition_->write_state();
}

void StateTopic::Append(std::span<const StateRecord> records, Timestamp now, Done done) {
  absl::StatusOr<Bytes> batch = BuildBatch(records, now);
  if (!batch.ok()) return done(batch.status());
  absl::Status refused;
  {
    const std::lock_guard lock(mutex_);
    refused = broken_;
    if (refused.ok()) {
      Pending& pending = pending_.emplace_back();
      pending.correlation = next_correlation_++;
      pending.batch = *std::move(batch);
      pending.done = std::move(done);
      Partition::AppendRequest request;
      request.batch = MutableBytes(pending.batch);
      request.wait_for = Durability::kDurable;
      request.sink = shared_from_this();
      request.correlation = pending.correlation;
      request.now = now;
      const absl::StatusOr<Partition::Appended> appended = partition_->Append(std::move(request));
      if (appended.ok()) {
        CAIRN_CHECK(appended->pending);
        return;
      }
      refused = appended.status();
      done = std::move(pending.done);
      pending_.pop_back();
    }
  }
  done(std::move(refused));
}

absl::Status StateTopic::AppendAndWait(std::span<const StateRecord> records, Timestamp now) {
  std::promise<absl::Status> outcome;
  std::future<absl::Status> told = outcome.get_future();
  Append(records, now, [&outcome](absl::Status status) { outcome.set_value(std::move(status)); });
  return told.get();
}

void StateTopic::Acknowledge(std::span<const Ack> acks) {
  {
    const std::lock_guard lock(mutex_);
    acked_.insert(acked_.end(), acks.begin(), acks.end());
  }
  // The group commit goes on; what follows from this one is a helper's work.
  helpers_.Submit(HelperKind::kState, [self = shared_from_this()](const absl::Status& status) {
    self->FinishAcked(status);
  });
}

void StateTopic::FinishAcked(const absl::Status& helped) {
  std::unique_lock lock(mutex_);
  if (finishing_) return;  // whoever does takes these too
  finishing_ = true;
  while (!acked_.empty()) {
    CAIRN_CHECK(!pending_.empty() && pending_.front().correlation == acked_.front().correlation);
    Pending pending = std::move(pending_.front());
    pending_.pop_front();
    absl::Status status = std::move(acked_.front().status);
    acked_.pop_front();
    // Durable, but not in the table: from here on the two differ until the next start.
    if (status.ok() && broken_.ok()) broken_ = helped;
    if (status.ok()) status = broken_;
    lock.unlock();
    Finish(std::move(pending), std::move(status));
    lock.lock();
  }
  finishing_ = false;
}

void StateTopic::Finish(Pending pending, absl::Status status) {
  if (status.ok()) {
    status = ApplyBatch(pending.batch);
    if (!status.ok()) {
      const std::lock_guard lock(mutex_);
      broken_ = status;
    }
  }
  pending.done(std::move(status));
}

absl::Status StateTopic::ApplyBatch(ByteView bytes) {
  ASSIGN_OR_RETURN(const RecordBatchView batch, RecordBatchView::ParseHeader(bytes));
  RecordReader reader;
  RETURN_IF_ERROR(reader.Open(batch, kDecompressedBytesMax));
  RecordView record;
  while (reader.Next(record)) {
    absl::Status status = record.key.has_value() ? apply_(*record.key, record.value)
                                                 : absl::DataLossError("it has no key");
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrFormat("%s-%d at offset %d: %s", partition_->topic_name(),
                                          partition_->id().partition.value(), record.offset.value(),
                                          status.message()));
    }
  }
  return reader.status();
}

}  // namespace cairn::broker
