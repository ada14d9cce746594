#include <atomic>
#include <mutex>
#include <random>

#include "protocol/partitioner.h"
#include "tests/client/walk.h"
#include "tests/support/lossy_proxy.h"

namespace cairn::client {

using test::LossyProxy;
using test::RunningServer;

TEST_CASE("Producer: a record goes to the partition its key names, with dense offsets in order",
          "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 3);
  const auto producer = OpenProducer(cluster);
  std::map<int, std::vector<std::int64_t>> offsets;  // written by the I/O thread until Flush
  int misplaced = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string key = absl::StrFormat("key %d", i % 50);
    const PartitionIndex expected = PartitionForKey(AsBytes(key), 3);
    ProduceRecord record = RecordOf("value");
    record.key = key;
    REQUIRE(producer
                ->Send("t", record,
                       [&, expected](const Delivery& delivery) {
                         if (delivery.partition != expected || !delivery.status.ok()) ++misplaced;
                         offsets[expected.value()].push_back(delivery.offset.value());
                       })
                .ok());
  }
  REQUIRE(producer->Flush(kPatience).ok());
  CHECK(misplaced == 0);
  std::size_t total = 0;
  for (const auto& [partition, of_partition] : offsets) {
    total += of_partition.size();
    for (std::size_t i = 0; i < of_partition.size(); ++i) {
      REQUIRE(of_partition[i] == static_cast<std::int64_t>(i));
    }
  }
  CHECK(total == 1000);
}

TEST_CASE("Producer: the durability that was reached is told", "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "durable", 1);
  CreateTopic(cluster, "written", 1, {{"durability", "written"}});
  const auto reached = [&](const std::string& topic, Acks acks) {
    ProducerOptions options;
    options.acks = acks;
    const auto delivery = OpenProducer(cluster, options)->SendAndWait(topic, RecordOf("x"));
    REQUIRE(delivery.ok());
    CHECK(delivery->status.ok());
    CHECK((delivery->offset == kNoOffset) == (acks == Acks::kNone));
    return delivery->durability;
  };
  CHECK(reached("durable", Acks::kDefault) == Durability::kDurable);
  CHECK(reached("durable", Acks::kWritten) == Durability::kWritten);
  CHECK(reached("durable", Acks::kNone) == Durability::kNone);
  CHECK(reached("written", Acks::kDefault) == Durability::kWritten);
  CHECK(reached("written", Acks::kDurable) == Durability::kDurable);
}

TEST_CASE("Producer: unknown topics and partitions are refused by Send", "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 2);
  const auto producer = OpenProducer(cluster);
  CHECK(absl::IsNotFound(producer->Send("nowhere", RecordOf("x"))));
  CHECK(absl::IsNotFound(producer->Send("t", RecordOf("x", 2))));
  CHECK(producer->Send("t", RecordOf("x", 1)).ok());

  REQUIRE(Admin(cluster).AlterTopic("t", {}, 3, true).ok());
  CHECK(producer->Send("t", RecordOf("x", 2)).ok());  // it has grown meanwhile
  CHECK(producer->Flush(kPatience).ok());
}

TEST_CASE("Producer: what max.message.bytes allows is accepted, with every codec",
          "[client][producer]") {
  const Codec codec = GENERATE(Codec::kNone, Codec::kLz4, Codec::kZstd);
  constexpr std::size_t kBytesMax = 100'000;
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1, {{"max.message.bytes", absl::StrFormat("%d", kBytesMax)}});
  ProducerOptions options;
  options.codec = codec;
  const auto producer = OpenProducer(cluster, options);

  std::mt19937 random(1);
  std::string noise(kBytesMax, '\0');  // cannot be compressed
  for (char& c : noise) c = static_cast<char>(random());
  CHECK(absl::IsInvalidArgument(producer->Send("t", RecordOf(noise))));
  for (const std::size_t size : {kBytesMax - 110, kBytesMax / 2, kBytesMax / 3, std::size_t{10}}) {
    const auto delivery =
        producer->SendAndWait("t", RecordOf(std::string_view(noise).substr(0, size)));
    INFO(size << " " << delivery.status());
    REQUIRE(delivery.ok());
    CHECK(delivery->status.ok());
  }
}

