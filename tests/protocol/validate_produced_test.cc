#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "protocol/record_batch.h"
#include "tests/protocol/batches.h"

namespace cairn {
namespace {

using testing::AllKinds;
using testing::BatchAround;
using testing::Build;
using testing::Reseal;

ErrorCode Validate(const Bytes& batch, bool full = false) {
  const auto view = RecordBatchView::ParseHeader(batch);
  REQUIRE(view.ok());
  Bytes scratch;
  return CodeOf(ValidateProduced(*view, full, scratch));
}

// The answer to a good batch after one field was changed and the checksum renewed.
template <typename T>
ErrorCode WithField(BatchField field, T value) {
  Bytes batch = Build(AllKinds());
  StoreBe(MutableBytes(batch), field, value);
  Reseal(batch);
  return Validate(batch);
}

ErrorCode WithProducer(std::int64_t id, std::int16_t epoch, std::int32_t sequence) {
  Bytes batch = Build(AllKinds());
  StampProducer(batch, ProducerId(id), ProducerEpoch(epoch), sequence);
  return Validate(batch);
}

// One record given byte by byte, without its length.
ErrorCode WithRecord(std::initializer_list<int> body) {
  Bytes records;
  records.push_back(static_cast<std::byte>(body.size() * 2));
  for (const int value : body) records.push_back(static_cast<std::byte>(value));
  return Validate(BatchAround(records, 1));
}

TEST_CASE("ValidateProduced: good batches pass", "[protocol][validate]") {
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    for (const bool full : {false, true}) {
      CHECK(Validate(Build(AllKinds(), {.codec = codec}), full) == ErrorCode::kOk);
    }
  }
  CHECK(WithProducer(0, 0, 0) == ErrorCode::kOk);
  CHECK(WithProducer(INT64_MAX, INT16_MAX, INT32_MAX) == ErrorCode::kOk);
  CHECK(WithRecord({0, 0, 0, 1, 1, 0}) == ErrorCode::kOk);
}

TEST_CASE("ValidateProduced: a wrong checksum is a corrupt batch", "[protocol][validate]") {
  Bytes batch = Build(AllKinds());
  batch.back() ^= std::byte{1};
  CHECK(Validate(batch) == ErrorCode::kCorruptBatch);
}

TEST_CASE("ValidateProduced: codecs we do not speak are named as such", "[protocol][validate]") {
  for (const int codec : {1, 2, 5, 6, 7}) {
    CHECK(WithField(kAttributesAt, static_cast<std::int16_t>(codec)) ==
          ErrorCode::kUnsupportedCodec);
  }
}

TEST_CASE("ValidateProduced: a producer may set no attribute but the codec",
          "[protocol][validate]") {
  for (int bit = 3; bit < 16; ++bit) {
    CAPTURE(bit);
    CHECK(WithField(kAttributesAt, static_cast<std::uint16_t>(1u << bit)) ==
          ErrorCode::kCorruptBatch);
  }
}

TEST_CASE("ValidateProduced: producer fields fit together", "[protocol][validate]") {
  for (const auto& [id, epoch, sequence] : {std::tuple{-1, 0, 0},
                                            {-1, -1, 0},
                                            {-1, 0, -1},
                                            {5, -1, -1},
                                            {5, 0, -1},
                                            {5, -1, 0},
                                            {-2, -1, -1},
                                            {5, 0, -2}}) {
    CAPTURE(id, epoch, sequence);
    CHECK(WithProducer(id, static_cast<std::int16_t>(epoch), sequence) == ErrorCode::kCorruptBatch);
  }
}

TEST_CASE("ValidateProduced: gaps that only compaction makes are refused", "[protocol][validate]") {
  CHECK(WithField(kLastOffsetDeltaAt, std::int32_t{6}) == ErrorCode::kCorruptBatch);
  CHECK(WithField(kLastOffsetDeltaAt, INT32_MAX) == ErrorCode::kCorruptBatch);
}

TEST_CASE("ValidateProduced: timestamps agree with the header", "[protocol][validate]") {
  CHECK(WithField(kMaxTimestampAt, std::int64_t{1499}) == ErrorCode::kCorruptBatch);
  CHECK(WithField(kMaxTimestampAt, std::int64_t{1501}) == ErrorCode::kCorruptBatch);
  CHECK(WithField(kMaxTimestampAt, std::int64_t{1200}) == ErrorCode::kCorruptBatch);  // one has it
  CHECK(WithField(kMaxTimestampAt, std::int64_t{-1}) == ErrorCode::kCorruptBatch);
  CHECK(WithField(kBaseTimestampAt, std::int64_t{-1}) == ErrorCode::kCorruptBatch);
  CHECK(WithField(kBaseTimestampAt, INT64_MAX) == ErrorCode::kCorruptBatch);
}

TEST_CASE("ValidateProduced: extreme timestamp deltas neither overflow nor pass",
          "[protocol][validate]") {
  // INT64_MAX and INT64_MIN as varints, in a batch whose timestamps are 1000.
  CHECK(WithRecord({0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 1, 1, 0}) ==
        ErrorCode::kCorruptBatch);
  CHECK(WithRecord({0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 1, 1, 0}) ==
        ErrorCode::kCorruptBatch);
  // The largest gap below zero that the header alone allows.
  Bytes batch =
      BatchAround(Bytes{std::byte{30}, std::byte{0}, std::byte{0xfe}, std::byte{0xff},
                        std::byte{0xff}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                        std::byte{0xff}, std::byte{0xff}, std::byte{0xff}, std::byte{0x01},
                        std::byte{0}, std::byte{1}, std::byte{1}, std::byte{0}},
                  1);
  StoreBe(MutableBytes(batch), kBaseTimestampAt, INT64_MAX);
  StoreBe(MutableBytes(batch), kMaxTimestampAt, std::int64_t{0});
  Reseal(batch);
  CHECK(Validate(batch) == ErrorCode::kCorruptBatch);
}

TEST_CASE("ValidateProduced: no record is from before 1970", "[protocol][validate]") {
  CHECK(Validate(Build({{1000, "k", "v", {}}, {0, "k", "v", {}}})) == ErrorCode::kOk);
  CHECK(Validate(Build({{1000, "k", "v", {}}, {-1, "k", "v", {}}})) == ErrorCode::kCorruptBatch);
  CHECK(Validate(Build({{1000, "k", "v", {}}, {INT64_MIN + 1000, "k", "v", {}}})) ==
        ErrorCode::kCorruptBatch);
}

TEST_CASE("ValidateProduced: records that do not add up are refused", "[protocol][validate]") {
  // attributes, timestamp delta, offset delta, key length, value length, header count
  CHECK(WithRecord({1, 0, 0, 1, 1, 0}) == ErrorCode::kCorruptBatch);        // attributes
  CHECK(WithRecord({0, 0, 2, 1, 1, 0}) == ErrorCode::kCorruptBatch);        // offset delta 1
  CHECK(WithRecord({0, 0, 1, 1, 1, 0}) == ErrorCode::kCorruptBatch);        // offset delta -1
  CHECK(WithRecord({0, 2, 0, 1, 1, 0}) == ErrorCode::kCorruptBatch);        // above the maximum
  CHECK(WithRecord({0, 0, 0, 3, 1, 0}) == ErrorCode::kCorruptBatch);        // key length -2
  CHECK(WithRecord({0, 0, 0, 2, 1, 0}) == ErrorCode::kCorruptBatch);        // the key eats a field
  CHECK(WithRecord({0, 0, 0, 1, 0x7e, 0}) == ErrorCode::kCorruptBatch);     // value beyond the end
  CHECK(WithRecord({0, 0, 0, 1, 1, 1}) == ErrorCode::kCorruptBatch);        // -1 headers
  CHECK(WithRecord({0, 0, 0, 1, 1, 2}) == ErrorCode::kCorruptBatch);        // a header is missing
  CHECK(WithRecord({0, 0, 0, 1, 1, 2, 1, 1}) == ErrorCode::kCorruptBatch);  // null header name
  CHECK(WithRecord({0, 0, 0, 1, 1, 2, 0, 1}) == ErrorCode::kOk);
  CHECK(WithRecord({0, 0, 0, 1, 1, 0, 0}) == ErrorCode::kCorruptBatch);  // a byte is left
  CHECK(WithRecord({0, 0, 0, 1, 1}) == ErrorCode::kCorruptBatch);
  CHECK(WithRecord({}) == ErrorCode::kCorruptBatch);
}

TEST_CASE("ValidateProduced: the records fill the batch, no more and no less",
          "[protocol][validate]") {
  const Bytes good = Build(AllKinds());
  const Bytes records(good.begin() + kRecordsAt, good.end());
  REQUIRE(Validate(BatchAround(records, 6, 1500)) == ErrorCode::kOk);
  Bytes longer = records;
  longer.push_back(std::byte{0});
  CHECK(Validate(BatchAround(longer, 6, 1500)) == ErrorCode::kCorruptBatch);
  CHECK(Validate(BatchAround(records, 7, 1500)) == ErrorCode::kCorruptBatch);
  CHECK(Validate(BatchAround(records, 5, 1500)) == ErrorCode::kCorruptBatch);
  CHECK(Validate(BatchAround({}, 1)) == ErrorCode::kCorruptBatch);
  for (std::size_t size = 0; size < records.size(); ++size) {
    const Bytes cut(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(size));
    CAPTURE(size);
    REQUIRE(Validate(BatchAround(cut, 6, 1500)) == ErrorCode::kCorruptBatch);
  }
}

TEST_CASE("ValidateProduced: compressed records are looked into only when asked",
          "[protocol][validate]") {
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    Bytes wrong_count = Build(AllKinds(), {.codec = codec});
    StoreBe(MutableBytes(wrong_count), kRecordCountAt, std::int32_t{7});
    StoreBe(MutableBytes(wrong_count), kLastOffsetDeltaAt, std::int32_t{6});
    Reseal(wrong_count);
    CHECK(Validate(wrong_count, false) == ErrorCode::kOk);
    CHECK(Validate(wrong_count, true) == ErrorCode::kCorruptBatch);

    Bytes no_block = Build(AllKinds());
    StoreBe(MutableBytes(no_block), kAttributesAt, static_cast<std::int16_t>(codec));
    Reseal(no_block);
    CHECK(Validate(no_block, false) == ErrorCode::kOk);
    CHECK(Validate(no_block, true) == ErrorCode::kCorruptBatch);
  }
}

}  // namespace
}  // namespace cairn
