// Producing through the socket: order, acknowledgements, repeats, and every way to be refused.

#include <map>

#include <catch2/catch.hpp>

#include "protocol/checksum.h"
#include "protocol/record_batch.h"
#include "protocol/record_batch_builder.h"
#include "tests/walk/running_server.h"

namespace cairn::test {
namespace {

std::string CodeName(const RawClient::Frame& frame) { return std::string(NameOf(frame.code())); }

struct Producer {
  std::int64_t id;
  std::int16_t epoch;
};
Producer InitProducer(RawClient& client, std::int64_t id = -1, std::int16_t epoch = -1) {
  const auto reply = client.Ask(wire::CreateInitProducer(client.builder(), id, epoch));
  const auto& ready = reply.as<wire::ProducerReady>();
  return {ready.producer_id(), ready.producer_epoch()};
}

Bytes BatchOf(const Producer& producer, std::int32_t sequence, int count = 1) {
  return MakeBatch({.first = sequence,
                    .count = count,
                    .producer = ProducerId(producer.id),
                    .epoch = producer.epoch,
                    .sequence = sequence});
}

// The checksum, after something in the checksummed part was changed on purpose.
void Reseal(Bytes& batch) {
  StoreBe(MutableBytes(batch), kCrcAt, Crc32c(ByteView(batch).subspan(kAttributesAt)));
}

std::vector<ReadRecord> ReadAll(RawClient& client, const TopicId& topic, std::int32_t partition) {
  client
      .AskSubscribe(topic, partition,
                    {.id = 99, .start_at = wire::StartAt::Earliest, .to_present_end = true})
      .as<wire::Subscribed>();
  std::vector<ReadRecord> all;
  for (;;) {
    const auto frame = client.Take();
    if (frame.kind() == wire::Body::SubscriptionEnded) {
      CHECK(frame.as<wire::SubscriptionEnded>().code() == 0);
      return all;
    }
    frame.as<wire::Batches>();
    for (ReadRecord& record : RecordsOf(frame.attachment())) all.push_back(std::move(record));
  }
}

}  // namespace

TEST_CASE("Produce: each level of acknowledgement says what was reached", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId durable = client.CreateTopic("durable", 1);
  const TopicId written = client.CreateTopic("written", 1, {{"durability", "written"}});
  const Bytes batch = MakeBatch({.count = 2});

  const auto reached = [&](const TopicId& topic, wire::Acks acks) {
    return client.AskProduce(topic, 0, batch, acks).as<wire::Produced>().durability();
  };
  CHECK(reached(durable, wire::Acks::Default) == wire::Durability::Durable);
  CHECK(reached(durable, wire::Acks::Durable) == wire::Durability::Durable);
  CHECK(reached(durable, wire::Acks::Written) >= wire::Durability::Written);
  CHECK(reached(written, wire::Acks::Default) >= wire::Durability::Written);
  CHECK(reached(written, wire::Acks::Durable) == wire::Durability::Durable);
}

TEST_CASE("Produce: acks=none is not answered, and stored all the same", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  const wire::Uuid id = ToWire(topic);
  client.Send(5, wire::CreateProduce(client.builder(), &id, 0, wire::Acks::None),
              MakeBatch({.first = 0}));
  client.Send(0, wire::CreateProduce(client.builder(), &id, 0, wire::Acks::Durable),
              MakeBatch({.first = 1}));
  // The first answer that comes is that of the third.
  const Bytes third = MakeBatch({.first = 2});
  client.Send(6, wire::CreateProduce(client.builder(), &id, 0), third);
  const auto frame = client.Take();
  CHECK(frame.correlation() == 6);
  CHECK(frame.as<wire::Produced>().base_offset() == 2);
  CHECK(ReadAll(client, topic, 0).size() == 3);
}

TEST_CASE("Produce: pipelined batches are appended in the order they were sent", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 3);
  const wire::Uuid id = ToWire(topic);
  constexpr int kBatches = 600;
  Bytes all;
  for (int i = 0; i < kBatches; ++i) {
    const Bytes batch = MakeBatch({.first = i, .count = 1 + i % 3});
    AppendBytes(all, client.Encode(static_cast<std::uint64_t>(i) + 1,
                                   wire::CreateProduce(client.builder(), &id, i % 3), batch));
  }
  client.SendBytes(all);
  std::map<std::uint64_t, std::int64_t> offsets;
  for (int i = 0; i < kBatches; ++i) {
    const auto frame = client.Take();
    offsets[frame.correlation()] = frame.as<wire::Produced>().base_offset();
  }
  std::int64_t next[3] = {0, 0, 0};
  for (int i = 0; i < kBatches; ++i) {
    REQUIRE(offsets[static_cast<std::uint64_t>(i) + 1] == next[i % 3]);
    next[i % 3] += 1 + i % 3;
  }
  for (int p = 0; p < 3; ++p) {
    const auto records = ReadAll(client, topic, p);
    REQUIRE(records.size() == static_cast<std::size_t>(next[p]));
    for (std::size_t i = 0; i < records.size(); ++i) {
      REQUIRE(records[i].offset == static_cast<std::int64_t>(i));
    }
  }
}

