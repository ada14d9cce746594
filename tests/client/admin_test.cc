#include "client/admin.h"

#include <atomic>

#include <catch2/catch.hpp>

#include "tests/client/fake_broker.h"

namespace cairn::client {

using namespace std::chrono_literals;
using test::ClusterOf;
using test::FakeBroker;

TEST_CASE("Admin: a timeout without end is one, and not over at once", "[client][admin]") {
  FakeBroker broker([](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      peer.AnswerTopic(message->correlation(), NewTopicId());
    }
  });
  Admin admin(ClusterOf(broker), Duration::max());
  const auto topics = admin.ListTopics();
  INFO(topics.status());
  CHECK(topics.ok());
}

TEST_CASE("Admin: a list of very many pages ends at its deadline", "[client][admin]") {
  FakeBroker broker([](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    // Far more pages than can come in time; but an end, so that a client that does not keep to its
    // time fails instead of hanging.
    int pages = 0;
    while (const wire::Message* message = peer.Receive()) {
      peer.AnswerTopic(message->correlation(), NewTopicId(), 1, ++pages < 200'000);
    }
  });
  Admin admin(ClusterOf(broker), 100ms);
  const auto topics = admin.ListTopics();
  CHECK(absl::IsDeadlineExceeded(topics.status()));
}

TEST_CASE("Admin: a request larger than any broker takes is refused and harms nobody",
          "[client][admin]") {
  std::atomic<int> connections{0};
  FakeBroker broker([&](FakeBroker::Peer& peer) {
    ++connections;
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      peer.AnswerTopic(message->correlation(), NewTopicId());
    }
  });
  Admin admin(ClusterOf(broker), 30s);
  REQUIRE(admin.ListTopics().ok());
  const absl::Status created =
      admin.CreateTopic("t", 1, {{"retention.ms", std::string(2u << 20, '1')}}).status();
  INFO(created);
  CHECK(absl::IsInvalidArgument(created));
  CHECK(admin.ListTopics().ok());
  CHECK(connections == 1);
}

}  // namespace cairn::client
