// A segment's file that is cut while the broker runs and subscribers read it.

#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "tests/walk/running_server.h"

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

// Takes whatever comes until the broker hangs up; gives how much that was.
std::size_t DrainUntilClosed(RawClient& client) {
  std::size_t all = 0;
  Bytes buffer(1 << 16);
  for (;;) {
    const ssize_t got = ::recv(client.socket(), buffer.data(), buffer.size(), 0);
    if (got <= 0) return all;
    all += static_cast<std::size_t>(got);
  }
}

}  // namespace

TEST_CASE("A file cut under subscribers takes its partition offline, and nothing else", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 2);
  constexpr int kBatches = 40;
  for (int i = 0; i < kBatches; ++i) {
    client.Produce(topic, 0, MakeBatch({.first = i, .value_bytes = 900'000}));
  }
  client.Produce(topic, 1, MakeBatch({.first = 0}));
  RawClient lagging = server.Connect();
  lagging.AskSubscribe(topic, 0, {.id = 1}).as<wire::Subscribed>();
  REQUIRE(lagging.Take().kind() == wire::Body::Batches);  // the rest waits in sockets and mappings
  fs::resize_file(server.options().data_dir / "orders-0" / "00000000000000000000.log", 1'000'000);
  CHECK(DrainUntilClosed(lagging) < std::size_t{kBatches} * 900'000);

  RawClient again = server.Connect();
  again.AskSubscribe(topic, 0, {.id = 1}).as<wire::Subscribed>();
  const auto first = again.Take();
  CHECK(RecordsOf((first.as<wire::Batches>(), first.attachment())).size() == 1);
  const auto ended = again.Take();
  CHECK(static_cast<ErrorCode>(ended.as<wire::SubscriptionEnded>().code()) ==
        ErrorCode::kPartitionOffline);
  CHECK_THAT(std::string(FromWire(ended.as<wire::SubscriptionEnded>().message())),
             Catch::Matchers::Contains("position 1000000: expected") &&
                 Catch::Matchers::Contains("found 1000000"));
  CHECK(client.AskProduce(topic, 0, MakeBatch({.first = kBatches})).code() ==
        ErrorCode::kPartitionOffline);
  CHECK(client.Produce(topic, 1, MakeBatch({.first = 1})) == Offset(1));
  client.AskSubscribe(topic, 1, {.id = 2, .to_present_end = true}).as<wire::Subscribed>();
  CHECK(client.Take().kind() == wire::Body::Batches);
}

}  // namespace cairn::test
