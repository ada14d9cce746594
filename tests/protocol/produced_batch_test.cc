#include <functional>
#include <string>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/record_batch.h"
#include "tests/protocol/sample.h"

namespace cairn {
namespace {

// The verdict on a sample batch after `change`, whose checksum is right again.
ErrorCode VerdictAfter(const std::function<void(MutableBytes)>& change, Codec codec = Codec::kNone,
                       bool full = true) {
  Bytes bytes = SampleBatch(codec);
  change(bytes);
  Reseal(bytes);
  Bytes scratch;
  return CodeOf(ValidateProduced(ViewOf(bytes), full, scratch));
}

// A batch whose records are these bytes, under a header that fits `count` records.
Bytes BatchOf(ByteView records, std::int32_t count, Codec codec = Codec::kNone) {
  RecordBatchBuilder builder;
  for (std::int32_t i = 0; i < count; ++i) builder.Add({.timestamp = kSampleTime});
  Bytes batch = *builder.Finish({});
  batch.resize(kBatchHeaderBytes);
  CAIRN_CHECK(Compress(codec, records, batch).ok());
  StoreBe(MutableBytes(batch), kBatchLengthAt,
          static_cast<std::int32_t>(batch.size() - kBatchLengthOverhead));
  StoreBe(MutableBytes(batch), kAttributesAt, static_cast<std::uint16_t>(codec));
  Reseal(batch);
  return batch;
}

// One record of these fields: what stands behind its length.
struct RawRecord {
  int attributes = 0;
  std::int64_t timestamp_delta = 0;
  std::int64_t offset_delta = 0;
  std::int64_t key_size = -1;
  std::int64_t value_size = -1;
  std::int64_t header_count = 0;
  Bytes tail{};

  Bytes Encode(std::int64_t length_lie = 0) const {
    Bytes body = {static_cast<std::byte>(attributes)};
    for (const std::int64_t value :
         {timestamp_delta, offset_delta, key_size, value_size, header_count}) {
      Append(body, value);
    }
    AppendBytes(body, tail);
    Bytes record;
    Append(record, static_cast<std::int64_t>(body.size()) + length_lie);
    AppendBytes(record, body);
    return record;
  }
  static void Append(Bytes& out, std::int64_t value) {
    const std::size_t at = out.size();
    out.resize(at + VarintSize(value));
    StoreVarint(out.data() + at, value);
  }
};

ErrorCode VerdictOn(const RawRecord& record, std::int64_t length_lie = 0) {
  const Bytes batch = BatchOf(record.Encode(length_lie), 1);
  Bytes scratch;
  return CodeOf(ValidateProduced(ViewOf(batch), false, scratch));
}

TEST_CASE("ValidateProduced: what the builder makes is accepted", "[protocol][produce]") {
  Bytes scratch;
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    for (const bool full : {false, true}) {
      const Bytes plain = SampleBatch(codec);
      CHECK(ValidateProduced(ViewOf(plain), full, scratch).ok());
      const Bytes produced = SampleBatch(
          codec,
          {.producer_id = ProducerId(0), .producer_epoch = ProducerEpoch(0), .base_sequence = 0});
      CHECK(ValidateProduced(ViewOf(produced), full, scratch).ok());
    }
  }
  CHECK(VerdictOn({}) == ErrorCode::kOk);
}

TEST_CASE("ValidateProduced: a wrong checksum is a corrupt batch", "[protocol][produce]") {
  Bytes bytes = SampleBatch(Codec::kNone);
  bytes.back() ^= std::byte{1};
  Bytes scratch;
  const absl::Status verdict = ValidateProduced(ViewOf(bytes), false, scratch);
  CHECK(CodeOf(verdict) == ErrorCode::kCorruptBatch);
  CHECK(verdict.code() == absl::StatusCode::kInvalidArgument);
  CHECK(std::string(verdict.message()).find("checksum") != std::string::npos);
}

TEST_CASE("ValidateProduced: gzip, snappy and numbers without a codec are not spoken",
          "[protocol][produce]") {
  for (const int number : {1, 2, 5, 6, 7}) {
    INFO("codec " << number);
    CHECK(VerdictAfter([&](MutableBytes b) {
            StoreBe(b, kAttributesAt, static_cast<std::uint16_t>(number));
          }) == ErrorCode::kUnsupportedCodec);
  }
}

TEST_CASE("ValidateProduced: every attribute bit but the codec's is refused",
          "[protocol][produce]") {
  for (unsigned bit = 3; bit < 16; ++bit) {
    INFO("bit " << bit);
    CHECK(VerdictAfter([&](MutableBytes b) {
            StoreBe(b, kAttributesAt, static_cast<std::uint16_t>(1u << bit));
          }) == ErrorCode::kCorruptBatch);
  }
}

TEST_CASE("ValidateProduced: the counts must agree", "[protocol][produce]") {
  CHECK(VerdictAfter([](MutableBytes b) { StoreBe(b, kLastOffsetDeltaAt, std::int32_t{3}); }) ==
        ErrorCode::kCorruptBatch);
  CHECK(VerdictAfter([](MutableBytes b) { StoreBe(b, kRecordCountAt, std::int32_t{2}); }) ==
        ErrorCode::kCorruptBatch);
  for (const std::int32_t count : {2, 4}) {
    for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
      INFO(count << " records claimed of 3, " << ToString(codec));
      const auto lie = [&](MutableBytes b) {
        StoreBe(b, kRecordCountAt, count);
        StoreBe(b, kLastOffsetDeltaAt, count - 1);
      };
      CHECK(VerdictAfter(lie, codec) == ErrorCode::kCorruptBatch);
    }
  }
}

