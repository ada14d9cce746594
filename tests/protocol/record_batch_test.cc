#include "protocol/record_batch.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "protocol/limits.h"
#include "protocol/record_batch_builder.h"
#include "tests/protocol/batches.h"
#include "tests/protocol/examples.h"

namespace cairn {
namespace {

using testing::AllKinds;
using testing::Build;
using testing::Own;
using testing::Record;
using testing::Reseal;

// What stands in the batch. Offsets must count up from its base offset.
std::vector<Record> ReadAll(ByteView bytes, RecordReader& reader) {
  std::vector<Record> records;
  const auto batch = RecordBatchView::Parse(bytes);
  REQUIRE(batch.ok());
  REQUIRE(reader.Open(*batch, kDecompressedBytesMax).ok());
  RecordView view;
  while (reader.Next(view)) {
    Record record{view.timestamp.value(), Own(view.key), Own(view.value), {}};
    for (const HeaderView& header : view.headers) {
      record.headers.push_back({std::string(AsText(header.name)), Own(header.value)});
    }
    CHECK(view.offset == batch->base_offset() + static_cast<std::int64_t>(records.size()));
    records.push_back(record);
  }
  CHECK(reader.status().ok());
  return records;
}

TEST_CASE("RecordBatch: what goes in comes out, with every codec", "[protocol][record_batch]") {
  RecordReader reader;
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    CAPTURE(ToString(codec));
    Bytes batch = Build(AllKinds(), {.codec = codec});
    StampBatch(batch, Offset(4096), LeaderEpoch(3));
    CHECK(ReadAll(batch, reader) == AllKinds());

    const auto view = RecordBatchView::Parse(batch);
    REQUIRE(view.ok());
    CHECK(view->size() == batch.size());
    CHECK(view->base_offset() == Offset(4096));
    CHECK(view->last_offset() == Offset(4101));
    CHECK(view->next_offset() == Offset(4102));
    CHECK(view->leader_epoch() == LeaderEpoch(3));
    CHECK(view->record_count() == 6);
    CHECK(view->base_timestamp() == Timestamp(1000));
    CHECK(view->max_timestamp() == Timestamp(1500));
    CHECK(view->producer_id() == kNoProducer);
    CHECK(view->codec_number() == static_cast<std::uint8_t>(codec));
  }
}

TEST_CASE("RecordBatch: stamping offset and epoch leaves the checksum valid",
          "[protocol][record_batch]") {
  Bytes batch = Build(AllKinds());
  StampBatch(batch, Offset(INT64_MAX - 5), LeaderEpoch(INT32_MAX));
  CHECK(RecordBatchView::Parse(batch).ok());
}

TEST_CASE("RecordBatch: a producer is stamped with a new checksum", "[protocol][record_batch]") {
  Bytes batch = Build(AllKinds());
  StampProducer(batch, ProducerId(9), ProducerEpoch(2), 77);
  const auto view = RecordBatchView::Parse(batch);
  REQUIRE(view.ok());
  CHECK(view->producer_id() == ProducerId(9));
  CHECK(view->producer_epoch() == ProducerEpoch(2));
  CHECK(view->base_sequence() == 77);
}

TEST_CASE("RecordBatch: the bytes of a known batch stay as they are", "[protocol][record_batch]") {
  constexpr unsigned char kGolden[] = {
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x4f, 0x00,
      0x00, 0x00, 0x00, 0x02, 0x68, 0xcf, 0xb4, 0x46, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, 0x00, 0x00, 0x01, 0x8b,
      0xcf, 0xe5, 0x68, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x3a, 0x00, 0x00, 0x00,
      0x10, 0x6f, 0x72, 0x64, 0x65, 0x72, 0x2d, 0x31, 0x37, 0x08, 0x70, 0x61, 0x69,
      0x64, 0x02, 0x0c, 0x73, 0x6f, 0x75, 0x72, 0x63, 0x65, 0x06, 0x77, 0x65, 0x62};
  const std::string golden(reinterpret_cast<const char*>(kGolden), sizeof(kGolden));
  CHECK(AsText(examples::Batch()) == golden);
}

TEST_CASE("RecordBatch: no byte can be flipped unseen, but for those the broker stamps",
          "[protocol][record_batch]") {
  const auto stamped = [](std::size_t at) {
    return at < kBatchLengthAt || (at >= kLeaderEpochAt && at < kMagicAt);
  };
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    Bytes batch = Build(AllKinds(), {.codec = codec});
    for (std::size_t at = 0; at < batch.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        batch[at] ^= static_cast<std::byte>(1 << bit);
        CAPTURE(at, bit);
        REQUIRE(RecordBatchView::Parse(batch).ok() == stamped(at));
        batch[at] ^= static_cast<std::byte>(1 << bit);
      }
    }
  }
}

