#include "absl/strings/str_format.h"

#include "broker/api/connection_table.h"
#include "broker/api/handlers.h"
#include "broker/runtime/clock.h"
#include "protocol/error_code.h"
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
  const absl::Status valid = ValidateProduced(*batch, topic.options.validate_full, scratch);
  // One batch that unpacks to hundreds of MiB must not keep them for ever.
  if (scratch.capacity() > kScratchKept) Bytes().swap(scratch);
  return valid;
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
  Partition::AppendRequest append{.batch = request.attachment,
                                  .wait_for = wait_for,
                                  .sink = nullptr,
                                  .correlation = request.correlation,
                                  .now = WallNow()};
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
