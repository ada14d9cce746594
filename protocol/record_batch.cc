#include "protocol/record_batch.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/checksum.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn {
namespace {

// The smallest record: length, attributes, two deltas, two lengths and a header count, a byte each.
constexpr std::int64_t kRecordBytesMin = 7;

absl::Status Corrupt(std::string_view what) { return MakeError(ErrorCode::kCorruptBatch, what); }

}  // namespace

std::optional<std::size_t> RecordBatchView::SizeOf(ByteView bytes) {
  if (bytes.size() < kBatchLengthOverhead) return std::nullopt;
  const auto length = LoadBe<std::int32_t>(bytes, kBatchLengthAt);
  if (length < static_cast<std::int32_t>(kBatchHeaderBytes - kBatchLengthOverhead)) {
    return std::nullopt;
  }
  const std::size_t size = static_cast<std::size_t>(length) + kBatchLengthOverhead;
  if (size > kBatchBytesMax) return std::nullopt;
  return size;
}

absl::StatusOr<RecordBatchView> RecordBatchView::ParseHeader(ByteView bytes) {
  if (bytes.size() < kBatchLengthOverhead) {
    return absl::OutOfRangeError(
        absl::StrFormat("a batch needs %d bytes, %d are there", kBatchHeaderBytes, bytes.size()));
  }
  const std::optional<std::size_t> size = SizeOf(bytes);
  if (!size.has_value()) {
    return absl::DataLossError(absl::StrFormat(
        "batch length %d is not between %d and %d", LoadBe<std::int32_t>(bytes, kBatchLengthAt),
        kBatchHeaderBytes - kBatchLengthOverhead, kBatchBytesMax - kBatchLengthOverhead));
  }
  if (bytes.size() < *size) {
    return absl::OutOfRangeError(
        absl::StrFormat("a batch of %d bytes, %d are there", *size, bytes.size()));
  }
  const RecordBatchView batch(bytes.first(*size));
  const auto magic = LoadLe<std::int8_t>(bytes, kMagicAt);
  if (magic != kBatchMagic) {
    return absl::DataLossError(absl::StrFormat("batch magic %d, expected %d", magic, kBatchMagic));
  }
  if (batch.record_count() < 0 || batch.record_count() > kBatchRecordsMax ||
      batch.last_offset_delta() < std::max(batch.record_count() - 1, 0)) {
    return absl::DataLossError(absl::StrFormat("a batch of %d records with last offset delta %d",
                                               batch.record_count(), batch.last_offset_delta()));
  }
  return batch;
}

absl::StatusOr<RecordBatchView> RecordBatchView::Parse(ByteView bytes) {
  ASSIGN_OR_RETURN(const RecordBatchView batch, ParseHeader(bytes));
  RETURN_IF_ERROR(batch.VerifyChecksum());
  return batch;
}

absl::Status RecordBatchView::VerifyChecksum() const {
  const std::uint32_t found = Crc32c(bytes_.subspan(kAttributesAt));
  if (found == crc()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrFormat("batch checksum 0x%08x, but the bytes hash to 0x%08x", crc(), found));
}

void StampBatch(MutableBytes batch, Offset base_offset, LeaderEpoch epoch) {
  StoreBe(batch, kBaseOffsetAt, base_offset.value());
  StoreBe(batch, kLeaderEpochAt, epoch.value());
}

void StampAppendTime(MutableBytes batch, Timestamp now) {
  const auto attributes = LoadBe<std::uint16_t>(batch, kAttributesAt);
  StoreBe(batch, kAttributesAt,
          static_cast<std::uint16_t>(attributes | RecordBatchView::kLogAppendTimeBit));
  StoreBe(batch, kMaxTimestampAt, now.value());
  StoreBe(batch, kCrcAt, Crc32c(ByteView(batch).subspan(kAttributesAt)));
}

