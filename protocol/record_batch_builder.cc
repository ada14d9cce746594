#include "protocol/record_batch_builder.h"

#include <algorithm>
#include <utility>

#include "protocol/check.h"
#include "protocol/checksum.h"
#include "protocol/status.h"

namespace cairn {
namespace {

std::size_t FieldSize(const std::optional<ByteView>& field) {
  if (!field.has_value()) return VarintSize(-1);
  return VarintSize(static_cast<std::int64_t>(field->size())) + field->size();
}

std::byte* StoreField(std::byte* out, const std::optional<ByteView>& field) {
  if (!field.has_value()) return StoreVarint(out, -1);
  out = StoreVarint(out, static_cast<std::int64_t>(field->size()));
  return std::copy(field->begin(), field->end(), out);
}

std::size_t HeadersSize(std::span<const HeaderView> headers) {
  std::size_t size = VarintSize(static_cast<std::int64_t>(headers.size()));
  for (const HeaderView& header : headers) size += FieldSize(header.name) + FieldSize(header.value);
  return size;
}

// Everything of a record behind its length.
std::size_t BodySize(const RecordBatchBuilder::Record& record, std::int64_t timestamp_delta,
                     std::int64_t offset_delta) {
  return 1 + VarintSize(timestamp_delta) + VarintSize(offset_delta) + FieldSize(record.key) +
         FieldSize(record.value) + HeadersSize(record.headers);
}

std::int64_t DeltaOf(Timestamp timestamp, Timestamp base) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(timestamp.value()) -
                                   static_cast<std::uint64_t>(base.value()));
}

}  // namespace

std::size_t RecordBatchBuilder::SizeBound(const Record& record) {
  return 2 * kVarintBytesMax + VarintSize(INT32_MAX) + BodySize(record, 0, 0);
}

void RecordBatchBuilder::Clear() {
  buffer_.resize(kBatchHeaderBytes);
  count_ = 0;
}

void RecordBatchBuilder::UseMemory(Bytes memory) {
  CAIRN_CHECK(empty());
  buffer_ = std::move(memory);
  Clear();
}

void RecordBatchBuilder::Add(const Record& record) {
  if (count_ == 0) {
    base_timestamp_ = max_timestamp_ = record.timestamp;
  } else {
    max_timestamp_ = std::max(max_timestamp_, record.timestamp);
  }
  const std::int64_t timestamp_delta = DeltaOf(record.timestamp, base_timestamp_);
  const std::size_t body = BodySize(record, timestamp_delta, count_);
  const std::size_t at = buffer_.size();
  buffer_.resize(at + VarintSize(static_cast<std::int64_t>(body)) + body);

  std::byte* out = StoreVarint(buffer_.data() + at, static_cast<std::int64_t>(body));
  *out++ = std::byte{0};
  out = StoreVarint(out, timestamp_delta);
  out = StoreVarint(out, count_);
  out = StoreField(out, record.key);
  out = StoreField(out, record.value);
  out = StoreVarint(out, static_cast<std::int64_t>(record.headers.size()));
  for (const HeaderView& header : record.headers) {
    out = StoreField(out, header.name);
    out = StoreField(out, header.value);
  }
  CAIRN_CHECK(out == buffer_.data() + buffer_.size());
  ++count_;
}

absl::StatusOr<Bytes> RecordBatchBuilder::Finish(const FinishOptions& options) {
  CAIRN_CHECK(!empty());
  Bytes batch;
  if (options.codec == Codec::kNone) {
    batch.swap(buffer_);
  } else {
    batch.resize(kBatchHeaderBytes);
    RETURN_IF_ERROR(Compress(options.codec, ByteView(buffer_).subspan(kBatchHeaderBytes), batch));
  }
  const MutableBytes header(batch);
  StampBatch(header, Offset(0), LeaderEpoch(0));
  StoreBe(header, kBatchLengthAt, static_cast<std::int32_t>(batch.size() - kBatchLengthOverhead));
  StoreBe(header, kMagicAt, kBatchMagic);
  StoreBe(header, kAttributesAt, static_cast<std::int16_t>(options.codec));
  StoreBe(header, kLastOffsetDeltaAt, count_ - 1);
  StoreBe(header, kBaseTimestampAt, base_timestamp_.value());
  StoreBe(header, kMaxTimestampAt, max_timestamp_.value());
  StoreBe(header, kRecordCountAt, count_);
  StampProducer(header, options.producer_id, options.producer_epoch, options.base_sequence);
  Clear();
  return batch;
}

void StampProducer(MutableBytes batch, ProducerId id, ProducerEpoch epoch,
                   std::int32_t base_sequence) {
  StoreBe(batch, kProducerIdAt, id.value());
  StoreBe(batch, kProducerEpochAt, epoch.value());
  StoreBe(batch, kBaseSequenceAt, base_sequence);
  StoreBe(batch, kCrcAt, Crc32c(ByteView(batch).subspan(kAttributesAt)));
}

}  // namespace cairn
