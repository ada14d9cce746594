#include "client/partition_reader.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "protocol/record_batch_builder.h"

namespace cairn::client {
namespace {

using Kind = ConsumerEvent::Kind;

std::string ValueAt(std::int64_t offset) { return absl::StrFormat("v%d", offset); }

// A batch of `count` records with values "v<offset>".
Bytes BatchAt(std::int64_t base, int count, Codec codec = Codec::kNone, int epoch = 0) {
  RecordBatchBuilder builder;
  for (int i = 0; i < count; ++i) {
    const std::string value = ValueAt(base + i);
    builder.Add({.timestamp = Timestamp(1000 + base + i),
                 .key = std::nullopt,
                 .value = AsBytes(value),
                 .headers = {}});
  }
  Bytes batch = *builder.Finish({.codec = codec});
  StampBatch(batch, Offset(base), LeaderEpoch(epoch));
  return batch;
}

SharedBytes Shared(const Bytes& bytes) {
  std::shared_ptr<std::byte[]> copy(new std::byte[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), copy.get());
  const ByteView view(copy.get(), bytes.size());
  return {std::move(copy), view};
}

struct Fixture {
  explicit Fixture(Assignment assignment = {.topic = "t", .partition = PartitionIndex(0)},
                   PartitionReader::OutOfRange out_of_range = PartitionReader::OutOfRange::kError)
      : reader(std::move(assignment), TopicId{}, out_of_range) {}

  void Subscribed(std::int64_t start, std::optional<std::int64_t> stop = std::nullopt) {
    reader.Begin(++subscription);
    reader.OnSubscribed(Offset(start), Offset(1000),
                        stop ? std::optional(Offset(*stop)) : std::nullopt);
  }
  void Receive(const Bytes& batches) { reader.OnBatches(Shared(batches), Offset(1000)); }
  void End(ErrorCode code, std::int64_t from = -1, std::int64_t to = -1, std::int64_t next = -1) {
    reader.OnEnded({.status = MakeError(code, "ended"),
                    .from = Offset(from),
                    .to = Offset(to),
                    .next_offset = Offset(next)});
  }
  absl::Status Take(std::size_t records_max = 1000) {
    records.clear();
    events.clear();
    keepers.clear();
    PartitionReader::Taken taken{records, events, keepers};
    return reader.Take(records_max, taken);
  }
  std::vector<std::int64_t> Offsets() const {
    std::vector<std::int64_t> offsets;
    for (const auto& record : records) {
      CHECK(record.value == ValueAt(record.offset.value()));
      offsets.push_back(record.offset.value());
    }
    return offsets;
  }

