#include <thread>

#include "protocol/error_code.h"
#include "tests/client/walk.h"
#include "tests/support/lossy_proxy.h"

namespace cairn::client {

using test::RunningServer;
using Kind = ConsumerEvent::Kind;

TEST_CASE("Consumer: keys, values, headers and timestamps come back as they were sent",
          "[client][consumer]") {
  const Codec codec = GENERATE(Codec::kNone, Codec::kLz4, Codec::kZstd);
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  {
    ProducerOptions options;
    options.codec = codec;
    const auto producer = OpenProducer(cluster, options);
    ProduceRecord record;
    record.timestamp = Timestamp(1'600'000'000'123);
    REQUIRE(producer->Send("t", record).ok());  // null key, null value
    record.key = "";
    record.value = "";
    record.headers = {{"null", std::nullopt}, {"empty", ""}, {"", "nameless"}};
    REQUIRE(producer->Send("t", record).ok());
    REQUIRE(producer->Close(kPatience).ok());
  }
  PolledRecords kept;
  {
    const auto consumer = OpenConsumer(cluster, {Assigned("t", 0)});
    std::size_t count = 0;
    while (count < 2) {
      auto polled = consumer->Poll(kPatience);
      REQUIRE(polled.ok());
      REQUIRE(!polled->records().empty());
      count += polled->records().size();
      kept = *std::move(polled);
    }
  }
  const ConsumedRecord& last = kept.records().back();  // the consumer is gone, the record is not
  CHECK(last.topic == "t");
  CHECK(last.offset == Offset(1));
  CHECK(last.timestamp == Timestamp(1'600'000'000'123));
  CHECK(last.key == "");
  CHECK(last.value == "");
  REQUIRE(last.headers.size() == 3);
  CHECK(last.headers[0].value == std::nullopt);
  CHECK(last.headers[1].value == "");
  CHECK(last.headers[2].name == "");
  CHECK(last.headers[2].value == "nameless");
  if (kept.records().size() == 2) {
    CHECK(kept.records()[0].key == std::nullopt);
    CHECK(kept.records()[0].value == std::nullopt);
  }
}

TEST_CASE("Consumer: it reads on as records arrive, and Wake ends a wait", "[client][consumer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  const auto producer = OpenProducer(cluster);
  const auto consumer = OpenConsumer(cluster, {Assigned("t", 0)});
  for (int i = 0; i < 5; ++i) {
    SendValues(*producer, "t", i, i + 1);
    CHECK(ReadValues(*consumer, 1) == Numbers(i, i + 1));
  }
  std::thread waker([&] { consumer->Wake(); });
  const auto polled = consumer->Poll(kPatience);
  waker.join();
  REQUIRE(polled.ok());
  CHECK(polled->empty());
}

TEST_CASE("Consumer: it seeks to offsets, times, the start and the end", "[client][consumer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  const auto producer = OpenProducer(cluster);
  for (int i = 0; i < 100; ++i) {
    const std::string value = absl::StrFormat("%d", i);
    ProduceRecord record = RecordOf(value, 0);
    record.timestamp = Timestamp(1000 + 10 * i);
    REQUIRE(producer->Send("t", record).ok());
  }
  REQUIRE(producer->Flush(kPatience).ok());
  const PartitionIndex partition(0);
  const auto consumer = OpenConsumer(cluster, {Assigned("t", 0, StartPosition::At(Offset(90)))});
  CHECK(ReadValues(*consumer, 3) == Numbers(90, 93));
  REQUIRE(consumer->Seek("t", partition, StartPosition::Earliest()).ok());
  CHECK(ReadValues(*consumer, 100) == Numbers(0, 100));
  REQUIRE(consumer->Seek("t", partition, StartPosition::AtTime(Timestamp(1495))).ok());
  CHECK(ReadValues(*consumer, 10) == Numbers(50, 60));
  REQUIRE(consumer->Seek("t", partition, StartPosition::At(Offset(7))).ok());
  CHECK(*consumer->Position("t", partition) == Offset(7));
  CHECK(ReadValues(*consumer, 2) == Numbers(7, 9));
  CHECK(*consumer->Position("t", partition) == Offset(9));
  CHECK(*consumer->CommittedEnd("t", partition) == Offset(100));
  REQUIRE(consumer->Seek("t", partition, StartPosition::Latest()).ok());
  while (!consumer->Position("t", partition)->has_value()) {
    REQUIRE(consumer->Poll(10ms).ok());  // until the end is known
  }
  SendValues(*producer, "t", 100, 101);
  CHECK(ReadValues(*consumer, 1) == Numbers(100, 101));
  CHECK(absl::IsNotFound(consumer->Seek("t", PartitionIndex(1), StartPosition::Latest())));
}

TEST_CASE("Consumer: a paused partition hands out nothing and holds up nobody",
          "[client][consumer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 2);
  const auto producer = OpenProducer(cluster);
  SendValues(*producer, "t", 0, 1000, 0);
  SendValues(*producer, "t", 1000, 3000, 1);
  ConsumerOptions options;
  options.prefetch_bytes = 2000;
  const auto consumer = OpenConsumer(cluster, {Assigned("t", 0), Assigned("t", 1)}, options);
  REQUIRE(consumer->Pause("t", PartitionIndex(0)).ok());
  CHECK(ReadValues(*consumer, 2000) == Numbers(1000, 3000));
  REQUIRE(consumer->Resume("t", PartitionIndex(0)).ok());
  CHECK(ReadValues(*consumer, 1000) == Numbers(0, 1000));
}

TEST_CASE("Consumer: the smallest prefetch still reads everything", "[client][consumer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  const auto producer = OpenProducer(cluster);
  SendValues(*producer, "t", 0, 2000);
  ConsumerOptions options;
  options.prefetch_bytes = 1;
  const auto consumer = OpenConsumer(cluster, {ToPresentEnd("t", 0)}, options);
  std::vector<ConsumerEvent> events;
  CHECK(ReadValues(*consumer, 2001, &events) == Numbers(0, 2000));
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == Kind::kEnd);
  CHECK(consumer->finished());
}

