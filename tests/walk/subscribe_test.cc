// Consuming through the socket: where a subscription begins and ends, what credit does, who is
// woken.

#include <set>
#include <thread>

#include <catch2/catch.hpp>

#include "protocol/limits.h"
#include "tests/walk/running_server.h"

namespace cairn::test {
namespace {

using wire::StartAt;

// A broker, one client, and a topic of one partition with ten records of distinct times, five
// batches.
class TenRecords {
 public:
  static constexpr std::int64_t kTime = 1'700'000'000'000;

  TenRecords() : client(server.Connect()), topic(client.CreateTopic("orders", 1)) {
    for (int i = 0; i < 10; i += 2) {
      client.Produce(topic, 0,
                     MakeBatch({.first = i, .count = 2, .time = Timestamp(kTime + 10 * i)}));
    }
  }

  RunningServer server;
  RawClient client;
  TopicId topic;
};

// Offsets from `start` on of a bounded subscription, until it ends well.
std::vector<std::int64_t> OffsetsUntilEnd(RawClient& client, std::int64_t start,
                                          std::int64_t stop = INT64_MAX) {
  std::vector<std::int64_t> offsets;
  for (;;) {
    const auto frame = client.Take();
    if (frame.kind() == wire::Body::SubscriptionEnded) {
      const auto& ended = frame.as<wire::SubscriptionEnded>();
      INFO(FromWire(ended.message()));
      CHECK(ended.code() == 0);
      return offsets;
    }
    frame.as<wire::Batches>();
    for (const ReadRecord& record : RecordsOf(frame.attachment())) {
      CHECK(record.value == "value-" + std::to_string(record.offset));
      if (record.offset >= start && record.offset < stop) offsets.push_back(record.offset);
    }
  }
}

std::vector<std::int64_t> Range(std::int64_t from, std::int64_t to) {
  std::vector<std::int64_t> all;
  for (std::int64_t i = from; i < to; ++i) all.push_back(i);
  return all;
}

// The next push must be of this subscription, and begin with this record.
void RequirePush(RawClient& client, std::uint32_t subscription, std::int64_t offset) {
  const auto frame = client.Take();
  REQUIRE(frame.as<wire::Batches>().subscription() == subscription);
  const auto records = RecordsOf(frame.attachment());
  REQUIRE_FALSE(records.empty());
  CHECK(records.front().offset == offset);
}

void Ping(RawClient& client) {
  CHECK(client.Ask(wire::CreatePing(client.builder())).kind() == wire::Body::Pong);
}

}  // namespace

TEST_CASE("Subscribe: bounded reads begin and end where they should", "[walk]") {
  TenRecords t;
  SECTION("from the earliest") {
    const auto reply =
        t.client.AskSubscribe(t.topic, 0, {.start_at = StartAt::Earliest, .to_present_end = true});
    CHECK(reply.as<wire::Subscribed>().start_offset() == 0);
    CHECK(reply.as<wire::Subscribed>().log_start() == 0);
    CHECK(reply.as<wire::Subscribed>().committed_end() == 10);
    CHECK(reply.as<wire::Subscribed>().stop_offset() == 10);
    CHECK(OffsetsUntilEnd(t.client, 0) == Range(0, 10));
  }
  SECTION("from every offset, the end included") {
    for (std::int64_t offset = 0; offset <= 10; ++offset) {
      t.client.AskSubscribe(t.topic, 0, {.offset = offset, .to_present_end = true})
          .as<wire::Subscribed>();
      CHECK(OffsetsUntilEnd(t.client, offset) == Range(offset, 10));
    }
  }
  SECTION("up to every offset") {
    for (std::int64_t stop = 0; stop <= 10; ++stop) {
      t.client.AskSubscribe(t.topic, 0, {.stop = stop}).as<wire::Subscribed>();
      CHECK(OffsetsUntilEnd(t.client, 0, stop) == Range(0, stop));
    }
  }
  SECTION("the nearer of two ends holds") {
    const auto reply = t.client.AskSubscribe(t.topic, 0, {.to_present_end = true, .stop = 1000});
    CHECK(reply.as<wire::Subscribed>().stop_offset() == 10);
    CHECK(OffsetsUntilEnd(t.client, 0) == Range(0, 10));
  }
  SECTION("without credit an empty range still ends") {
    t.client.AskSubscribe(t.topic, 0, {.offset = 10, .credit = 0, .to_present_end = true})
        .as<wire::Subscribed>();
    CHECK(OffsetsUntilEnd(t.client, 10).empty());
  }
}

TEST_CASE("Subscribe: a time is the first record at or after it", "[walk]") {
  TenRecords t;
  const auto start_at = [&](std::int64_t time) {
    const auto reply = t.client.AskSubscribe(
        t.topic, 0, {.start_at = StartAt::Timestamp, .timestamp = time, .to_present_end = true});
    const std::int64_t start = reply.as<wire::Subscribed>().start_offset();
    CHECK(OffsetsUntilEnd(t.client, start) == Range(start, 10));
    return start;
  };
  CHECK(start_at(0) == 0);
  CHECK(start_at(TenRecords::kTime) == 0);
  CHECK(start_at(TenRecords::kTime + 1) == 1);
  CHECK(start_at(TenRecords::kTime + 2) == 2);
  CHECK(start_at(TenRecords::kTime + 81) == 9);
  CHECK(start_at(TenRecords::kTime + 82) == 10);
}

TEST_CASE("Subscribe: an offset out of range is refused and the range named", "[walk]") {
  TenRecords t;
  for (const std::int64_t offset : {std::int64_t{11}, std::int64_t{-1}, INT64_MAX, INT64_MIN}) {
    const auto reply = t.client.AskSubscribe(t.topic, 0, {.offset = offset});
    CHECK(NameOf(reply.code()) == "OFFSET_OUT_OF_RANGE");
    CHECK_THAT(reply.text(),
               Catch::Contains("orders") && Catch::Contains("from 0") && Catch::Contains("10"));
  }
  // The number is free again.
  t.client.AskSubscribe(t.topic, 0, {.offset = 3}).as<wire::Subscribed>();
}

TEST_CASE("Subscribe: unknown topics, partitions and ways to start are refused", "[walk]") {
  TenRecords t;
  CHECK(NameOf(t.client.AskSubscribe(NewTopicId(), 0, {}).code()) == "UNKNOWN_TOPIC");
  CHECK(NameOf(t.client.AskSubscribe(t.topic, 1, {}).code()) == "UNKNOWN_PARTITION");
  CHECK(NameOf(t.client.AskSubscribe(t.topic, 0, {.start_at = static_cast<StartAt>(9)}).code()) ==
        "INVALID_REQUEST");
}

TEST_CASE("Subscribe: a number in use is refused until it is free", "[walk]") {
  TenRecords t;
  t.client.AskSubscribe(t.topic, 0, {.id = 7, .credit = 0}).as<wire::Subscribed>();
  CHECK(NameOf(t.client.AskSubscribe(t.topic, 0, {.id = 7}).code()) == "DUPLICATE_SUBSCRIPTION");
  t.client.Ask(wire::CreateUnsubscribe(t.client.builder(), 7)).as<wire::Unsubscribed>();
  t.client.AskSubscribe(t.topic, 0, {.id = 7, .credit = 0}).as<wire::Subscribed>();
}

TEST_CASE("Subscribe: new records are pushed as they become visible", "[walk]") {
  TenRecords t;
  RawClient consumer = t.server.Connect();
  const auto reply = consumer.AskSubscribe(t.topic, 0, {.start_at = StartAt::Latest});
  CHECK(reply.as<wire::Subscribed>().start_offset() == 10);
  for (int i = 10; i < 60; ++i) {
    t.client.Produce(t.topic, 0, MakeBatch({.first = i}));
    RequirePush(consumer, 1, i);
  }
}

TEST_CASE("Subscribe: on a written topic records are visible before they are durable", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic =
      client.CreateTopic("fast", 1, {{"durability", "written"}, {"flush.ms", "60000"}});
  client.AskSubscribe(topic, 0, {.start_at = StartAt::Latest}).as<wire::Subscribed>();
  const wire::Uuid id = ToWire(topic);
  client.Send(50, wire::CreateProduce(client.builder(), &id, 0), MakeBatch({}));
  const auto produced = client.TakeReply(50);
  CHECK(produced.as<wire::Produced>().durability() == wire::Durability::Written);
  RequirePush(client, 1, 0);
}

TEST_CASE("Subscribe: two subscriptions are served side by side", "[walk]") {
  TenRecords t;
  t.client.AskSubscribe(t.topic, 0, {.id = 1, .offset = 10}).as<wire::Subscribed>();
  t.client.AskSubscribe(t.topic, 0, {.id = 2, .offset = 10}).as<wire::Subscribed>();
  RawClient producer = t.server.Connect();
  producer.Produce(t.topic, 0, MakeBatch({.first = 10}));
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 2; ++i) seen.insert(t.client.Take().as<wire::Batches>().subscription());
  CHECK(seen == std::set<std::uint32_t>{1, 2});
}