  PartitionReader reader;
  std::uint32_t subscription = 0;
  std::vector<ConsumedRecord> records;
  std::vector<ConsumerEvent> events;
  std::vector<std::shared_ptr<const void>> keepers;
};

using Offsets = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("PartitionReader: records before the start offset are trimmed", "[client][consumer]") {
  Fixture f({.topic = "t", .partition = PartitionIndex(0), .start = StartPosition::At(Offset(7))});
  CHECK(f.reader.wants_subscription());
  f.Subscribed(7);
  CHECK_FALSE(f.reader.wants_subscription());
  const Codec codec = GENERATE(Codec::kNone, Codec::kLz4, Codec::kZstd);
  f.Receive(BatchAt(5, 5, codec));
  REQUIRE(f.Take().ok());
  CHECK(f.Offsets() == Offsets{7, 8, 9});
  CHECK(f.reader.position() == Offset(10));
}

TEST_CASE("PartitionReader: records_max stops in the middle of a batch and goes on there",
          "[client][consumer]") {
  Fixture f;
  f.Subscribed(0);
  f.Receive(BatchAt(0, 5, GENERATE(Codec::kNone, Codec::kZstd)));
  REQUIRE(f.Take(2).ok());
  CHECK(f.Offsets() == Offsets{0, 1});
  REQUIRE(f.Take(2).ok());
  CHECK(f.Offsets() == Offsets{2, 3});
  REQUIRE(f.Take(2).ok());
  CHECK(f.Offsets() == Offsets{4});
  CHECK_FALSE(f.reader.has_something());
}

TEST_CASE("PartitionReader: a bounded assignment ends before its stop offset, once",
          "[client][consumer]") {
  Fixture f({.topic = "t", .partition = PartitionIndex(0), .stop_at_present_end = true});
  CHECK(f.reader.request().stop_at_present_end);
  f.Subscribed(0, 3);
  f.Receive(BatchAt(0, 5));
  f.End(ErrorCode::kOk);
  REQUIRE(f.Take().ok());
  CHECK(f.Offsets() == Offsets{0, 1, 2});
  REQUIRE(f.events.size() == 1);
  CHECK(f.events[0].kind == Kind::kEnd);
  CHECK(f.reader.over());
  CHECK_FALSE(f.reader.has_something());
}

TEST_CASE("PartitionReader: the present end of the first answer outlives a broken connection",
          "[client][consumer]") {
  Fixture f({.topic = "t", .partition = PartitionIndex(0), .stop_at_present_end = true});
  f.Subscribed(0, 10);
  f.Receive(BatchAt(0, 4, Codec::kNone, 3));
  REQUIRE(f.Take(2).ok());
  f.reader.OnLost();
  CHECK(f.reader.wants_subscription());
  const auto request = f.reader.request();
  CHECK(request.start.value() == 2);
  CHECK(request.epoch == LeaderEpoch(3));
  CHECK_FALSE(request.stop_at_present_end);
  CHECK(request.stop_before == Offset(10));
  f.Subscribed(2, 10);
  f.Receive(BatchAt(0, 4));
  REQUIRE(f.Take().ok());
  CHECK(f.Offsets() == Offsets{2, 3});
}

TEST_CASE("PartitionReader: a start that is not an offset is asked again until it is known",
          "[client][consumer]") {
  Fixture f({.topic = "t", .partition = PartitionIndex(0), .start = StartPosition::Latest()});
  f.reader.Begin(1);
  f.reader.OnLost();
  CHECK(f.reader.request().start.kind() == StartPosition::Kind::kLatest);
  f.Subscribed(42);
  CHECK(f.reader.position() == Offset(42));
  f.reader.OnLost();
  CHECK(f.reader.request().start.kind() == StartPosition::Kind::kOffset);
  CHECK(f.reader.request().start.value() == 42);
}

TEST_CASE("PartitionReader: a seek drops what was received and starts anew", "[client][consumer]") {
  Fixture f;
  f.Subscribed(0);
  f.Receive(BatchAt(0, 5));
  REQUIRE(f.Take(1).ok());
  f.reader.Seek(StartPosition::At(Offset(20)));
  CHECK_FALSE(f.reader.has_something());
  CHECK(f.reader.wants_subscription());
  CHECK(f.reader.request().epoch == kNoEpoch);
  f.Subscribed(20);
  f.Receive(BatchAt(20, 1));
  REQUIRE(f.Take().ok());
  CHECK(f.Offsets() == Offsets{20});
}

TEST_CASE("PartitionReader: damage and batches out of order are errors that name the place",
          "[client][consumer]") {
  Fixture f;
  f.Subscribed(0);
  f.Receive(BatchAt(0, 2));
  SECTION("a flipped byte") {
    Bytes batch = BatchAt(2, 3);
    batch.back() ^= std::byte{1};
    f.Receive(batch);
  }
  SECTION("an earlier batch") { f.Receive(BatchAt(1, 3)); }
  SECTION("a torn batch") {
    Bytes batch = BatchAt(2, 3);
    batch.pop_back();
    f.Receive(batch);
  }
  const absl::Status status = f.Take();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK(std::string(status.message()).find("t:0 at offset 2") != std::string::npos);
  CHECK(f.Offsets() == Offsets{0, 1});  // what came before it is good
  CHECK(f.reader.over());
}

TEST_CASE("PartitionReader: trimmed records are an error, or an event and a new start",
          "[client][consumer]") {
  using OutOfRange = PartitionReader::OutOfRange;
  const auto policy = GENERATE(OutOfRange::kError, OutOfRange::kEarliest, OutOfRange::kLatest);
  Fixture f({.topic = "t", .partition = PartitionIndex(0)}, policy);
  f.Subscribed(0);
  f.Receive(BatchAt(0, 2));
  f.End(ErrorCode::kTrimmed, 2, 50, 50);
  REQUIRE(f.Take().ok());
  CHECK(f.Offsets() == Offsets{0, 1});
  if (policy == OutOfRange::kError) {
    REQUIRE(f.events.size() == 1);
    CHECK(f.events[0].kind == Kind::kFailed);
    CHECK(f.events[0].from == Offset(2));
    CHECK(f.events[0].to == Offset(50));
    CHECK(f.reader.over());
  } else if (policy == OutOfRange::kEarliest) {
    REQUIRE(f.events.size() == 1);
    CHECK(f.events[0].kind == Kind::kTrimmed);
    CHECK(f.events[0].to == Offset(50));
    CHECK(f.reader.request().start.value() == 50);
  } else {
    CHECK(f.events.empty());
    CHECK(f.reader.request().start.kind() == StartPosition::Kind::kLatest);
    f.Subscribed(80);
    REQUIRE(f.Take().ok());
    REQUIRE(f.events.size() == 1);
    CHECK(f.events[0].from == Offset(2));
    CHECK(f.events[0].to == Offset(80));
  }
}

TEST_CASE("PartitionReader: who came back below the log start was not told what is gone",
          "[client][consumer]") {
  Fixture f;
  f.Subscribed(0);
  f.Receive(BatchAt(0, 2));
  REQUIRE(f.Take().ok());
  f.reader.OnLost();
  f.reader.Begin(++f.subscription);
  f.reader.OnRefused(MakeError(ErrorCode::kOffsetOutOfRange, "not between 50 and 90"));
  CHECK(f.reader.wants_subscription());
  CHECK(f.reader.request().start.kind() == StartPosition::Kind::kEarliest);
  const bool below = GENERATE(true, false);
  f.Subscribed(below ? 50 : 0);
  CHECK(f.reader.subscription() == 0);
  CHECK(f.reader.over());
  REQUIRE(f.Take().ok());
  CHECK(f.Offsets().empty());
  REQUIRE(f.events.size() == 1);
  CHECK(f.events[0].kind == Kind::kFailed);
  CHECK(f.events[0].from == Offset(2));
  CHECK(f.events[0].to == (below ? Offset(50) : kNoOffset));
  CHECK(CodeOf(f.events[0].status) == (below ? ErrorCode::kTrimmed : ErrorCode::kOffsetOutOfRange));
  CHECK(f.reader.position() == Offset(2));
}

TEST_CASE("PartitionReader: a start that never was in range is an error at once",
          "[client][consumer]") {
  Fixture f({.topic = "t", .partition = PartitionIndex(0), .start = StartPosition::At(Offset(7))});
  f.reader.Begin(1);
  f.reader.OnRefused(MakeError(ErrorCode::kOffsetOutOfRange, "not between 0 and 5"));
  CHECK_FALSE(f.reader.wants_subscription());
  REQUIRE(f.Take().ok());
  REQUIRE(f.events.size() == 1);
  CHECK(f.events[0].kind == Kind::kFailed);
}

TEST_CASE("PartitionReader: a seek to where reading stood forgot what had been seen",
          "[client][consumer]") {
  Fixture f;
  f.Subscribed(0);
  f.Receive(BatchAt(0, 9, Codec::kNone, 4));
  f.End(ErrorCode::kStorageFailed);
  REQUIRE(f.Take().ok());
  REQUIRE(f.reader.over());
  f.reader.Seek(StartPosition::At(Offset(GENERATE(9, 6))));
  CHECK(f.reader.request().epoch == LeaderEpoch(4));
  f.reader.Seek(StartPosition::At(Offset(10)));
  CHECK(f.reader.request().epoch == kNoEpoch);
}

TEST_CASE("PartitionReader: what a power cut took back is an event, and reading goes back",
          "[client][consumer]") {
  Fixture f;
  f.Subscribed(0);
  f.Receive(BatchAt(0, 9));
  REQUIRE(f.Take().ok());
  f.reader.OnLost();
  f.Subscribed(5);
  f.End(ErrorCode::kTruncated, 5, 9, 5);
  REQUIRE(f.Take().ok());
  REQUIRE(f.events.size() == 1);
  CHECK(f.events[0].kind == Kind::kTruncated);
  CHECK(f.events[0].from == Offset(5));
  CHECK(f.reader.request().start.value() == 5);
  CHECK(f.reader.request().epoch == kNoEpoch);
}

TEST_CASE("PartitionReader: a refusal that may pass is asked again, another one is told",
          "[client][consumer]") {
  Fixture f;
  f.reader.Begin(1);
  f.reader.OnRefused(MakeError(ErrorCode::kStopping, "going down"));
  CHECK(f.reader.wants_subscription());
  f.reader.Begin(2);
  f.reader.OnRefused(MakeError(ErrorCode::kUnknownTopic, "deleted"));
  CHECK_FALSE(f.reader.wants_subscription());
  REQUIRE(f.Take().ok());
  REQUIRE(f.events.size() == 1);
  CHECK(f.events[0].kind == Kind::kFailed);
  CHECK(absl::IsNotFound(f.events[0].status));
}

TEST_CASE("PartitionReader: records outlive the reader as long as their keepers do",
          "[client][consumer]") {
  const Codec codec = GENERATE(Codec::kNone, Codec::kLz4);
  auto f = std::make_unique<Fixture>();
  f->Subscribed(0);
  f->Receive(BatchAt(0, 3, codec));
  REQUIRE(f->Take().ok());
  const auto records = std::move(f->records);
  const auto keepers = std::move(f->keepers);
  f.reset();
  CHECK(records[2].value == "v2");
  CHECK(records[2].topic == "t");
}

TEST_CASE("PartitionReader: credit is given back for what was taken, not for what waits",
          "[client][consumer]") {
  Fixture f;
  f.Subscribed(0);
  const Bytes first = BatchAt(0, 3);
  f.Receive(first);
  f.Receive(BatchAt(3, 3));
  REQUIRE(f.Take(3).ok());
  CHECK(f.reader.TakeConsumedBytes() == first.size());
  CHECK(f.reader.TakeConsumedBytes() == 0);
}

}  // namespace cairn::client