TEST_CASE("Produce: a batch larger than any buffer arrives whole", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic =
      client.CreateTopic("large", 1, {{"max.message.bytes", std::to_string(16 << 20)}});
  const Bytes batch = MakeBatch({.count = 10, .value_bytes = 1 << 20});
  // Twice, so that the second meets the buffer the first one needed.
  CHECK(client.Produce(topic, 0, batch).value() == 0);
  CHECK(client.Produce(topic, 0, batch).value() == 10);
  const auto records = ReadAll(client, topic, 0);
  REQUIRE(records.size() == 20);
  for (const ReadRecord& record : records) REQUIRE(record.value.size() == 1 << 20);
}

TEST_CASE("Produce: an unknown topic or partition is named", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 2);
  const Bytes batch = MakeBatch({});
  CHECK(CodeName(client.AskProduce(NewTopicId(), 0, batch)) == "UNKNOWN_TOPIC");
  for (const std::int32_t partition : {2, -1, 1'000'000}) {
    const auto failure = client.AskProduce(topic, partition, batch);
    CHECK(CodeName(failure) == "UNKNOWN_PARTITION");
    CHECK_THAT(failure.text(), Catch::Contains("orders"));
  }
  CHECK(client.Produce(topic, 1, batch).value() == 0);
}

TEST_CASE("Produce: a batch that is not whole and right is refused", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  const Bytes good = MakeBatch({.count = 3});
  const auto refused = [&](const Bytes& batch) {
    return CodeName(client.AskProduce(topic, 0, batch));
  };

  SECTION("nothing") { CHECK(refused({}) == "CORRUPT_BATCH"); }
  SECTION("half of it") {
    Bytes bad = good;
    bad.resize(bad.size() / 2);
    CHECK(refused(bad) == "CORRUPT_BATCH");
  }
  SECTION("one byte more") {
    Bytes bad = good;
    bad.push_back(std::byte{0});
    CHECK(refused(bad) == "CORRUPT_BATCH");
  }
  SECTION("two of them") {
    Bytes bad = good;
    AppendBytes(bad, good);
    CHECK(refused(bad) == "CORRUPT_BATCH");
  }
  SECTION("a wrong checksum") {
    Bytes bad = good;
    bad.back() ^= std::byte{1};
    CHECK(refused(bad) == "CORRUPT_BATCH");
  }
  SECTION("another magic") {
    Bytes bad = good;
    bad[kMagicAt] = std::byte{1};
    CHECK(refused(bad) == "CORRUPT_BATCH");
  }
  SECTION("a wrong count") {
    Bytes bad = good;
    StoreBe<std::int32_t>(MutableBytes(bad), kRecordCountAt, 4);
    Reseal(bad);
    CHECK(refused(bad) == "CORRUPT_BATCH");
  }
  SECTION("a codec nobody speaks here") {
    Bytes bad = good;
    StoreBe<std::uint16_t>(MutableBytes(bad), kAttributesAt, 2);
    Reseal(bad);
    CHECK(refused(bad) == "UNSUPPORTED_CODEC");
  }
  SECTION("too large for the topic") {
    const auto failure =
        client.AskProduce(topic, 0, MakeBatch({.count = 2, .value_bytes = 1 << 20}));
    CHECK(CodeName(failure) == "TOO_LARGE");
    CHECK_THAT(failure.text(), Catch::Contains("max.message.bytes"));
  }
  SECTION("acks of an unknown kind") {
    const wire::Uuid id = ToWire(topic);
    CHECK(CodeName(client.Ask(
              wire::CreateProduce(client.builder(), &id, 0, static_cast<wire::Acks>(9)), good)) ==
          "INVALID_REQUEST");
  }
  // Whatever it was, nothing of it was stored and the connection goes on.
  CHECK(client.Produce(topic, 0, good).value() == 0);
}