TEST_CASE("RecordBatch: one that is cut anywhere is less than a batch",
          "[protocol][record_batch]") {
  const Bytes batch = Build(AllKinds());
  for (std::size_t size = 0; size < batch.size(); ++size) {
    // Of exactly that size, so that a sanitizer sees a read beyond it.
    const Bytes cut(batch.begin(), batch.begin() + static_cast<std::ptrdiff_t>(size));
    CAPTURE(size);
    REQUIRE(absl::IsOutOfRange(RecordBatchView::Parse(cut).status()));
    REQUIRE(absl::IsOutOfRange(RecordBatchView::ParseHeader(cut).status()));
  }
}

TEST_CASE("RecordBatch: what follows a batch is left alone", "[protocol][record_batch]") {
  const Bytes first = Build(AllKinds());
  Bytes both = first;
  AppendBytes(both, Build({{7, "k", "v", {}}}));
  const auto view = RecordBatchView::Parse(both);
  REQUIRE(view.ok());
  CHECK(view->size() == first.size());
  CHECK(RecordBatchView::SizeOf(both) == first.size());
}

TEST_CASE("RecordBatch: lengths that cannot be are damage and not a wish for more bytes",
          "[protocol][record_batch]") {
  Bytes batch = Build(AllKinds());
  for (const std::int32_t length : {INT32_MIN, -1, 0, 48, (64 << 20) - 11, INT32_MAX}) {
    StoreBe(MutableBytes(batch), kBatchLengthAt, length);
    CAPTURE(length);
    CHECK(absl::IsDataLoss(RecordBatchView::ParseHeader(batch).status()));
    CHECK_FALSE(RecordBatchView::SizeOf(batch).has_value());
  }
  StoreBe(MutableBytes(batch), kBatchLengthAt, (64 << 20) - 12);
  CHECK(RecordBatchView::SizeOf(batch) == kBatchBytesMax);
  CHECK(absl::IsOutOfRange(RecordBatchView::ParseHeader(batch).status()));
  CHECK_FALSE(RecordBatchView::SizeOf(ByteView(batch).first(11)).has_value());
}

TEST_CASE("RecordBatch: counts that cannot be are damage", "[protocol][record_batch]") {
  const auto parses = [](std::int32_t count, std::int32_t last_offset_delta) {
    Bytes batch = Build(AllKinds());
    StoreBe(MutableBytes(batch), kRecordCountAt, count);
    StoreBe(MutableBytes(batch), kLastOffsetDeltaAt, last_offset_delta);
    Reseal(batch);
    const auto view = RecordBatchView::Parse(batch);
    if (!view.ok()) CHECK(absl::IsDataLoss(view.status()));
    return view.ok();
  };
  CHECK(parses(6, 5));
  CHECK(parses(3, 5));  // compaction took some
  CHECK_FALSE(parses(7, 5));
  CHECK(parses(0, 0));  // what compaction may leave
  CHECK_FALSE(parses(0, -1));
  CHECK_FALSE(parses(-1, 5));
  CHECK_FALSE(parses(INT32_MIN, 5));
  CHECK_FALSE(parses(1'000'001, 1'000'000));
}

TEST_CASE("RecordReader: records that do not add up are an error and not a crash",
          "[protocol][record_batch]") {
  const Bytes good = Build(AllKinds());
  RecordReader reader;
  RecordView record;
  for (std::size_t at = kRecordsAt; at < good.size(); ++at) {
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      Bytes batch = good;
      batch[at] = static_cast<std::byte>(value);
      Reseal(batch);
      const auto view = RecordBatchView::Parse(batch);
      REQUIRE(view.ok());
      REQUIRE(reader.Open(*view, kDecompressedBytesMax).ok());
      int read = 0;
      while (reader.Next(record)) ++read;
      CAPTURE(at, value, read);
      REQUIRE((reader.status().ok() ? read == 6 : read < 7));
      if (!reader.status().ok()) REQUIRE(absl::IsDataLoss(reader.status()));
    }
  }
}

