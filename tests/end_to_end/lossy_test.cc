#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>

#include <catch2/catch.hpp>

#include "tests/end_to_end/live_broker.h"
#include "tests/support/lossy_proxy.h"

namespace cairn::test {
namespace {

constexpr std::int32_t kPartitions = 4;

// What the deliveries said, from the I/O thread.
struct Tally {
  std::atomic<int> appended{0};
  std::atomic<int> other{0};
};

// Numbers from 0, record i into partition i mod 4, small batches so that there are many answers to
// lose.
void SendNumbers(client::Producer& producer, int count, Tally& tally) {
  for (int i = 0; i < count; ++i) {
    const std::string value = std::to_string(i);
    client::ProduceRecord record;
    record.value = value;
    record.partition = PartitionIndex(i % kPartitions);
    const absl::Status sent =
        producer.Send("numbers", record, [&tally](const client::Delivery& delivery) {
          ++(delivery.outcome == client::Delivery::Outcome::kAppended ? tally.appended
                                                                      : tally.other);
        });
    if (!sent.ok()) FAIL(sent);
  }
}

// With acks=written the answer comes before the group commit that shows the records to readers.
void AwaitGroupCommit(std::uint16_t port) {
  client::Admin admin(ClusterAt(port));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto all_shown = [&] {
    const auto topic = admin.DescribeTopic("numbers");
    REQUIRE(topic.ok());
    return std::all_of(topic->partitions.begin(), topic->partitions.end(),
                       [](const auto& each) { return each.committed_end == each.log_end; });
  };
  while (!all_shown()) REQUIRE(std::chrono::steady_clock::now() < deadline);
}

// 0 lost, 0 duplicated, 0 reordered.
void CheckNumbers(std::uint16_t port, int count) {
  AwaitGroupCommit(port);
  const auto values = ReadAll(port, "numbers", kPartitions);
  for (int p = 0; p < kPartitions; ++p) {
    const auto& partition = values[static_cast<std::size_t>(p)];
    REQUIRE(std::ssize(partition) == (count - p + kPartitions - 1) / kPartitions);
    for (int i = 0; i < std::ssize(partition); ++i) {
      const std::string expected = std::to_string(i * kPartitions + p);
      if (partition[static_cast<std::size_t>(i)] != expected) {
        FAIL("partition " << p << " offset " << i << ": " << partition[static_cast<std::size_t>(i)]
                          << " instead of " << expected);
      }
    }
  }
}

void SendThroughProxy(int count, std::uint32_t seed, client::ProducerOptions options) {
  INFO("seed " << seed);
  LiveBroker broker;
  CreateTopic(broker.port(), "numbers", kPartitions, {{"segment.bytes", "4194304"}});
  LossyProxy proxy({.broker_port = broker.port(), .seed = seed});

  auto producer = client::Producer::Open(ClusterAt(proxy.port()), options);
  REQUIRE(producer.ok());
  Tally tally;
  SendNumbers(**producer, count, tally);
  const absl::Status flushed = (*producer)->Flush(client::Duration(120'000));
  INFO(flushed);
  REQUIRE(flushed.ok());
  CHECK(tally.appended == count);
  CHECK(tally.other == 0);

  const LossyProxy::Counts counts = proxy.counts();
  INFO(counts.answers << " answers, " << counts.dropped << " dropped, " << counts.cut << " cuts");
  CHECK(counts.dropped > 0);
  CheckNumbers(broker.port(), count);
}

}  // namespace

TEST_CASE("Producer: a million sends through a proxy that loses answers arrive once and in order",
          "[end_to_end][idempotence]") {
  client::ProducerOptions options;
  options.batch_bytes = 4096;
  SendThroughProxy(1'000'000 / kVolumeDivisor, 1, options);
}

TEST_CASE("Producer: lost answers do no harm whatever the seed and the acknowledgement",
          "[end_to_end][idempotence]") {
  const std::uint32_t seed = GENERATE(2u, 3u, 4u, 5u);
  client::ProducerOptions options;
  options.batch_bytes = 512;
  options.acks = seed % 2 == 0 ? client::Acks::kWritten : client::Acks::kDurable;
  options.codec = seed % 2 == 0 ? Codec::kLz4 : Codec::kNone;
  SendThroughProxy(20'000 / kVolumeDivisor, seed, options);
}

}  // namespace cairn::test
