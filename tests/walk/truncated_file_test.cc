// A segment's file that is cut while the broker runs and subscribers read it.

#include <catch2/catch.hpp>

#include "tests/walk/running_server.h"

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

bool IsOffline(const wire::SubscriptionEnded& ended) {
  return static_cast<ErrorCode>(ended.code()) == ErrorCode::kPartitionOffline;
}

// Takes what comes until the broker says that the partition is offline, or hangs up, as it must
// where it was in the middle of a frame. Gives how many frames of batches came.
int DrainUntilOffline(RawClient& client) {
  int frames = 0;
  for (;;) {
    const auto frame = client.Next();
    if (!frame.has_value()) return frames;
    if (frame->kind() == wire::Body::SubscriptionEnded) {
      CHECK(IsOffline(frame->as<wire::SubscriptionEnded>()));
      return frames;
    }
    frame->as<wire::Batches>();
    ++frames;
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
  CHECK(DrainUntilOffline(lagging) < kBatches - 1);

  RawClient again = server.Connect();
  again.AskSubscribe(topic, 0, {.id = 1}).as<wire::Subscribed>();
  const auto first = again.Take();
  CHECK(RecordsOf((first.as<wire::Batches>(), first.attachment())).size() == 1);
  const auto ended = again.Take();
  CHECK(IsOffline(ended.as<wire::SubscriptionEnded>()));
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