TEST_CASE("Producer: a full buffer fails or blocks, and closing answers for every record",
          "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  ProducerOptions options;
  options.buffer_bytes_max = 10'000;
  options.block_timeout = 20ms;
  options.when_full = GENERATE(WhenFull::kFail, WhenFull::kBlock);
  // The cluster knows the topic from now on.
  REQUIRE(OpenProducer(cluster)->SendAndWait("t", RecordOf("first")).ok());
  server.Stop();
  const auto producer = OpenProducer(cluster, options);

  const std::string value(1000, 'x');
  int accepted = 0, answered = 0, in_log = 0;
  absl::Status status;
  while (true) {
    status = producer->Send("t", RecordOf(value), [&](const Delivery& delivery) {
      ++answered;
      in_log += delivery.outcome == Delivery::Outcome::kAppended;
    });
    if (!status.ok()) break;
    REQUIRE(++accepted < 11);
  }
  CHECK(accepted >= 8);
  CHECK(status.code() == (options.when_full == WhenFull::kFail
                              ? absl::StatusCode::kResourceExhausted
                              : absl::StatusCode::kDeadlineExceeded));
  CHECK(absl::IsDeadlineExceeded(producer->Close(1ms)));
  CHECK(answered == accepted);
  CHECK(in_log == 0);
  CHECK(absl::IsFailedPrecondition(producer->Send("t", RecordOf("x"))));
}

TEST_CASE("Producer: without a broker a record is given up when its time is over",
          "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  ProducerOptions options;
  options.delivery_timeout = 50ms;
  // The cluster knows the topic from now on.
  REQUIRE(OpenProducer(cluster)->SendAndWait("t", RecordOf("first")).ok());
  server.Stop();
  const auto producer = OpenProducer(cluster, options);
  const auto delivery = producer->SendAndWait("t", RecordOf("x"));
  REQUIRE(delivery.ok());
  CHECK(absl::IsDeadlineExceeded(delivery->status));
  CHECK(delivery->outcome != Delivery::Outcome::kAppended);
}

TEST_CASE("Producer: a topic that is deleted and made again is another topic",
          "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 2);
  const auto producer = OpenProducer(cluster);
  REQUIRE(producer->SendAndWait("t", RecordOf("old", 1)).ok());
  Admin other(ClusterAt(server.port()));  // what this producer does not hear of
  REQUIRE(other.DeleteTopic("t").ok());
  const auto lost = producer->SendAndWait("t", RecordOf("between", 1));
  REQUIRE(lost.ok());
  CHECK(absl::IsNotFound(lost->status));
  CHECK(lost->outcome == Delivery::Outcome::kRefused);
  CHECK(absl::IsNotFound(producer->Send("t", RecordOf("between"))));

  REQUIRE(other.CreateTopic("t", 2, {}).ok());
  const auto delivery = producer->SendAndWait("t", RecordOf("new", 1));
  REQUIRE(delivery.ok());
  CHECK(delivery->status.ok());
  CHECK(delivery->offset == Offset(0));
}

TEST_CASE(
    "Producer: records of batches that were given up before they were sent came back in others",
    "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  ProducerOptions options;
  options.when_full = WhenFull::kFail;
  options.batch_bytes = 1;  // each record is a batch
  options.in_flight_max = 1;
  const auto producer = OpenProducer(cluster, options);
  std::atomic<int> refused = 0;
  // In a callback, so that all of them wait behind the first one.
  const auto send_ten = [&](const Delivery&) {
    for (int i = 0; i < 10; ++i) {
      CHECK(producer
                ->Send("t", RecordOf("lost"),
                       [&](const Delivery& delivery) {
                         refused += delivery.outcome == Delivery::Outcome::kRefused;
                       })
                .ok());
    }
  };
  Admin other(ClusterAt(server.port()));  // what this producer does not hear of
  REQUIRE(producer->SendAndWait("t", RecordOf("old")).ok());
  REQUIRE(other.DeleteTopic("t").ok());
  CreateTopic(cluster, "other", 1);
  REQUIRE(producer->Send("other", RecordOf("x"), send_ten).ok());
  REQUIRE(producer->Flush(kPatience).ok());
  REQUIRE(producer->Flush(kPatience).ok());  // of those sent in the callback
  REQUIRE(refused == 10);

  REQUIRE(other.CreateTopic("t", 1, {}).ok());
  REQUIRE(producer->SendAndWait("t", RecordOf("new")).ok());
  const auto end = other.Offsets("t");
  REQUIRE(end.ok());
  CHECK(end->at(0).committed_end == Offset(1));
}