TEST_CASE("ValidateProduced: producer fields are all there or all absent", "[protocol][produce]") {
  struct Fields {
    std::int64_t id;
    std::int16_t epoch;
    std::int32_t sequence;
  };
  for (const Fields& fields : {Fields{-1, 0, 0}, Fields{0, -1, 0}, Fields{0, 0, -1},
                               Fields{-1, -1, 0}, Fields{-2, -1, -1}, Fields{-2, 0, 0}}) {
    INFO(fields.id << ", " << fields.epoch << ", " << fields.sequence);
    CHECK(VerdictAfter([&](MutableBytes b) {
            StoreBe(b, kProducerIdAt, fields.id);
            StoreBe(b, kProducerEpochAt, fields.epoch);
            StoreBe(b, kBaseSequenceAt, fields.sequence);
          }) == ErrorCode::kCorruptBatch);
  }
}

TEST_CASE("ValidateProduced: timestamps must fit the batch's maximum", "[protocol][produce]") {
  const auto max = [](std::int64_t value) {
    return [value](MutableBytes b) { StoreBe(b, kMaxTimestampAt, value); };
  };
  CHECK(VerdictAfter(max(kSampleTime.value() + 4)) == ErrorCode::kCorruptBatch);
  CHECK(VerdictAfter(max(kSampleTime.value() + 6)) == ErrorCode::kCorruptBatch);
  CHECK(VerdictAfter(max(-1)) == ErrorCode::kCorruptBatch);
  CHECK(VerdictAfter([](MutableBytes b) { StoreBe(b, kBaseTimestampAt, std::int64_t{-1}); }) ==
        ErrorCode::kCorruptBatch);
  CHECK(VerdictOn({.timestamp_delta = 1}) == ErrorCode::kCorruptBatch);
  CHECK(VerdictOn({.timestamp_delta = -1}) == ErrorCode::kCorruptBatch);
  CHECK(VerdictOn({.timestamp_delta = INT64_MAX}) == ErrorCode::kCorruptBatch);
  CHECK(VerdictOn({.timestamp_delta = INT64_MIN}) == ErrorCode::kCorruptBatch);
}

