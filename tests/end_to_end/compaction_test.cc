// A compacted topic while it is written and read. In its long form, with its figures printed:
//
//   CAIRN_COMPACTION_RECORDS=5000000 CAIRN_COMPACTION_KEYS=100000
//     build/release/tests/end_to_end/end_to_end_test "[compaction]" -s
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "tests/end_to_end/live_broker.h"

namespace cairn::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kTopic[] = "latest";
constexpr int kPartitions = 2;
constexpr int kProducers = 2;

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

struct Load {
  int records = FromEnvironment("CAIRN_COMPACTION_RECORDS", 300'000 / kVolumeDivisor);
  int keys = FromEnvironment("CAIRN_COMPACTION_KEYS", 6'000 / kVolumeDivisor);
};

std::string KeyOf(int key) { return "key-" + std::to_string(key); }
// A number that rises with each record of a key, and something to make it large.
std::string ValueOf(int number) { return std::to_string(number) + std::string(80, ' '); }

client::ProduceRecord Record(std::optional<std::string_view> key, std::string_view value) {
  client::ProduceRecord record;
  record.key = key;
  record.value = value;
  return record;
}

// Each key belongs to one producer, so that its newest record is known: the one with the highest
// number.
void Produce(std::uint16_t port, const Load& load, int producer, std::atomic<int>& refused) {
  client::ProducerOptions options;
  options.codec = producer == 0 ? Codec::kNone : Codec::kLz4;
  auto opened = client::Producer::Open(ClusterAt(port), options);
  if (!opened.ok()) {
    ++refused;
    return;
  }
  for (int number = producer; number < load.records; number += kProducers) {
    const std::string key = KeyOf(number % load.keys);
    const std::string value = ValueOf(number);
    const auto sent =
        (*opened)->Send(kTopic, Record(key, value), [&refused](const client::Delivery& delivery) {
          if (delivery.outcome != client::Delivery::Outcome::kAppended) ++refused;
        });
    if (!sent.ok()) ++refused;
  }
  if (!(*opened)->Flush(client::Duration(120'000)).ok()) ++refused;
}

struct Read {
  std::map<std::string, int> newest;
  std::int64_t records = 0;
  int disorder = 0;  // offsets or a key's numbers that did not rise
};

// Reads on until `enough`; keeps no more than the newest number of each key.
class Reader {
 public:
  Reader(std::uint16_t port, bool to_present_end) {
    auto opened = client::Consumer::Open(ClusterAt(port), {});
    REQUIRE(opened.ok());
    consumer_ = *std::move(opened);
    std::vector<client::Assignment> assignments;
    for (int p = 0; p < kPartitions; ++p) {
      client::Assignment assignment;
      assignment.topic = kTopic;
      assignment.partition = PartitionIndex(p);
      assignment.stop_at_present_end = to_present_end;
      assignments.push_back(assignment);
    }
    REQUIRE(consumer_->Assign(assignments, client::Duration(30'000)).ok());
  }

  bool finished() const { return consumer_->finished(); }

  absl::Status Poll(Read& read) {
    auto polled = consumer_->Poll(client::Duration(100));
    if (!polled.ok()) return polled.status();
    for (const client::ConsumerEvent& event : polled->events()) {
      if (event.kind != client::ConsumerEvent::Kind::kEnd) return event.status;
    }
    for (const client::ConsumedRecord& record : polled->records()) {
      Offset& last = last_[static_cast<std::size_t>(record.partition.value())];
      if (record.offset <= last) ++read.disorder;
      last = record.offset;
      const int number = std::atoi(std::string(*record.value).c_str());
      const auto [known, is_new] = read.newest.try_emplace(std::string(*record.key), number);
      if (!is_new && number <= known->second) ++read.disorder;
      known->second = number;
      ++read.records;
    }
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<client::Consumer> consumer_;
  Offset last_[kPartitions] = {kNoOffset, kNoOffset};
};

// What one who waits for each of its records feels meanwhile; milliseconds.
class Probe {
 public:
  explicit Probe(std::uint16_t port) : thread_([this, port] { Run(port); }) {}
  ~Probe() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  double Percentile99() {
    stop_ = true;
    thread_.join();
    std::sort(took_.begin(), took_.end());
    return took_.empty() ? 0 : took_[took_.size() * 99 / 100];
  }

 private:
  void Run(std::uint16_t port) {
    auto producer = client::Producer::Open(ClusterAt(port), {});
    if (!producer.ok()) return;
    while (!stop_) {
      const auto begun = Clock::now();
      if (!(*producer)->SendAndWait("probe", Record(std::nullopt, "x")).ok()) return;
      took_.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begun).count());
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  std::atomic<bool> stop_{false};
  std::vector<double> took_;
  std::thread thread_;
};

// Sends the whole load while a consumer follows it.
double SendAll(std::uint16_t port, const Load& load) {
  std::atomic<int> refused{0};
  std::atomic<bool> sent{false};
  Probe probe(port);
  std::vector<std::thread> producers;
  for (int i = 0; i < kProducers; ++i) {
    producers.emplace_back([&, i] { Produce(port, load, i, refused); });
  }
  Read followed;
  absl::Status status;
  std::thread follower([&] {
    Reader reader(port, /*to_present_end=*/false);
    // The newest of every key arrives, whatever was cleaned away in front of it.
    const auto arrived = [&] {
      int count = 0;
      for (const auto& [key, number] : followed.newest) count += number >= load.records - load.keys;
      return count == load.keys;
    };
    while (status.ok() && !(sent && arrived())) status = reader.Poll(followed);
  });
  for (std::thread& producer : producers) producer.join();
  const double p99 = probe.Percentile99();
  sent = true;
  follower.join();
  INFO(status);
  CHECK(status.ok());
  CHECK(refused == 0);
  CHECK(followed.disorder == 0);
  CHECK(followed.records <= load.records);
  return p99;
}

Read ReadAllNow(std::uint16_t port) {
  Read read;
  Reader reader(port, /*to_present_end=*/true);
  while (!reader.finished()) {
    const absl::Status status = reader.Poll(read);
    INFO(status);
    REQUIRE(status.ok());
  }
  return read;
}

}  // namespace

TEST_CASE("Compaction: a topic that is written and read ends with the newest record of each key",
          "[end_to_end][compaction]") {
  const Load load;
  double p99_before = 0;
  {
    LiveBroker broker;
    CreateTopic(broker.port(), "probe", 1);
    CreateTopic(broker.port(), kTopic, kPartitions);
    p99_before = SendAll(broker.port(), load);
  }
  LiveBroker broker;
  CreateTopic(broker.port(), "probe", 1);
  CreateTopic(broker.port(), kTopic, kPartitions,
              {{"cleanup.policy", "compact"},
               {"segment.ms", "1000"},
               {"min.cleanable.dirty.ratio", "0.3"}});
  const auto begun = Clock::now();
  const double p99 = SendAll(broker.port(), load);
  const std::chrono::duration<double> took = Clock::now() - begun;
  const Read meanwhile = ReadAllNow(broker.port());

  client::Admin admin(ClusterAt(broker.port()));
  REQUIRE(admin.AlterTopic(kTopic, {{"min.cleanable.dirty.ratio", "0"}}, std::nullopt, false).ok());
  Read read;
  const auto deadline = Clock::now() + std::chrono::minutes(5);
  do {
    REQUIRE(Clock::now() < deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    read = ReadAllNow(broker.port());
  } while (read.records > load.keys);
  std::printf(
      "%d records over %d keys in %.1f s: %lld left while writing, %lld in the end\n"
      "p99 of a durable send beside it: %.2f ms, and %.2f ms without compaction\n",
      load.records, load.keys, took.count(), static_cast<long long>(meanwhile.records),
      static_cast<long long>(read.records), p99, p99_before);

  CHECK(read.records == load.keys);
  CHECK(read.disorder == 0);
  REQUIRE(std::ssize(read.newest) == load.keys);
  for (int number = load.records - load.keys; number < load.records; ++number) {
    if (read.newest[KeyOf(number % load.keys)] != number) {
      FAIL(KeyOf(number % load.keys) << " is not at " << number);
    }
  }
  broker.Stop();
  broker.Start();
  CHECK(ReadAllNow(broker.port()).newest == read.newest);
}

TEST_CASE("Compaction: records without a key are refused, and so are more partitions",
          "[end_to_end][compaction]") {
  LiveBroker broker;
  CreateTopic(broker.port(), kTopic, 1, {{"cleanup.policy", "compact,delete"}});
  const Codec codec = GENERATE(Codec::kNone, Codec::kZstd);
  client::ProducerOptions options;
  options.codec = codec;
  auto producer = client::Producer::Open(ClusterAt(broker.port()), options);
  REQUIRE(producer.ok());
  const auto refused = (*producer)->SendAndWait(kTopic, Record(std::nullopt, "v"));
  const absl::Status why = refused.ok() ? refused->status : refused.status();
  INFO(why);
  CHECK(CodeOf(why) == ErrorCode::kKeyRequired);
  const auto taken = (*producer)->SendAndWait(kTopic, Record("k", "v"));
  REQUIRE(taken.ok());
  CHECK(taken->status.ok());

  client::Admin admin(ClusterAt(broker.port()));
  const absl::Status grown = admin.AlterTopic(kTopic, {}, 2, /*remap_keys=*/true);
  CHECK(CodeOf(grown) == ErrorCode::kInvalidRequest);
  CHECK_THAT(std::string(grown.message()), Catch::Contains("compacted"));
}

}  // namespace cairn::test
