#include "client/producer.h"

#include <atomic>
#include <future>
#include <thread>

#include <catch2/catch.hpp>

#include "client/admin.h"
#include "protocol/error_code.h"
#include "tests/client/fake_broker.h"

namespace cairn::client {

using namespace std::chrono_literals;
using test::ClusterOf;
using test::FakeBroker;

namespace {

void Refuse(FakeBroker::Peer& peer, std::uint64_t correlation) {
  const auto text = ToWire(peer.builder, "no");
  peer.Reply(correlation,
             wire::CreateFailure(peer.builder,
                                 static_cast<std::uint16_t>(ErrorCode::kInvalidRequest), text));
}

}  // namespace

TEST_CASE("Producer: once closed it does not go on asking for an identity", "[client][producer]") {
  const TopicId topic = NewTopicId();
  std::atomic<int> asked{0};
  FakeBroker broker([&](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      const std::uint64_t correlation = message->correlation();
      if (message->body_type() == wire::Body::Metadata) {
        peer.AnswerTopic(correlation, topic);
      } else {
        if (message->body_type() == wire::Body::InitProducer) ++asked;
        Refuse(peer, correlation);
      }
    }
  });
  const auto cluster = ClusterOf(broker);
  const auto producer = *Producer::Open(cluster, {});
  std::promise<Delivery> delivered;
  REQUIRE(producer
              ->Send("t", ProduceRecord{},
                     [&](const Delivery& delivery) { delivered.set_value(delivery); })
              .ok());
  CHECK_FALSE(producer->Close(1ms).ok());
  CHECK(delivered.get_future().get().outcome == Delivery::Outcome::kRefused);

  // Round trips enough for a producer that asks every two milliseconds to be heard many times.
  Admin admin(cluster);
  const int before = asked;
  for (int i = 0; i < 1000; ++i) REQUIRE(admin.ListTopics().ok());
  CHECK(asked <= before + 1);  // one may have been on its way
}

TEST_CASE("Producer: closed while Send looks for a partition, it accepts nothing any more",
          "[client][producer]") {
  const TopicId topic = NewTopicId();
  std::atomic<int> metadata{0};
  std::promise<void> asked_again, closed;
  FakeBroker broker([&](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      const std::uint64_t correlation = message->correlation();
      if (message->body_type() != wire::Body::Metadata) {
        Refuse(peer, correlation);
        continue;
      }
      if (++metadata == 2) {
        asked_again.set_value();
        closed.get_future().wait();
      }
      peer.AnswerTopic(correlation, topic, metadata < 2 ? 1 : 8);
    }
  });
  const auto producer = *Producer::Open(ClusterOf(broker), {});
  absl::Status sent;
  std::thread sender([&] {
    ProduceRecord record;
    record.partition = PartitionIndex(5);  // one that has come since: the topic is asked for again
    sent = producer->Send("t", record);
  });
  asked_again.get_future().wait();
  CHECK(producer->Close(0ms).ok());
  closed.set_value();
  sender.join();
  INFO(sent);
  CHECK(absl::IsFailedPrecondition(sent));
}

}  // namespace cairn::client
