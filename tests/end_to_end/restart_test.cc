#include <atomic>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "tests/end_to_end/live_broker.h"

namespace cairn::test {
namespace {

constexpr int kRecords = 200'000 / kVolumeDivisor;

void Send(client::Producer& producer, int number, std::atomic<int>& appended) {
  const std::string value = std::to_string(number);
  client::ProduceRecord record;
  record.value = value;
  record.partition = PartitionIndex(0);
  const absl::Status sent =
      producer.Send("numbers", record, [&appended](const client::Delivery& delivery) {
        if (delivery.outcome == client::Delivery::Outcome::kAppended) ++appended;
      });
  if (!sent.ok()) FAIL(sent);
}

void CheckDense(const std::vector<std::string>& values) {
  for (int i = 0; i < std::ssize(values); ++i) {
    if (values[static_cast<std::size_t>(i)] != std::to_string(i)) {
      FAIL("offset " << i << " holds " << values[static_cast<std::size_t>(i)]);
    }
  }
}

}  // namespace

TEST_CASE("Producer: restarts of the broker neither lose, double nor reorder a record",
          "[end_to_end][idempotence]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "numbers", 1);
  client::ProducerOptions options;
  options.batch_bytes = 2048;
  auto producer = client::Producer::Open(ClusterAt(broker.port()), options);
  REQUIRE(producer.ok());

  std::atomic<int> appended{0};
  std::atomic<bool> done{false};
  std::thread sender([&] {
    for (int i = 0; i < kRecords; ++i) Send(**producer, i, appended);
    done = true;
  });
  // A restart whenever another part of the records has been acknowledged.
  for (int restart = 1; restart <= 5; ++restart) {
    while (appended < restart * kRecords / 8 && !done) std::this_thread::yield();
    broker.Stop();
    broker.Start();
  }
  sender.join();
  const absl::Status flushed = (*producer)->Flush(client::Duration(120'000));
  INFO(flushed);
  REQUIRE(flushed.ok());
  CHECK(appended == kRecords);

  const auto values = ReadAll(broker.port(), "numbers", 1);
  CHECK(std::ssize(values[0]) == kRecords);
  CheckDense(values[0]);
}

TEST_CASE("Consumer: goes on where it was when the broker comes back", "[end_to_end]") {
  LiveBroker broker;
  CreateTopic(broker.port(), "numbers", 1);
  std::atomic<int> appended{0};
  auto producer = client::Producer::Open(ClusterAt(broker.port()), {});
  REQUIRE(producer.ok());
  auto consumer = client::Consumer::Open(ClusterAt(broker.port()), {});
  REQUIRE(consumer.ok());
  client::Assignment assignment;
  assignment.topic = "numbers";
  assignment.partition = PartitionIndex(0);
  REQUIRE((*consumer)->Assign({assignment}, client::Duration(30'000)).ok());

  std::vector<std::string> values;
  const auto read_up_to = [&](int count) {
    while (std::ssize(values) < count) {
      auto polled = (*consumer)->Poll(client::Duration(60'000));
      INFO(polled.status());
      REQUIRE(polled.ok());
      REQUIRE_FALSE(polled->empty());
      for (const auto& record : polled->records()) values.emplace_back(*record.value);
      for (const auto& event : polled->events()) FAIL(event.status);
    }
  };
  int sent = 0;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 1000; ++i) Send(**producer, sent++, appended);
    REQUIRE((*producer)->Flush(client::Duration(60'000)).ok());
    read_up_to(sent);
    broker.Stop();
    broker.Start();
  }
  CHECK(std::ssize(values) == sent);
  CheckDense(values);
}

}  // namespace cairn::test