TEST_CASE("Produce: the broker's own topics are not for others to write", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  client.CreateTopic("orders", 1);
  const auto reply = client.Ask(wire::CreateMetadata(client.builder(), 0, 0, true));
  std::optional<TopicId> internal;
  for (const auto* topic : *reply.as<wire::MetadataReply>().topics()) {
    if (topic->internal()) internal = FromWire(*topic->id());
  }
  if (internal) CHECK(CodeName(client.AskProduce(*internal, 0, MakeBatch({}))) == "INTERNAL_TOPIC");
}

TEST_CASE("Produce: a repeat is answered with the first offset and stored once", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  const Producer producer = InitProducer(client);
  const Bytes first = BatchOf(producer, 0, 2);
  const Bytes second = BatchOf(producer, 2, 1);
  CHECK(client.Produce(topic, 0, first).value() == 0);
  CHECK(client.Produce(topic, 0, second).value() == 2);
  for (int i = 0; i < 3; ++i) {
    const auto again = client.AskProduce(topic, 0, first);
    CHECK(again.as<wire::Produced>().duplicate());
    CHECK(again.as<wire::Produced>().base_offset() == 0);
  }
  SECTION("also on another connection") {
    RawClient other = server.Connect();
    CHECK(other.AskProduce(topic, 0, second).as<wire::Produced>().duplicate());
  }
  SECTION("also after a restart") {
    server.Restart();
    RawClient other = server.Connect();
    const auto again = other.AskProduce(topic, 0, second);
    CHECK(again.as<wire::Produced>().duplicate());
    CHECK(again.as<wire::Produced>().base_offset() == 2);
    CHECK(ReadAll(other, topic, 0).size() == 3);
    return;
  }
  CHECK(ReadAll(client, topic, 0).size() == 3);
}

TEST_CASE("Produce: gaps, stale epochs and unknown producers are refused", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  const Producer producer = InitProducer(client);
  CHECK(client.Produce(topic, 0, BatchOf(producer, 0)).value() == 0);
  CHECK(CodeName(client.AskProduce(topic, 0, BatchOf(producer, 2))) == "OUT_OF_ORDER_SEQUENCE");

  const Producer stranger = InitProducer(client);
  CHECK(stranger.id != producer.id);
  CHECK(CodeName(client.AskProduce(topic, 0, BatchOf(stranger, 7))) == "UNKNOWN_PRODUCER");

  const Producer renewed = InitProducer(client, producer.id, producer.epoch);
  CHECK(renewed.id == producer.id);
  CHECK(renewed.epoch > producer.epoch);
  CHECK(client.Produce(topic, 0, BatchOf(renewed, 0)).value() == 1);
  CHECK(CodeName(client.AskProduce(topic, 0, BatchOf(producer, 1))) == "STALE_PRODUCER_EPOCH");
}

TEST_CASE("Produce: producer ids are never given out twice, not even after a restart", "[walk]") {
  RunningServer server;
  std::map<std::int64_t, int> seen;
  for (int run = 0; run < 2; ++run) {
    RawClient client = server.Connect();
    for (int i = 0; i < 1200; ++i) ++seen[InitProducer(client).id];
    if (run == 0) server.Restart();
  }
  CHECK(seen.size() == 2400);
}

TEST_CASE("Produce: what was acknowledged is there after a restart", "[walk]") {
  RunningServer server;
  TopicId topic;
  {
    RawClient client = server.Connect();
    topic = client.CreateTopic("orders", 2, {{"segment.bytes", std::to_string(1 << 20)}});
    for (int i = 0; i < 40; ++i) {
      client.Produce(topic, i % 2, MakeBatch({.first = i, .count = 1, .value_bytes = 100'000}));
    }
  }
  server.Restart();
  RawClient client = server.Connect();
  for (int p = 0; p < 2; ++p) {
    const auto records = ReadAll(client, topic, p);
    REQUIRE(records.size() == 20);
    for (std::size_t i = 0; i < records.size(); ++i) {
      CHECK(records[i].offset == static_cast<std::int64_t>(i));
      const std::string begin = "value-" + std::to_string(2 * static_cast<int>(i) + p) + ".";
      CHECK(records[i].value.substr(0, begin.size()) == begin);
    }
  }
  CHECK(client.Produce(topic, 0, MakeBatch({})).value() == 20);
}

}  // namespace cairn::test