namespace {

absl::Status CheckAttributes(const RecordBatchView& batch) {
  if (!CodecOf(batch.codec_number()).has_value()) {
    return MakeError(ErrorCode::kUnsupportedCodec,
                     absl::StrFormat("codec %d is not spoken here: 0 none, 3 lz4, 4 zstd",
                                     batch.codec_number()));
  }
  if (batch.is_control() || batch.is_transactional() || batch.log_append_time() ||
      (batch.attributes() & 0xffc0) != 0) {
    return Corrupt(
        absl::StrFormat("attributes 0x%04x: only a codec may stand there, no control, "
                        "transactional or append-time bit",
                        batch.attributes()));
  }
  return absl::OkStatus();
}

absl::Status CheckProducerFields(const RecordBatchView& batch) {
  const bool none = batch.producer_id() == kNoProducer &&
                    batch.producer_epoch() == ProducerEpoch(-1) && batch.base_sequence() == -1;
  const bool all = batch.producer_id().value() >= 0 && batch.producer_epoch().value() >= 0 &&
                   batch.base_sequence() >= 0;
  if (none || all) return absl::OkStatus();
  return Corrupt(absl::StrFormat(
      "producer id %d, epoch %d, sequence %d: either all are -1 or none is negative",
      batch.producer_id().value(), batch.producer_epoch().value(), batch.base_sequence()));
}

// The fixed front of one record, as it lies in the block. The rest is left to the caller.
struct RecordFront {
  std::int64_t timestamp_delta;
  std::int64_t offset_delta;
};

// Steps over one length-prefixed field; a length of -1 is null where that is allowed.
bool SkipField(ByteReader& reader, bool may_be_null) {
  const std::int64_t size = reader.Varint();
  if (size == -1) return reader.ok() && may_be_null;
  if (size < 0) return false;
  reader.View(static_cast<std::size_t>(size));
  return reader.ok();
}

// Walks one record to its last byte without building anything.
bool SkipRecord(ByteView body, RecordFront& front) {
  ByteReader reader(body);
  const auto attributes = reader.Le<std::uint8_t>();
  front.timestamp_delta = reader.Varint();
  front.offset_delta = reader.Varint();
  if (!SkipField(reader, true) || !SkipField(reader, true)) return false;
  const std::int64_t headers = reader.Varint();
  if (headers < 0 || headers > kRecordHeadersMax) return false;
  for (std::int64_t i = 0; i < headers; ++i) {
    if (!SkipField(reader, false) || !SkipField(reader, true)) return false;
  }
  return reader.ok() && attributes == 0 && reader.remaining() == 0;
}

absl::Status WalkRecords(const RecordBatchView& batch, ByteView records) {
  ByteReader reader(records);
  const std::int64_t max_delta = batch.max_timestamp() - batch.base_timestamp();
  bool max_reached = false;
  for (std::int32_t i = 0; i < batch.record_count(); ++i) {
    const std::int64_t size = reader.Varint();
    const ByteView body = size < 0 ? ByteView{} : reader.View(static_cast<std::size_t>(size));
    RecordFront front{};
    if (size < 0 || !reader.ok() || !SkipRecord(body, front)) {
      return Corrupt(absl::StrFormat("record %d of %d does not add up, or has more than %d headers",
                                     i, batch.record_count(), kRecordHeadersMax));
    }
    if (front.offset_delta != i) {
      return Corrupt(absl::StrFormat("record %d has offset delta %d", i, front.offset_delta));
    }
    if (front.timestamp_delta > max_delta) {
      return Corrupt(absl::StrFormat(
          "record %d has timestamp delta %d, above the batch's max timestamp at delta %d", i,
          front.timestamp_delta, max_delta));
    }
    if (front.timestamp_delta < -batch.base_timestamp().value()) {
      return Corrupt(absl::StrFormat("record %d has timestamp delta %d from %d: it is negative", i,
                                     front.timestamp_delta, batch.base_timestamp().value()));
    }
    max_reached = max_reached || front.timestamp_delta == max_delta;
  }
  if (reader.remaining() != 0) {
    return Corrupt(absl::StrFormat("%d bytes follow the last record", reader.remaining()));
  }
  if (!max_reached) return Corrupt("no record has the batch's max timestamp");
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateProduced(const RecordBatchView& batch, bool full, Bytes& scratch) {
  if (absl::Status checksum = batch.VerifyChecksum(); !checksum.ok()) {
    return MakeError(ErrorCode::kCorruptBatch, std::string(checksum.message()));
  }
  RETURN_IF_ERROR(CheckAttributes(batch));
  RETURN_IF_ERROR(CheckProducerFields(batch));
  if (batch.last_offset_delta() != batch.record_count() - 1) {
    return Corrupt(absl::StrFormat("%d records, but last offset delta %d", batch.record_count(),
                                   batch.last_offset_delta()));
  }
  if (batch.base_timestamp().value() < 0 || batch.max_timestamp().value() < 0) {
    return Corrupt(absl::StrFormat("timestamps %d and %d: they cannot be negative",
                                   batch.base_timestamp().value(), batch.max_timestamp().value()));
  }
  const Codec codec = *CodecOf(batch.codec_number());
  if (codec == Codec::kNone) return WalkRecords(batch, batch.packed_records());
  if (!full) return absl::OkStatus();
  if (absl::Status unpacked =
          Decompress(codec, batch.packed_records(), kDecompressedBytesMax, scratch);
      !unpacked.ok()) {
    return Corrupt(std::string(unpacked.message()));
  }
  return WalkRecords(batch, scratch);
}

absl::Status RecordReader::Open(const RecordBatchView& batch, std::size_t bytes_max) {
  status_ = absl::OkStatus();
  base_offset_ = batch.base_offset();
  base_timestamp_ = batch.base_timestamp();
  append_time_.reset();
  if (batch.log_append_time()) append_time_ = batch.max_timestamp();
  count_ = left_ = 0;
  rest_ = {};
  const std::optional<Codec> codec = CodecOf(batch.codec_number());
  if (!codec.has_value()) {
    return MakeError(ErrorCode::kUnsupportedCodec,
                     absl::StrFormat("batch at offset %d: codec %d is not spoken here",
                                     base_offset_.value(), batch.codec_number()));
  }
  if (*codec == Codec::kNone) {
    rest_ = batch.packed_records();
  } else {
    RETURN_IF_ERROR(Decompress(*codec, batch.packed_records(), bytes_max, unpacked_));
    rest_ = unpacked_;
  }
  count_ = left_ = batch.record_count();
  return absl::OkStatus();
}

bool RecordReader::Fail(std::string_view what) {
  status_ =
      absl::DataLossError(absl::StrFormat("batch at offset %d, record %d of %d: %s",
                                          base_offset_.value(), count_ - left_, count_, what));
  left_ = 0;
  return false;
}

namespace {

// A length-prefixed field; nothing for null. `ok` turns false where the length does not fit.
std::optional<ByteView> ReadField(ByteReader& reader, bool& ok) {
  const std::int64_t size = reader.Varint();
  if (size == -1) return std::nullopt;
  if (size < 0) {
    ok = false;
    return std::nullopt;
  }
  return reader.View(static_cast<std::size_t>(size));
}

bool ReadHeaders(ByteReader& reader, std::vector<HeaderView>& headers) {
  const std::int64_t count = reader.Varint();
  // Each header takes two bytes at least: more of them than that cannot be meant.
  if (count < 0 || count > kRecordHeadersMax ||
      count > static_cast<std::int64_t>(reader.remaining() / 2)) {
    return false;
  }
  bool ok = true;
  for (std::int64_t i = 0; i < count && ok; ++i) {
    const std::optional<ByteView> name = ReadField(reader, ok);
    const std::optional<ByteView> value = ReadField(reader, ok);
    ok = ok && name.has_value();
    if (ok) headers.push_back({*name, value});
  }
  return ok && reader.ok();
}

}  // namespace

bool RecordReader::Next(RecordView& record) {
  if (left_ == 0) {
    if (status_.ok() && !rest_.empty()) Fail("bytes follow the last record");
    return false;
  }
  ByteReader outer(rest_);
  const std::int64_t size = outer.Varint();
  if (!outer.ok() || size < kRecordBytesMin - 1 ||
      size > static_cast<std::int64_t>(outer.remaining())) {
    return Fail("its length does not fit");
  }
  ByteReader reader(outer.View(static_cast<std::size_t>(size)));
  record_bytes_ = rest_.first(outer.position());
  rest_ = rest_.subspan(outer.position());

  reader.Le<std::uint8_t>();  // attributes: unused
  // Added as unsigned, for a delta from a stranger may overflow.
  record.timestamp =
      Timestamp(static_cast<std::int64_t>(static_cast<std::uint64_t>(base_timestamp_.value()) +
                                          static_cast<std::uint64_t>(reader.Varint())));
  if (append_time_.has_value()) record.timestamp = *append_time_;
  record.offset =
      Offset(static_cast<std::int64_t>(static_cast<std::uint64_t>(base_offset_.value()) +
                                       static_cast<std::uint64_t>(reader.Varint())));
  bool ok = true;
  record.key = ReadField(reader, ok);
  record.value = ReadField(reader, ok);
  record.headers.clear();
  if (!ok || !ReadHeaders(reader, record.headers) || !reader.ok() || reader.remaining() != 0) {
    return Fail("its fields do not add up");
  }
  --left_;
  return true;
}

}  // namespace cairn