TEST_CASE("Producer: batches behind as many as may be on the wire are larger",
          "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  for (const char* topic : {"t", "behind", "at-once"}) CreateTopic(cluster, topic, 1);
  const std::string value(100, 'v');
  constexpr int kRecords = 400;
  constexpr std::int64_t kBatches = kRecords / 8;  // at once: so many records fill one
  ProducerOptions options;
  options.when_full = WhenFull::kFail;
  options.batch_bytes = 1000;
  const auto producer = OpenProducer(cluster, options);
  for (int i = 0; i < kRecords; ++i) {
    REQUIRE(producer->Send("at-once", RecordOf(value)).ok());
    if (i % 8 == 7) REQUIRE(producer->Flush(kPatience).ok());
  }
  // The cluster knows the topic from now on; in the callback nothing is delivered.
  REQUIRE(producer->SendAndWait("behind", RecordOf(value)).ok());
  const auto send_all = [&](const Delivery&) {
    for (int i = 1; i < kRecords; ++i) CHECK(producer->Send("behind", RecordOf(value)).ok());
  };
  REQUIRE(producer->Send("t", RecordOf("x"), send_all).ok());
  REQUIRE(producer->Flush(kPatience).ok());
  REQUIRE(producer->Flush(kPatience).ok());  // of those sent in the callback

  Admin admin(cluster);
  const auto at_once = admin.DescribeTopic("at-once");
  const auto behind = admin.DescribeTopic("behind");
  REQUIRE(at_once.ok());
  REQUIRE(behind.ok());
  CHECK(behind->partitions[0].log_end == Offset(kRecords));
  // The same records; what differs is the headers of batches.
  const std::int64_t fewer = at_once->partitions[0].bytes - behind->partitions[0].bytes;
  CHECK(fewer > kBatches / 2 * static_cast<std::int64_t>(kBatchHeaderBytes));
}

TEST_CASE("Producer: a delivery callback may send", "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  ProducerOptions options;
  options.when_full = WhenFull::kFail;
  const auto producer = OpenProducer(cluster, options);
  std::mutex mutex;
  std::condition_variable done;
  int delivered = 0;
  std::function<void(const Delivery&)> again = [&](const Delivery& delivery) {
    const std::lock_guard lock(mutex);
    if (!delivery.status.ok() || ++delivered == 100) return done.notify_one();
    if (!producer->Send("t", RecordOf("x"), again).ok()) done.notify_one();
  };
  REQUIRE(producer->Send("t", RecordOf("x"), again).ok());
  std::unique_lock lock(mutex);
  CHECK(done.wait_for(lock, kPatience, [&] { return delivered == 100; }));
}

TEST_CASE("Producer: acks=none hands everything over, in order", "[client][producer]") {
  RunningServer server;
  const auto cluster = ClusterAt(server.port());
  CreateTopic(cluster, "t", 1);
  ProducerOptions options;
  options.acks = Acks::kNone;
  const auto producer = OpenProducer(cluster, options);
  SendValues(*producer, "t", 0, 5000);
  const auto consumer = OpenConsumer(cluster, {Assigned("t", 0)});
  CHECK(ReadValues(*consumer, 5000) == Numbers(0, 5000));
}

TEST_CASE("Producer: lost answers and broken connections neither lose, duplicate nor reorder",
          "[client][producer][proxy]") {
  RunningServer server;
  LossyProxy proxy({.broker_port = server.port(), .seed = 7, .drop_one_in = 10, .cut_one_in = 50});
  const auto direct = ClusterAt(server.port());
  const auto lossy = ClusterAt(proxy.port());
  CreateTopic(direct, "t", 1);
  ProducerOptions options;
  options.batch_bytes = 500;  // many small batches, many answers
  const auto producer = OpenProducer(lossy, options);
  constexpr int kRecords = 20'000;
  std::atomic<int> appended{0};
  for (int i = 0; i < kRecords; ++i) {
    const std::string value = absl::StrFormat("%d", i);
    REQUIRE(producer
                ->Send("t", RecordOf(value),
                       [&](const Delivery& delivery) { appended += delivery.status.ok(); })
                .ok());
  }
  REQUIRE(producer->Flush(120s).ok());
  CHECK(appended == kRecords);
  CHECK(proxy.counts().dropped > 0);
  // And reading goes on through the same bad connection.
  const auto consumer = OpenConsumer(lossy, {ToPresentEnd("t", 0)});
  CHECK(ReadValues(*consumer, kRecords + 1) == Numbers(0, kRecords));
}

}  // namespace cairn::client
