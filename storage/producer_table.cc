#include "storage/producer_table.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/file_header.h"

namespace cairn::storage {
namespace {

constexpr FileKind kSnapshotFile = {
    .magic = "CairnPrd", .version = 1, .noun = "a producer snapshot"};

enum SnapshotField : std::size_t {
  kTopicAt = kFileBodyAt,
  kPartitionAt = 32,
  kProducerCountAt = 36,
  kLogEndAt = 40,
  kSegmentBaseAt = 48,
  kPositionAt = 56,
  kProducersAt = 64,
};
constexpr std::size_t kProducerBytes = 8 + 8 + 2 + 2 + 4;
constexpr std::size_t kBatchBytes = 4 + 4 + 8;

// Sequences go from 2^31 - 1 on to 0.
std::int32_t SequenceAfter(std::int32_t base, std::int32_t last_offset_delta) {
  constexpr std::int64_t kSequences = std::int64_t{std::numeric_limits<std::int32_t>::max()} + 1;
  return static_cast<std::int32_t>((std::int64_t{base} + last_offset_delta + 1) % kSequences);
}

absl::Status Damaged(const std::string& why) {
  return absl::DataLossError(absl::StrFormat("not a producer snapshot: %s", why));
}

}  // namespace

void ProducerTable::Entry::Note(const Batch& batch) {
  if (count == batches.size()) {
    std::move(batches.begin() + 1, batches.end(), batches.begin());
    --count;
  }
  batches[count++] = batch;
}

absl::StatusOr<ProducerTable::Verdict> ProducerTable::Check(const RecordBatchView& batch) const {
  const ProducerId id = batch.producer_id();
  if (id == kNoProducer) return Verdict{};
  const std::int32_t sequence = batch.base_sequence();
  const auto found = producers_.find(id);
  if (found == producers_.end()) {
    if (sequence == 0) return Verdict{};
    return MakeError(ErrorCode::kUnknownProducer,
                     absl::StrFormat("producer %d is not known here, and its batch begins at "
                                     "sequence %d instead of 0: begin again with a new producer id",
                                     id.value(), sequence));
  }
  const Entry& entry = found->second;
  if (batch.producer_epoch() < entry.epoch) {
    return MakeError(
        ErrorCode::kStaleProducerEpoch,
        absl::StrFormat("producer %d: epoch %d, but epoch %d has written here", id.value(),
                        batch.producer_epoch().value(), entry.epoch.value()));
  }
  std::int32_t expected = 0;
  if (batch.producer_epoch() == entry.epoch) {
    for (const Batch& known : entry.kept()) {
      if (known.base_sequence == sequence && known.last_offset_delta == batch.last_offset_delta()) {
        return Verdict{.duplicate = true,
                       .first_offset = known.base_offset,
                       .next_offset = known.base_offset + (known.last_offset_delta + 1)};
      }
    }
    expected = SequenceAfter(entry.newest().base_sequence, entry.newest().last_offset_delta);
  }
  if (sequence == expected) return Verdict{};
  return MakeError(ErrorCode::kOutOfOrderSequence,
                   absl::StrFormat("producer %d, epoch %d: sequence %d, but %d is next", id.value(),
                                   batch.producer_epoch().value(), sequence, expected));
}

void ProducerTable::Apply(const RecordBatchView& batch, Timestamp append_time) {
  const ProducerId id = batch.producer_id();
  if (id == kNoProducer) return;
  const auto [found, is_new] = producers_.try_emplace(id);
  Entry& entry = found->second;
  // A batch that does not join up comes from a producer that had been forgotten in between, by
  // Expire; a replay, which does not expire, must come to the same table.
  const bool joins = !is_new && batch.producer_epoch() == entry.epoch &&
                     batch.base_sequence() == SequenceAfter(entry.newest().base_sequence,
                                                            entry.newest().last_offset_delta);
  if (!joins) {
    entry.count = 0;
    entry.epoch = batch.producer_epoch();
  }
  entry.last_append_time = is_new ? append_time : std::max(entry.last_append_time, append_time);
  entry.Note({batch.base_sequence(), batch.last_offset_delta(), batch.base_offset()});
}

bool ProducerTable::Remembers(ProducerId id, Offset base_offset) const {
  const auto found = producers_.find(id);
  if (found == producers_.end()) return false;
  const std::span<const Batch> kept = found->second.kept();
  return std::any_of(kept.begin(), kept.end(),
                     [&](const Batch& batch) { return batch.base_offset == base_offset; });
}

void ProducerTable::Expire(Timestamp before) {
  absl::erase_if(producers_,
                 [&](const auto& item) { return item.second.last_append_time < before; });
}

Bytes ProducerTable::Snapshot(const DurableEnd& log_end) const {
  std::vector<ProducerId> ids;
  ids.reserve(producers_.size());
  for (const auto& [id, entry] : producers_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());

  Bytes file;
  BeginFile(kSnapshotFile, file);
  AppendId(file, log_end.partition.topic);
  AppendLe(file, log_end.partition.partition.value());
  AppendLe(file, static_cast<std::uint32_t>(ids.size()));
  AppendLe(file, log_end.end.value());
  AppendLe(file, log_end.segment_base.value());
  AppendLe(file, log_end.position);
  for (const ProducerId id : ids) {
    const Entry& entry = producers_.find(id)->second;
    AppendLe(file, id.value());
    AppendLe(file, entry.last_append_time.value());
    AppendLe(file, entry.epoch.value());
    AppendLe(file, static_cast<std::uint16_t>(entry.count));
    AppendLe(file, std::uint32_t{0});
    for (const Batch& batch : entry.kept()) {
      AppendLe(file, batch.base_sequence);
      AppendLe(file, batch.last_offset_delta);
      AppendLe(file, batch.base_offset.value());
    }
  }
  FinishFile(file);
  return file;
}

absl::Status ProducerTable::ReadEntry(ByteReader& reader, Offset log_end, Entry& entry) {
  entry.last_append_time = Timestamp(reader.Le<std::int64_t>());
  entry.epoch = ProducerEpoch(reader.Le<std::int16_t>());
  const auto count = reader.Le<std::uint16_t>();
  const auto reserved = reader.Le<std::uint32_t>();
  if (!reader.ok() || entry.epoch.value() < 0 || count == 0 || count > kProducerBatchesKept ||
      reserved != 0) {
    return Damaged(
        absl::StrFormat("the producer before byte %d has impossible fields", reader.position()));
  }
  for (int i = 0; i < count; ++i) {
    Batch batch;
    batch.base_sequence = reader.Le<std::int32_t>();
    batch.last_offset_delta = reader.Le<std::int32_t>();
    batch.base_offset = Offset(reader.Le<std::int64_t>());
    const bool possible = reader.ok() && batch.base_sequence >= 0 && batch.last_offset_delta >= 0 &&
                          batch.base_offset >= Offset(0) &&
                          batch.base_offset.value() < log_end.value() - batch.last_offset_delta;
    const bool joins =
        entry.count == 0 ||
        (batch.base_sequence ==
             SequenceAfter(entry.newest().base_sequence, entry.newest().last_offset_delta) &&
         batch.base_offset > entry.newest().base_offset + entry.newest().last_offset_delta);
    if (!possible || !joins) {
      return Damaged(
          absl::StrFormat("the batch before byte %d has impossible fields", reader.position()));
    }
    entry.Note(batch);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::pair<ProducerTable, DurableEnd>> ProducerTable::FromSnapshot(
    ByteView bytes, const TopicPartition& partition) {
  RETURN_IF_ERROR(CheckFile(kSnapshotFile, "the file", bytes, kProducersAt));
  const TopicPartition found{LoadId(bytes, kTopicAt),
                             PartitionIndex(LoadLe<std::int32_t>(bytes, kPartitionAt))};
  if (found != partition) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "the producer snapshot is of %s, and not of %s", ToText(found), ToText(partition)));
  }
  const auto count = LoadLe<std::uint32_t>(bytes, kProducerCountAt);
  const Offset log_end(LoadLe<std::int64_t>(bytes, kLogEndAt));
  const Offset segment_base(LoadLe<std::int64_t>(bytes, kSegmentBaseAt));
  const auto position = LoadLe<std::int64_t>(bytes, kPositionAt);
  // Not more than there can be, before anything is allocated for them.
  if (segment_base < Offset(0) || log_end < segment_base || position < 0 ||
      count > (bytes.size() - kProducersAt) / (kProducerBytes + kBatchBytes)) {
    return Damaged(absl::StrFormat("%d producers at log end %d in %d bytes", count, log_end.value(),
                                   bytes.size()));
  }
  ProducerTable table;
  table.producers_.reserve(count);
  ByteReader reader(bytes.subspan(kProducersAt));
  ProducerId previous = kNoProducer;
  for (std::uint32_t i = 0; i < count; ++i) {
    const ProducerId id(reader.Le<std::int64_t>());
    if (id <= previous) return Damaged(absl::StrFormat("producer %d out of order", id.value()));
    RETURN_IF_ERROR(ReadEntry(reader, log_end, table.producers_[id]));
    previous = id;
  }
  if (reader.remaining() != 0) {
    return Damaged(absl::StrFormat("%d bytes too many", reader.remaining()));
  }
  return std::make_pair(
      std::move(table),
      DurableEnd{
          .partition = found, .end = log_end, .segment_base = segment_base, .position = position});
}

}  // namespace cairn::storage