TEST_CASE("ValidateProduced: no distance between timestamps overflows", "[protocol][produce]") {
  Bytes batch = BatchOf(RawRecord{.timestamp_delta = INT64_MAX}.Encode(), 1);
  StoreBe(MutableBytes(batch), kBaseTimestampAt, std::int64_t{INT64_MAX});
  StoreBe(MutableBytes(batch), kMaxTimestampAt, std::int64_t{0});
  Reseal(batch);
  Bytes scratch;
  CHECK(CodeOf(ValidateProduced(ViewOf(batch), true, scratch)) == ErrorCode::kCorruptBatch);
}

TEST_CASE("ValidateProduced: a record whose lengths lie is refused", "[protocol][produce]") {
  CHECK(VerdictOn({.attributes = 1}) == ErrorCode::kCorruptBatch);
  CHECK(VerdictOn({.offset_delta = 1}) == ErrorCode::kCorruptBatch);
  CHECK(VerdictOn({.offset_delta = -1}) == ErrorCode::kCorruptBatch);
  for (const std::int64_t size : {std::int64_t{-2}, std::int64_t{1}, std::int64_t{INT32_MAX},
                                  std::int64_t{INT64_MAX}, std::int64_t{INT64_MIN}}) {
    INFO("size " << size);
    CHECK(VerdictOn({.key_size = size}) == ErrorCode::kCorruptBatch);
    CHECK(VerdictOn({.value_size = size}) == ErrorCode::kCorruptBatch);
    CHECK(VerdictOn({.header_count = size}) == ErrorCode::kCorruptBatch);
  }
  CHECK(VerdictOn({.header_count = -1}) == ErrorCode::kCorruptBatch);
  // A header with a null name; one whose value is missing; bytes behind the last header.
  CHECK(VerdictOn({.header_count = 1, .tail = BytesOf("\x01\x01")}) == ErrorCode::kCorruptBatch);
  CHECK(VerdictOn({.header_count = 1, .tail = BytesOf("\x02x")}) == ErrorCode::kCorruptBatch);
  CHECK(VerdictOn({.tail = BytesOf("x")}) == ErrorCode::kCorruptBatch);
  CHECK(VerdictOn({.header_count = 1, .tail = BytesOf("\x02x\x01")}) == ErrorCode::kOk);
  for (const std::int64_t lie :
       {std::int64_t{-1}, std::int64_t{1}, std::int64_t{-100}, std::int64_t{INT32_MAX}}) {
    INFO("record length off by " << lie);
    CHECK(VerdictOn({}, lie) == ErrorCode::kCorruptBatch);
  }
}

TEST_CASE("ValidateProduced: bytes behind the last record are refused", "[protocol][produce]") {
  Bytes records = RawRecord{}.Encode();
  records.push_back(std::byte{0});
  Bytes scratch;
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    const Bytes batch = BatchOf(records, 1, codec);
    CHECK(CodeOf(ValidateProduced(ViewOf(batch), true, scratch)) == ErrorCode::kCorruptBatch);
  }
}

TEST_CASE("ValidateProduced: compressed records are looked into only when asked",
          "[protocol][produce]") {
  Bytes scratch;
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    const Bytes batch = BatchOf(AsBytes("not a record"), 1, codec);
    CHECK(ValidateProduced(ViewOf(batch), false, scratch).ok());
    CHECK(CodeOf(ValidateProduced(ViewOf(batch), true, scratch)) == ErrorCode::kCorruptBatch);
    Bytes broken = batch;
    broken[kRecordsAt] ^= std::byte{0xff};
    Reseal(broken);
    CHECK(CodeOf(ValidateProduced(ViewOf(broken), true, scratch)) == ErrorCode::kCorruptBatch);
  }
}

TEST_CASE("ValidateProduced: a bomb is a corrupt batch and costs its bound",
          "[protocol][produce]") {
  const Bytes batch = BatchOf(Bytes(kDecompressedBytesMax + 1), 1, Codec::kZstd);
  Bytes scratch;
  CHECK(CodeOf(ValidateProduced(ViewOf(batch), true, scratch)) == ErrorCode::kCorruptBatch);
  CHECK(scratch.size() <= kDecompressedBytesMax + 1);
}

}  // namespace
}  // namespace cairn