TEST_CASE("Record batch: a record of too many headers is refused before they are held",
          "[protocol][record_batch]") {
  for (const std::int64_t more : {0, 1}) {
    const std::vector<HeaderView> headers(static_cast<std::size_t>(kRecordHeadersMax + more),
                                          HeaderView{AsBytes("n"), std::nullopt});
    RecordBatchBuilder builder;
    builder.Add({.timestamp = Timestamp(1),
                 .key = std::nullopt,
                 .value = std::nullopt,
                 .headers = headers});
    const absl::StatusOr<Bytes> bytes = builder.Finish({});
    REQUIRE(bytes.ok());
    const absl::StatusOr<RecordBatchView> batch = RecordBatchView::Parse(*bytes);
    REQUIRE(batch.ok());
    Bytes scratch;
    CHECK(ValidateProduced(*batch, false, scratch).ok() == (more == 0));
    RecordReader reader;
    REQUIRE(reader.Open(*batch, kDecompressedBytesMax).ok());
    RecordView record;
    CHECK(reader.Next(record) == (more == 0));
    CHECK(absl::IsDataLoss(reader.status()) == (more == 1));
  }
}

TEST_CASE("RecordReader: bytes behind the last record are named", "[protocol][record_batch]") {
  Bytes batch = Build({{7, "k", "v", {}}});
  batch.push_back(std::byte{0});
  StoreBe(MutableBytes(batch), kBatchLengthAt, static_cast<std::int32_t>(batch.size() - 12));
  Reseal(batch);
  RecordReader reader;
  RecordView record;
  const auto view = RecordBatchView::Parse(batch);
  REQUIRE(view.ok());
  REQUIRE(reader.Open(*view, kDecompressedBytesMax).ok());
  CHECK(reader.Next(record));
  CHECK_FALSE(reader.Next(record));
  CHECK(absl::IsDataLoss(reader.status()));
  CHECK_FALSE(reader.Next(record));
}

TEST_CASE("RecordReader: the broker's append time is that of every record",
          "[protocol][record_batch]") {
  Bytes batch = Build(AllKinds());
  StoreBe(MutableBytes(batch), kAttributesAt, std::int16_t{0x08});
  StoreBe(MutableBytes(batch), kMaxTimestampAt, std::int64_t{2000});
  Reseal(batch);
  RecordReader reader;
  for (const Record& record : ReadAll(batch, reader)) CHECK(record.timestamp == 2000);
  // The next batch has its own times again.
  CHECK(ReadAll(Build(AllKinds()), reader) == AllKinds());
}

TEST_CASE("RecordBatchBuilder: it starts afresh after Finish and after Clear",
          "[protocol][record_batch]") {
  RecordBatchBuilder builder;
  builder.Add({.timestamp = Timestamp(5), .key = AsBytes("a"), .value = AsBytes("b")});
  builder.Clear();
  CHECK(builder.empty());
  CHECK(builder.size() == kBatchHeaderBytes);
  RecordReader reader;
  for (const Codec codec : {Codec::kZstd, Codec::kNone, Codec::kLz4, Codec::kNone}) {
    builder.Add({.timestamp = Timestamp(900), .key = AsBytes("k"), .value = AsBytes("v")});
    CHECK(builder.record_count() == 1);
    const auto batch = builder.Finish({.codec = codec});
    REQUIRE(batch.ok());
    CHECK(builder.empty());
    CHECK(ReadAll(*batch, reader) == std::vector<Record>{{900, "k", "v", {}}});
  }
}

TEST_CASE("RecordBatchBuilder: SizeBound is never less than what Add appends",
          "[protocol][record_batch]") {
  RecordBatchBuilder builder;
  const std::string large(100'000, 'x');
  const HeaderView headers[] = {{AsBytes("n"), AsBytes(large)}, {AsBytes(large), std::nullopt}};
  for (const std::int64_t timestamp : {std::int64_t{0}, INT64_MAX, std::int64_t{1}}) {
    for (const std::string_view text : {std::string_view(), std::string_view(large)}) {
      const RecordBatchBuilder::Record record{.timestamp = Timestamp(timestamp),
                                              .key = AsBytes(text),
                                              .value = AsBytes(text),
                                              .headers = headers};
      const std::size_t before = builder.size();
      builder.Add(record);
      CHECK(builder.size() - before <= RecordBatchBuilder::SizeBound(record));
    }
  }
}

}  // namespace
}  // namespace cairn
