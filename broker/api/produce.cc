#include "absl/strings/str_format.h"

#include "broker/api/connection_table.h"
#include "broker/api/handlers.h"
#include "broker/api/services.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/record_batch.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

constexpr std::size_t kScratchKept = 4u << 20;

absl::StatusOr<Durability> WaitFor(const Request& request, wire::Acks acks, Durability of_topic) {
  if (request.correlation == 0) return Durability::kNone;
  switch (acks) {
    case wire::Acks::Default:
      return of_topic;
    case wire::Acks::None:
      return Durability::kNone;
    case wire::Acks::Written:
      return Durability::kWritten;
    case wire::Acks::Durable:
      return Durability::kDurable;
  }
  return MakeError(ErrorCode::kInvalidRequest,
                   absl::StrFormat("acks %d is not known", static_cast<int>(acks)));
}

// Compaction would not know what a record without a key stands for.
absl::Status CheckKeys(const RecordBatchView& batch, const ServedTopic& topic) {
  RecordReader reader;
  RETURN_IF_ERROR(reader.Open(batch, kDecompressedBytesMax));
  RecordView record;
  while (reader.Next(record)) {
    if (record.key.has_value()) continue;
    return MakeError(
        ErrorCode::kKeyRequired,
        absl::StrFormat("record %d of %d has no key; topic %s is compacted, and keeps "
                        "the newest record of each key",
                        record.offset - batch.base_offset(), batch.record_count(), topic.name));
  }
  return reader.status();
}

absl::Status CheckBatch(MutableBytes bytes, const ServedTopic& topic, Bytes& scratch) {
  if (bytes.size() > static_cast<std::size_t>(topic.options.batch_bytes_max)) {
    return MakeError(ErrorCode::kTooLarge,
                     absl::StrFormat("a batch of %d bytes; max.message.bytes of %s is %d",
                                     bytes.size(), topic.name, topic.options.batch_bytes_max));
  }
  const auto batch = RecordBatchView::ParseHeader(bytes);
  if (!batch.ok()) {
    return MakeError(ErrorCode::kCorruptBatch,
                     absl::StrFormat("not a record batch: %s", batch.status().message()));
  }
  if (batch->size() != bytes.size()) {
    return MakeError(ErrorCode::kCorruptBatch,
                     absl::StrFormat("%d bytes follow the batch of %d; send one batch in a Produce",
                                     bytes.size() - batch->size(), batch->size()));
  }
  const bool keyed = topic.options.partition.log.compaction.enabled;
  absl::Status valid = ValidateProduced(*batch, topic.options.validate_full || keyed, scratch);
  if (valid.ok() && keyed) valid = CheckKeys(*batch, topic);
  // One batch that unpacks to hundreds of MiB must not keep them for ever.
  if (scratch.capacity() > kScratchKept) Bytes().swap(scratch);
  return valid;
}

// Which time the records have is the topic's decision.
absl::Status SettleTime(MutableBytes bytes, const ServedTopic& topic, Timestamp now,
                        AppendClock& clock) {
  if (topic.options.log_append_time) {
    StampAppendTime(bytes, now);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const RecordBatchView batch, RecordBatchView::ParseHeader(bytes));
  const std::int64_t after_max = topic.options.timestamp_after_max_ms;
  if (batch.max_timestamp() - now <= after_max) return absl::OkStatus();
  const Timestamp latest = clock.Latest();
  if (batch.max_timestamp() - latest <= after_max) return absl::OkStatus();
  return MakeError(
      ErrorCode::kInvalidRequest,
      absl::StrFormat("a record's timestamp %d is %d ms ahead of the broker's clock; "
                      "message.timestamp.after.max.ms of %s is %d: look at the producer's clock",
                      batch.max_timestamp().value(), batch.max_timestamp() - latest, topic.name,
                      after_max));
}

absl::StatusOr<Partition::Appended> Append(const Request& request, const wire::Produce& produce) {
  ConnectionTable& table = request.connection.table();
  ASSIGN_OR_RETURN(
      const ServedTopics::Place place,
      table.topics().Find({FromWire(*produce.topic()), PartitionIndex(produce.partition())}));
  const ServedTopic& topic = *place.topic;
  if (topic.internal) {
    return MakeError(ErrorCode::kInternalTopic,
                     absl::StrFormat("%s is written by the broker alone", topic.name));
  }
  RETURN_IF_ERROR(CheckBatch(request.attachment, topic, table.scratch()));
  ASSIGN_OR_RETURN(const Durability wait_for,
                   WaitFor(request, produce.acks(), topic.options.partition.durability));
  AppendClock& clock = request.connection.services().clock;
  const Timestamp now = clock.Now();
  RETURN_IF_ERROR(SettleTime(request.attachment, topic, now, clock));
  Partition::AppendRequest append{.batch = request.attachment,
                                  .wait_for = wait_for,
                                  .sink = nullptr,
                                  .correlation = request.correlation,
                                  .now = now};
  if (wait_for == Durability::kDurable) append.sink = request.connection.shared_from_this();
  return (*place.partition)->Append(std::move(append));
}

}  // namespace

// From the door to the disk: where does the partition live, is the batch whole, append it there.
void HandleProduce(const Request& request, const wire::Produce& produce) {
  Connection& connection = request.connection;
  const auto appended = Append(request, produce);
  if (!appended.ok()) return connection.Fail(request.correlation, appended.status());
  if (appended->pending) return connection.Expect();
  if (produce.acks() == wire::Acks::None) return;
  connection.Reply(request.correlation,
                   wire::CreateProduced(connection.builder(), appended->base_offset.value(),
                                        ToWire(appended->durability), appended->duplicate));
}

}  // namespace cairn::broker