TEST_CASE("Subscribe: without credit nothing is pushed, and each grant is used once", "[walk]") {
  TenRecords t;
  t.client.AskSubscribe(t.topic, 0, {.credit = 0}).as<wire::Subscribed>();
  Ping(t.client);
  CHECK_FALSE(t.client.HasBytes());

  // One byte of credit brings one whole batch, and leaves the credit below zero by the rest of it.
  t.client.SendCredit(1, 1);
  const auto first = t.client.Take();
  CHECK(RecordsOf(first.attachment()).size() == 2);
  const std::size_t batch = first.attachment().size();
  t.client.SendCredit(1, batch - 1);
  Ping(t.client);
  CHECK_FALSE(t.client.HasBytes());

  t.client.SendCredit(1, 1);
  const auto second = t.client.Take();
  CHECK(RecordsOf(second.attachment()).front().offset == 2);
  t.client.SendCredit(1, std::uint64_t{0} - 1);
  std::vector<std::int64_t> rest;
  while (rest.size() < 6) {
    const auto frame = t.client.Take();
    for (const auto& record : RecordsOf(frame.attachment())) rest.push_back(record.offset);
  }
  CHECK(rest == Range(4, 10));
}

TEST_CASE("Subscribe: credit for what is not there is ignored", "[walk]") {
  TenRecords t;
  t.client.SendCredit(77, 1000);
  Ping(t.client);
}

