#include "storage/batch_filter.h"

#include <algorithm>

#include "protocol/checksum.h"
#include "protocol/compression.h"
#include "protocol/limits.h"

namespace cairn::storage {
namespace {

// One batch that unpacks to hundreds of MiB must not keep them for ever.
constexpr std::size_t kScratchKept = 4u << 20;

constexpr std::uint16_t kCodecBits = 0x07;
constexpr std::uint16_t kDeleteHorizonBit = 0x40;

std::int64_t DeltaOf(Timestamp timestamp, Timestamp base) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(timestamp.value()) -
                                   static_cast<std::uint64_t>(base.value()));
}

// The record with another timestamp delta; all else as it lies there.
void AppendWithDelta(ByteView record, std::int64_t timestamp_delta, Bytes& out) {
  ByteReader reader(record);
  reader.Varint();  // its length
  const auto attributes = reader.Le<std::uint8_t>();
  reader.Varint();  // the old delta
  const ByteView rest = record.subspan(reader.position());
  AppendVarint(out, static_cast<std::int64_t>(1 + VarintSize(timestamp_delta) + rest.size()));
  AppendLe(out, attributes);
  AppendVarint(out, timestamp_delta);
  AppendBytes(out, rest);
}

void Seal(MutableBytes batch) {
  StoreBe(batch, kBatchLengthAt, static_cast<std::int32_t>(batch.size() - kBatchLengthOverhead));
  StoreBe(batch, kCrcAt, Crc32c(ByteView(batch).subspan(kAttributesAt)));
}

}  // namespace

BatchFilter::Result BatchFilter::Apply(const RecordBatchView& batch, Timestamp delete_horizon,
                                       Judge judge, Bytes& out) {
  const Result as_it_is{.kept = batch.record_count()};
  Result result = as_it_is;
  if (!batch.is_control() && Walk(batch, judge)) {
    const bool dated = holds_dated_ && !holds_undated_ && !batch.has_delete_horizon();
    const auto kept = static_cast<std::int32_t>(kept_.size());
    if (kept == 0 && batch.record_count() > 0) {
      Empty(batch, out);
      result = {.kept = 0, .changed = true};
    } else if ((kept < batch.record_count() || dated) && Pack(batch, dated, delete_horizon, out)) {
      result = {.kept = kept, .changed = true};
    }
  }
  Release();
  return result;
}

// Which records stay; false if they cannot be told.
bool BatchFilter::Walk(const RecordBatchView& batch, Judge judge) {
  kept_.clear();
  holds_dated_ = holds_undated_ = false;
  if (!reader_.Open(batch, kDecompressedBytesMax).ok()) return false;
  while (reader_.Next(record_)) {
    const Fate fate = judge(record_);
    if (fate == Fate::kDrop) continue;
    kept_.push_back({reader_.record_bytes(), record_.timestamp});
    holds_dated_ |= fate == Fate::kKeepForNow;
    holds_undated_ |= fate == Fate::kKeep && !record_.value.has_value();
  }
  return reader_.status().ok();
}

bool BatchFilter::Pack(const RecordBatchView& batch, bool dated, Timestamp delete_horizon,
                       Bytes& out) {
  const Codec codec = *CodecOf(batch.codec_number());
  out.assign(batch.bytes().begin(), batch.bytes().begin() + kBatchHeaderBytes);
  Bytes& records = codec == Codec::kNone ? out : plain_;
  if (codec != Codec::kNone) plain_.clear();
  Timestamp max_timestamp = kept_.front().timestamp;
  for (const Kept& kept : kept_) {
    max_timestamp = std::max(max_timestamp, kept.timestamp);
    if (dated) {
      AppendWithDelta(kept.bytes, DeltaOf(kept.timestamp, delete_horizon), records);
    } else {
      AppendBytes(records, kept.bytes);
    }
  }
  if (codec != Codec::kNone && !Compress(codec, plain_, out).ok()) return false;
  if (out.size() > kBatchBytesMax) return false;
  const MutableBytes header(out);
  if (dated) {
    StoreBe(header, kBaseTimestampAt, delete_horizon.value());
    StoreBe(header, kAttributesAt,
            static_cast<std::uint16_t>(batch.attributes() | kDeleteHorizonBit));
  }
  StoreBe(header, kMaxTimestampAt, max_timestamp.value());
  StoreBe(header, kRecordCountAt, static_cast<std::int32_t>(kept_.size()));
  Seal(header);
  return true;
}

void BatchFilter::Empty(const RecordBatchView& batch, Bytes& out) {
  out.assign(batch.bytes().begin(), batch.bytes().begin() + kBatchHeaderBytes);
  const MutableBytes header(out);
  const auto attributes =
      static_cast<std::uint16_t>(batch.attributes() & ~(kCodecBits | kDeleteHorizonBit));
  StoreBe(header, kAttributesAt, attributes);
  StoreBe(header, kBaseTimestampAt, kNoTimestamp.value());
  StoreBe(header, kMaxTimestampAt, kNoTimestamp.value());
  StoreBe(header, kRecordCountAt, std::int32_t{0});
  Seal(header);
}

void BatchFilter::Release() {
  kept_.clear();
  if (reader_.unpacked_capacity() > kScratchKept) reader_ = RecordReader();
  if (plain_.capacity() > kScratchKept) Bytes().swap(plain_);
}

}  // namespace cairn::storage
