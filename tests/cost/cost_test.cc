// What the broker costs in steady state, counted and not timed: allocations, copies in user space
// and system calls, on all threads but the peer's. What is found is printed.

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <thread>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/cost/counted_calls.h"
#include "tests/walk/running_server.h"

namespace cairn::test {
namespace {

constexpr int kWarmUp = 300;
constexpr int kRequests = 1000;
constexpr double kMiB = 1 << 20;

// What one request, or one frame that was pushed, costs.
struct Cost {
  double allocations;
  double copies;  // of each byte of payload
  double calls;
  double calls_per_mib;
};

Cost CostOf(const char* what, const cost::Counts& counts, int units, double payload_bytes) {
  const Cost cost{.allocations = static_cast<double>(counts.allocations) / units,
                  .copies = static_cast<double>(counts.bytes_copied) / payload_bytes,
                  .calls = static_cast<double>(counts.all_calls()) / units,
                  .calls_per_mib = static_cast<double>(counts.all_calls()) * kMiB / payload_bytes};
  std::printf("%s: %.3f allocations, %.3f copies of a byte, %.2f calls (%s), %.2f calls per MiB\n",
              what, cost.allocations, cost.copies, cost.calls, counts.CallsPer(units).c_str(),
              cost.calls_per_mib);
  return cost;
}

// One request at a time, each answered before the next is sent: what a request shares with others
// that are on their way at the same time only makes it cheaper. In halves: the second is sent when
// the broker, having read the first, waits again.
Cost CostOfProducing(const char* what, wire::Acks acks, const char* durability, const Bytes& batch,
                     bool in_halves = false) {
  cost::ExemptThisThread();
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1, {{"durability", durability}});
  const wire::Uuid id = ToWire(topic);
  constexpr std::uint64_t kCorrelation = 7;
  const Bytes frame =
      client.Encode(kCorrelation, wire::CreateProduce(client.builder(), &id, 0, acks), batch);
  const ByteView first_half = ByteView(frame).first(frame.size() / 2);
  const ByteView second_half = ByteView(frame).subspan(first_half.size());
  const auto produce = [&](int times) {
    for (int i = 0; i < times; ++i) {
      if (in_halves) {
        const std::int64_t waits = cost::CallsSoFar("epoll_ctl");
        client.SendBytes(first_half);
        while (cost::CallsSoFar("epoll_ctl") == waits) std::this_thread::yield();
        client.SendBytes(second_half);
      } else {
        client.SendBytes(frame);
      }
      const auto reply = client.Take();
      REQUIRE(reply.correlation() == kCorrelation);
      reply.as<wire::Produced>();
    }
  };
  cost::StartCounting();
  produce(kWarmUp);
  cost::StartCounting();
  produce(kRequests);
  const cost::Counts counts = cost::StopCounting();
  return CostOf(what, counts, kRequests, static_cast<double>(batch.size()) * kRequests);
}

}  // namespace

TEST_CASE("Cost: the counters see what another thread does", "[cost]") {
  cost::ExemptThisThread();
  // The compiler may not know what is asked for, or it leaves it out.
  static volatile std::size_t large = 4096, small = cost::kCopyBytesMin - 1;
  const auto work = [] {
    Bytes from(large), to(large);
    std::memcpy(to.data(), from.data(), large);
    std::memmove(to.data() + 1, to.data(), large / 2);
    std::memmove(to.data() + 1, to.data(), small);
    const int descriptor = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)::pwrite(descriptor, to.data(), to.size(), 0);
    ::close(descriptor);
  };
  cost::Counts counts;
  std::thread([&] {
    cost::StartCounting();
    work();
    counts = cost::StopCounting();
  }).join();
  CHECK(counts.allocations == 2);
  CHECK(counts.bytes_copied == 4096 + 2048);
  CHECK(counts.CallsPer(1) == "pwrite 1.000, open 1.000, close 1.000");

  cost::StartCounting();
  work();
  counts = cost::StopCounting();
  CHECK(counts.allocations == 0);
  CHECK(counts.bytes_copied == 0);
  CHECK(counts.all_calls() == 0);
}

// Of the allocations that the bounds leave room for, a few are those of other threads and of tables
// that grow. The calls leave room for what arrives or leaves in more pieces than on an idle
// machine.

TEST_CASE("Cost: a produce of a hundred small records", "[cost]") {
  const Cost cost =
      CostOfProducing("produce, written, 100 records of 100 bytes", wire::Acks::Written, "written",
                      MakeBatch({.count = 100, .value_bytes = 100}));
  REQUIRE(cost.allocations <= 0.25);
  REQUIRE(cost.copies <= 1);
  REQUIRE(cost.calls <= 8);
}

TEST_CASE("Cost: a produce of 256 KiB", "[cost]") {
  const Cost cost = CostOfProducing("produce, written, 256 KiB", wire::Acks::Written, "written",
                                    MakeBatch({.count = 1, .value_bytes = 256u << 10}));
  REQUIRE(cost.allocations <= 0.25);
  REQUIRE(cost.copies <= 1);
  REQUIRE(cost.calls_per_mib <= 120);
}

// What has arrived is parked between the broker's turns, and copied back.
TEST_CASE("Cost: a produce that comes in two halves", "[cost]") {
  const Cost cost = CostOfProducing("produce, written, 128 KiB in halves", wire::Acks::Written,
                                    "written", MakeBatch({.count = 1, .value_bytes = 128u << 10}),
                                    /*in_halves=*/true);
  REQUIRE(cost.allocations <= 2);
  REQUIRE(cost.copies <= 2);
}

TEST_CASE("Cost: a durable produce", "[cost]") {
  const Cost cost =
      CostOfProducing("produce, durable, 100 records of 100 bytes", wire::Acks::Durable, "durable",
                      MakeBatch({.count = 100, .value_bytes = 100}));
  REQUIRE(cost.allocations <= 0.25);
  REQUIRE(cost.copies <= 1);
  REQUIRE(cost.calls <= 14);
}

TEST_CASE("Cost: a subscription that reads what is in memory", "[cost]") {
  cost::ExemptThisThread();
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1, {{"durability", "written"}});
  const Bytes batch = MakeBatch({.count = 100, .value_bytes = 1000});
  for (int i = 0; i < 640; ++i) client.Produce(topic, 0, batch, wire::Acks::Written);

  std::uint32_t id = 0;
  int frames = 0;
  double bytes = 0;
  const auto read_all = [&] {
    client.AskSubscribe(topic, 0, {.id = ++id, .to_present_end = true}).as<wire::Subscribed>();
    for (;;) {
      const auto frame = client.Take();
      if (frame.kind() == wire::Body::SubscriptionEnded) return;
      frame.as<wire::Batches>();
      ++frames;
      bytes += static_cast<double>(frame.attachment().size());
    }
  };
  read_all();
  frames = 0;
  bytes = 0;
  cost::StartCounting();
  while (frames < kRequests) read_all();
  const cost::Counts counts = cost::StopCounting();
  const Cost cost = CostOf("consume, a frame pushed", counts, frames, bytes);
  REQUIRE(cost.allocations <= 0.5);
  REQUIRE(counts.bytes_copied == 0);
  REQUIRE(cost.calls_per_mib <= 64);
}

}  // namespace cairn::test