TEST_CASE("Subscribe: nothing follows Unsubscribed", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  for (int i = 0; i < 40; ++i) {
    client.Produce(topic, 0, MakeBatch({.first = i, .value_bytes = 100'000}));
  }
  client.AskSubscribe(topic, 0, {.id = 3}).as<wire::Subscribed>();
  client.Send(500, wire::CreateUnsubscribe(client.builder(), 3));
  for (;;) {
    const auto frame = client.Take();
    if (frame.correlation() == 500) break;
    CHECK(frame.as<wire::Batches>().subscription() == 3);
  }
  Ping(client);
  CHECK_FALSE(client.HasBytes());
  // One that never was is answered all the same.
  client.Ask(wire::CreateUnsubscribe(client.builder(), 99)).as<wire::Unsubscribed>();
}

TEST_CASE("Subscribe: an unsubscribe overtakes the search for its start", "[walk]") {
  TenRecords t;
  const wire::Uuid id = ToWire(t.topic);
  Bytes both;
  AppendBytes(both, t.client.Encode(501, wire::CreateSubscribe(t.client.builder(), 5, &id, 0,
                                                               StartAt::Timestamp, 0,
                                                               TenRecords::kTime, -1, 1000)));
  AppendBytes(both, t.client.Encode(502, wire::CreateUnsubscribe(t.client.builder(), 5)));
  t.client.SendBytes(both);
  CHECK(t.client.TakeReply(501).code() == ErrorCode::kInvalidRequest);
  t.client.TakeReply(502).as<wire::Unsubscribed>();
  Ping(t.client);
  CHECK_FALSE(t.client.HasBytes());
}

TEST_CASE("Subscribe: a deleted topic ends its subscriptions", "[walk]") {
  TenRecords t;
  t.client.AskSubscribe(t.topic, 0, {.offset = 10}).as<wire::Subscribed>();
  RawClient admin = t.server.Connect();
  const auto name = admin.builder().CreateString("orders");
  admin.Ask(wire::CreateDeleteTopic(admin.builder(), name)).as<wire::TopicDeleted>();
  const auto frame = t.client.Take();
  const auto& ended = frame.as<wire::SubscriptionEnded>();
  CHECK(NameOf(static_cast<ErrorCode>(ended.code())) == "UNKNOWN_TOPIC");
  CHECK(NameOf(t.client.AskProduce(t.topic, 0, MakeBatch({})).code()) == "UNKNOWN_TOPIC");
}

TEST_CASE("Subscribe: a reader overtaken by a trim is told what it lost", "[walk]") {
  TenRecords t;
  t.client.AskSubscribe(t.topic, 0, {.id = 4, .offset = 1, .credit = 0}).as<wire::Subscribed>();
  RawClient admin = t.server.Connect();
  const auto name = admin.builder().CreateString("orders");
  CHECK(admin.Ask(wire::CreateTrimTopic(admin.builder(), name, 0, 6))
            .as<wire::TopicTrimmed>()
            .log_start() == 6);
  t.client.SendCredit(4, 1000);
  const auto frame = t.client.Take();
  const auto& ended = frame.as<wire::SubscriptionEnded>();
  CHECK(NameOf(static_cast<ErrorCode>(ended.code())) == "TRIMMED");
  CHECK(ended.from() == 1);
  CHECK(ended.to() == 6);
  CHECK(ended.next_offset() == 6);
  t.client.AskSubscribe(t.topic, 0, {.id = 4, .offset = 6, .to_present_end = true})
      .as<wire::Subscribed>();
  CHECK(OffsetsUntilEnd(t.client, 6) == Range(6, 10));
}

TEST_CASE("Subscribe: what lies in cold segments is read after a restart", "[walk]") {
  RunningServer server;
  TopicId topic;
  {
    RawClient client = server.Connect();
    topic = client.CreateTopic("orders", 1, {{"segment.bytes", std::to_string(1 << 20)}});
    for (int i = 0; i < 60; ++i) {
      client.Produce(topic, 0, MakeBatch({.first = i, .value_bytes = 100'000}));
    }
  }
  server.Restart();
  RawClient client = server.Connect();
  for (const std::int64_t start : {0, 9, 10, 11, 35, 59}) {
    client.AskSubscribe(topic, 0, {.offset = start, .to_present_end = true}).as<wire::Subscribed>();
    std::int64_t next = start;
    for (;;) {
      const auto frame = client.Take();
      if (frame.kind() == wire::Body::SubscriptionEnded) break;
      CHECK(frame.attachment().size() <= kDataFrameBytesMax);
      for (const auto& record : RecordsOf(frame.attachment())) {
        if (record.offset >= start) CHECK(record.offset == next++);
      }
    }
    CHECK(next == 60);
  }
}

TEST_CASE("Subscribe: a peer that takes nothing costs bounded memory and nobody else", "[walk]") {
  RunningServer server;
  RawClient producer = server.Connect();
  const TopicId topic = producer.CreateTopic("orders", 1);
  RawClient lazy = server.Connect();
  lazy.AskSubscribe(topic, 0, {.id = 1}).as<wire::Subscribed>();
  RawClient eager = server.Connect();
  eager.AskSubscribe(topic, 0, {.id = 2}).as<wire::Subscribed>();
  // Far more than the kernel's buffers and the broker's queue hold.
  std::int64_t received = 0;
  for (int i = 0; i < 100; ++i) {
    producer.Produce(topic, 0, MakeBatch({.first = i, .value_bytes = 500'000}));
    const auto frame = eager.Take();
    for (const auto& record : RecordsOf(frame.attachment())) CHECK(record.offset == received++);
  }
  CHECK(received == 100);
  // And it finds everything when it comes round to reading.
  std::int64_t next = 0;
  while (next < 100) {
    const auto frame = lazy.Take();
    for (const auto& record : RecordsOf(frame.attachment())) REQUIRE(record.offset == next++);
  }
}

TEST_CASE("Subscribe: a peer that takes nothing for too long is closed", "[walk]") {
  broker::ServerOptions options;
  options.connections.write_timeout = std::chrono::milliseconds(300);
  RunningServer server(options);
  RawClient producer = server.Connect();
  const TopicId topic = producer.CreateTopic("orders", 1);
  for (int i = 0; i < 60; ++i) {
    producer.Produce(topic, 0, MakeBatch({.first = i, .value_bytes = 500'000}));
  }
  {
    RawClient lazy = server.Connect();
    lazy.AskSubscribe(topic, 0, {.id = 1}).as<wire::Subscribed>();
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (server->connections() > 1 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    CHECK(server->connections() == 1);
  }
  Ping(producer);
}

TEST_CASE("Subscribe: control is answered while much data waits", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  for (int i = 0; i < 60; ++i) {
    client.Produce(topic, 0, MakeBatch({.first = i, .value_bytes = 500'000}));
  }
  client.AskSubscribe(topic, 0, {.id = 1}).as<wire::Subscribed>();
  // The answer comes before all of the 30 MB have.
  client.Send(600, wire::CreatePing(client.builder()));
  int batches = 0;
  while (client.Take().correlation() != 600) ++batches;
  CHECK(batches < 60);
}

}  // namespace cairn::test