TEST_CASE("Consumer: an offset outside the log is an error that names the range, or a new start",
          "[client][consumer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  const auto producer = OpenProducer(cluster);
  SendValues(*producer, "t", 0, 10);
  const auto beyond = ToPresentEnd("t", 0, StartPosition::At(Offset(11)));
  ConsumerOptions options;
  SECTION("an error") {
    const auto consumer = OpenConsumer(cluster, {beyond}, options);
    std::vector<ConsumerEvent> events;
    CHECK(ReadValues(*consumer, 1, &events).empty());
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == Kind::kFailed);
    CHECK(absl::IsOutOfRange(events[0].status));
    CHECK(std::string(events[0].status.message()).find("10") != std::string::npos);
  }
  SECTION("the start") {
    options.out_of_range = ConsumerOptions::OutOfRange::kEarliest;
    const auto consumer = OpenConsumer(cluster, {beyond}, options);
    CHECK(ReadValues(*consumer, 10) == Numbers(0, 10));
  }
}

TEST_CASE("Consumer: records that were trimmed are skipped with an event where that is allowed",
          "[client][consumer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  const auto producer = OpenProducer(cluster);
  SendValues(*producer, "t", 0, 10);
  REQUIRE(*Admin(cluster).TrimTopic("t", PartitionIndex(0), Offset(4)) == Offset(4));
  ConsumerOptions options;
  options.out_of_range = ConsumerOptions::OutOfRange::kEarliest;
  const auto consumer =
      OpenConsumer(cluster, {ToPresentEnd("t", 0, StartPosition::At(Offset(1)))}, options);
  std::vector<ConsumerEvent> events;
  CHECK(ReadValues(*consumer, 11, &events) == Numbers(4, 10));
  REQUIRE(events.size() == 2);
  CHECK(events[0].kind == Kind::kTrimmed);
  CHECK(events[0].from == Offset(1));
  CHECK(events[0].to == Offset(4));
}

TEST_CASE("Consumer: a topic that is deleted under a reader is told to it", "[client][consumer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  const auto consumer = OpenConsumer(cluster, {Assigned("t", 0)});
  while (!consumer->Position("t", PartitionIndex(0))->has_value()) {
    REQUIRE(consumer->Poll(10ms).ok());
  }
  REQUIRE(Admin(cluster).DeleteTopic("t").ok());
  std::vector<ConsumerEvent> events;
  CHECK(ReadValues(*consumer, 1, &events).empty());
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == Kind::kFailed);
  CHECK(absl::IsNotFound(events[0].status));
  CHECK(consumer->finished());
}

TEST_CASE("Consumer: broken connections are resumed where reading stands",
          "[client][consumer][proxy]") {
  RunningServer server;
  test::LossyProxy proxy(
      {.broker_port = server.port(), .seed = 3, .drop_one_in = 6, .cut_one_in = 6});
  const auto direct = ClusterAt(server.port());
  CreateTopic(direct, "t", 1);
  const auto producer = OpenProducer(direct);
  // Many batches, whatever the machine's speed, and room for few of them: many frames.
  for (int i = 0; i < 20'000; i += 200) SendValues(*producer, "t", i, i + 200);
  ConsumerOptions options;
  options.prefetch_bytes = 2'000;
  const auto consumer = OpenConsumer(ClusterAt(proxy.port()), {ToPresentEnd("t", 0)}, options);
  CHECK(ReadValues(*consumer, 20'001) == Numbers(0, 20'000));
  CHECK(proxy.counts().connections > 1);
}

TEST_CASE("Consumer: unknown topics and partitions cannot be assigned", "[client][consumer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  const auto consumer = *Consumer::Open(cluster, ConsumerOptions());
  CHECK(absl::IsNotFound(consumer->Assign({Assigned("nowhere", 0)}, kPatience)));
  CHECK(absl::IsNotFound(consumer->Assign({Assigned("t", 1)}, kPatience)));
}

}  // namespace cairn::client
