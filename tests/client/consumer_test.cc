#include "client/consumer.h"

#include <atomic>
#include <future>

#include <catch2/catch.hpp>

#include "protocol/record_batch_builder.h"
#include "tests/client/fake_broker.h"

namespace cairn::client {

using namespace std::chrono_literals;
using test::FakeBroker;

namespace {

// A push of one batch whose checksum is wrong.
void PushDamage(FakeBroker::Peer& peer, std::uint32_t subscription) {
  RecordBatchBuilder records;
  records.Add({.timestamp = Timestamp(1), .key = {}, .value = AsBytes("v"), .headers = {}});
  Bytes batch = *records.Finish({});
  batch.back() ^= std::byte{1};
  Bytes frame;
  FinishFrame(peer.builder, 0, wire::CreateBatches(peer.builder, subscription, 1), batch.size(),
              frame);
  AppendBytes(frame, batch);
  frame.resize(PadTo8(frame.size()));
  peer.SendBytes(frame);
}

}  // namespace

TEST_CASE("Consumer: what a damaged partition still sends finds nobody, and it is told to stop",
          "[client][consumer]") {
  std::atomic<int> subscribed{0};
  std::promise<std::uint32_t> unsubscribed;
  FakeBroker broker([&](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      const std::uint64_t correlation = message->correlation();
      if (const auto* subscribe = message->body_as_Subscribe()) {
        const std::uint32_t id = subscribe->subscription();
        peer.Reply(correlation, wire::CreateSubscribed(peer.builder, 0, 0, 1, -1));
        if (++subscribed == 1) {
          PushDamage(peer, id);
        } else {
          PushDamage(peer, id - 1);  // it was on its way
          PushDamage(peer, id);
        }
      } else if (const auto* ended = message->body_as_Unsubscribe()) {
        if (subscribed == 1) unsubscribed.set_value(ended->subscription());
        peer.Reply(correlation, wire::CreateUnsubscribed(peer.builder, ended->subscription()));
      } else if (message->body_type() == wire::Body::Metadata) {
        peer.AnswerTopic(correlation, NewTopicId());
      }
    }
  });
  const auto consumer = *Consumer::Open(test::ClusterOf(broker), {});
  const Assignment assignment{.topic = "t", .partition = PartitionIndex(0)};
  REQUIRE(consumer->Assign({assignment}, 30s).ok());
  CHECK(absl::IsDataLoss(consumer->Poll(30s).status()));
  auto told = unsubscribed.get_future();
  REQUIRE(told.wait_for(30s) == std::future_status::ready);

  // The reader of before is gone; frames for it must not be looked for there.
  REQUIRE(consumer->Assign({assignment}, 30s).ok());
  CHECK(absl::IsDataLoss(consumer->Poll(30s).status()));
}

}  // namespace cairn::client
