// Retention from the topic's config to what a consumer is told.

#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/end_to_end/live_broker.h"

namespace cairn::test {
namespace {

using client::ConsumerEvent;
using client::ConsumerOptions;

broker::ServerOptions OftenRetaining() {
  broker::ServerOptions options;
  options.retention_interval = std::chrono::milliseconds(20);
  return options;
}

const std::map<std::string, std::string> kSmall = {{"segment.bytes", "16384"},
                                                   {"retention.bytes", "16384"}};

void SendMany(std::uint16_t port, int count) {
  client::ProducerOptions options;
  options.batch_bytes = 4096;
  auto producer = client::Producer::Open(ClusterAt(port), options);
  REQUIRE(producer.ok());
  const std::string value(1000, 'x');
  for (int i = 0; i < count; ++i) {
    client::ProduceRecord record;
    record.value = value;
    record.partition = PartitionIndex(0);
    const absl::Status sent = (*producer)->Send("small", record, {});
    REQUIRE(sent.ok());
  }
  const absl::Status flushed = (*producer)->Flush(client::Duration(60'000));
  INFO(flushed);
  REQUIRE(flushed.ok());
}

client::TopicDescription Describe(std::uint16_t port) {
  client::Admin admin(ClusterAt(port));
  auto described = admin.DescribeTopic("small");
  INFO(described.status());
  REQUIRE(described.ok());
  return *std::move(described);
}

// Until retention has dropped what is before `offset`.
Offset WaitForStart(std::uint16_t port, std::int64_t offset) {
  for (;;) {
    const Offset start = Describe(port).partitions[0].log_start;
    if (start >= Offset(offset)) return start;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// Until retention has left less than `bytes`.
client::TopicDescription WaitForBytes(std::uint16_t port, std::int64_t bytes) {
  for (;;) {
    client::TopicDescription described = Describe(port);
    if (described.partitions[0].bytes < bytes) return described;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

std::unique_ptr<client::Consumer> ConsumerFrom(std::uint16_t port, std::int64_t offset,
                                               ConsumerOptions::OutOfRange out_of_range) {
  ConsumerOptions options;
  options.prefetch_bytes = 1;  // so that what is dropped was not fetched before
  options.out_of_range = out_of_range;
  auto consumer = client::Consumer::Open(ClusterAt(port), options);
  REQUIRE(consumer.ok());
  client::Assignment assignment;
  assignment.topic = "small";
  assignment.partition = PartitionIndex(0);
  assignment.start = client::StartPosition::At(Offset(offset));
  const absl::Status assigned = (*consumer)->Assign({assignment}, client::Duration(30'000));
  INFO(assigned);
  REQUIRE(assigned.ok());
  return *std::move(consumer);
}

// Reads until something else than records comes, and checks that no record was passed over on the
// way there.
struct Told {
  ConsumerEvent event;
  Offset next;                    // the record after the last one read before
  std::optional<Offset> resumed;  // the first one read in the same poll, behind the event
};
Told ReadToEvent(client::Consumer& consumer, Offset next) {
  for (;;) {
    auto polled = consumer.Poll(client::Duration(30'000));
    INFO(polled.status());
    REQUIRE(polled.ok());
    REQUIRE_FALSE((polled->records().empty() && polled->events().empty()));
    std::optional<Offset> resumed;
    for (const client::ConsumedRecord& record : polled->records()) {
      if (!resumed.has_value() && record.offset != next && !polled->events().empty()) {
        resumed = record.offset;
        break;
      }
      if (record.offset != next) FAIL("offset " << record.offset.value() << ", nobody was told");
      next = next + 1;
    }
    if (!polled->events().empty()) return {polled->events()[0], next, resumed};
  }
}

}  // namespace

TEST_CASE("Retention: a topic shrinks to retention.bytes, and describe shows it",
          "[end_to_end][retention]") {
  LiveBroker broker(std::filesystem::temp_directory_path(), OftenRetaining());
  CreateTopic(broker.port(), "small", 1, kSmall);
  SendMany(broker.port(), 200);
  const auto described = WaitForBytes(broker.port(), 2 * 16384 + 4096);
  CHECK(described.partitions[0].log_end == Offset(200));
  CHECK(described.partitions[0].log_start >= Offset(150));
  CHECK(described.partitions[0].bytes >= 16384);
  // And it is still so after a restart.
  broker.Stop();
  broker.Start();
  CHECK(Describe(broker.port()).partitions[0].log_start == described.partitions[0].log_start);
}

TEST_CASE("Retention: a topic is emptied by retention.ms, and goes on where it was",
          "[end_to_end][retention]") {
  LiveBroker broker(std::filesystem::temp_directory_path(), OftenRetaining());
  CreateTopic(broker.port(), "small", 1, {{"retention.ms", "1"}});
  SendMany(broker.port(), 10);
  CHECK(WaitForStart(broker.port(), 10) == Offset(10));
  CHECK(Describe(broker.port()).partitions[0].bytes == 0);
  SendMany(broker.port(), 5);
  CHECK(WaitForStart(broker.port(), 15) == Offset(15));
}

TEST_CASE("Retention: a consumer that falls behind the start is told what it missed, and jumps",
          "[end_to_end][retention]") {
  LiveBroker broker(std::filesystem::temp_directory_path(), OftenRetaining());
  CreateTopic(broker.port(), "small", 1, kSmall);
  SendMany(broker.port(), 4);
  const auto consumer = ConsumerFrom(broker.port(), 0, ConsumerOptions::OutOfRange::kEarliest);
  SendMany(broker.port(), 200);
  WaitForStart(broker.port(), 150);
  // Also where the connection breaks meanwhile and it subscribes anew below the start.
  if (GENERATE(false, true)) {
    broker.Stop();
    broker.Start();
  }
  const Told told = ReadToEvent(*consumer, Offset(0));
  CHECK(told.event.kind == ConsumerEvent::Kind::kTrimmed);
  CHECK(told.event.from == told.next);
  CHECK(told.event.to > told.event.from);
  CHECK(told.event.to >= Offset(150));
  if (told.resumed.has_value()) CHECK(*told.resumed == told.event.to);
}

TEST_CASE("Retention: a consumer that asked for an error gets one that names the range",
          "[end_to_end][retention]") {
  LiveBroker broker(std::filesystem::temp_directory_path(), OftenRetaining());
  CreateTopic(broker.port(), "small", 1, kSmall);
  SendMany(broker.port(), 4);
  const auto consumer = ConsumerFrom(broker.port(), 0, ConsumerOptions::OutOfRange::kError);
  SendMany(broker.port(), 200);
  const Offset start = WaitForStart(broker.port(), 150);
  if (GENERATE(false, true)) {
    broker.Stop();
    broker.Start();
  }
  const Told told = ReadToEvent(*consumer, Offset(0));
  CHECK(told.event.kind == ConsumerEvent::Kind::kFailed);
  CHECK(absl::IsOutOfRange(told.event.status));
  INFO(told.event.status);
  // "… up to 183" or "… from 184": either names it.
  const std::string said(told.event.status.message());
  const bool names_start = said.find(std::to_string(start.value() - 1)) != std::string::npos ||
                           said.find(std::to_string(start.value())) != std::string::npos;
  CHECK(names_start);
}

TEST_CASE("Timestamps: LogAppendTime is the broker's time in the consumer's hands",
          "[end_to_end][retention]") {
  LiveBroker broker;
  const bool compressed = GENERATE(false, true);
  CreateTopic(broker.port(), "small", 1, {{"message.timestamp.type", "LogAppendTime"}});
  client::ProducerOptions options;
  if (compressed) options.codec = Codec::kZstd;
  auto producer = client::Producer::Open(ClusterAt(broker.port()), options);
  REQUIRE(producer.ok());
  client::ProduceRecord record;
  record.value = "far in the future";
  record.timestamp = Timestamp(4'000'000'000'000);
  REQUIRE((*producer)->Send("small", record, {}).ok());
  REQUIRE((*producer)->Flush(client::Duration(30'000)).ok());

  const auto consumer = ConsumerFrom(broker.port(), 0, ConsumerOptions::OutOfRange::kError);
  auto polled = consumer->Poll(client::Duration(30'000));
  REQUIRE(polled.ok());
  REQUIRE(polled->records().size() == 1);
  CHECK(polled->records()[0].value == "far in the future");
  CHECK(polled->records()[0].timestamp < Timestamp(4'000'000'000'000));
  CHECK(polled->records()[0].timestamp > Timestamp(1'600'000'000'000));
}

TEST_CASE("Timestamps: a record from the future is refused, and the producer goes on",
          "[end_to_end][retention]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "small", 1);
  auto producer = client::Producer::Open(ClusterAt(broker.port()), {});
  REQUIRE(producer.ok());
  absl::Status refused;
  client::ProduceRecord record;
  record.value = "far in the future";
  record.timestamp = Timestamp(4'000'000'000'000);
  REQUIRE((*producer)
              ->Send("small", record,
                     [&](const client::Delivery& delivery) { refused = delivery.status; })
              .ok());
  REQUIRE((*producer)->Flush(client::Duration(30'000)).ok());
  INFO(refused);
  CHECK(absl::IsInvalidArgument(refused));
  CHECK(refused.message().find("message.timestamp.after.max.ms") != std::string::npos);
  SendMany(broker.port(), 1);
  record.timestamp = kNoTimestamp;
  absl::Status sent = absl::UnknownError("not told");
  REQUIRE(
      (*producer)
          ->Send("small", record, [&](const client::Delivery& delivery) { sent = delivery.status; })
          .ok());
  REQUIRE((*producer)->Flush(client::Duration(30'000)).ok());
  INFO(sent);
  CHECK(sent.ok());
}

}  // namespace cairn::test
