#include "client/core.h"

#include <atomic>

#include <catch2/catch.hpp>

#include "client/admin.h"
#include "client/cluster.h"
#include "protocol/error_code.h"
#include "tests/client/fake_broker.h"

namespace cairn::client {
namespace {

using namespace std::chrono_literals;
using test::FakeBroker;

std::shared_ptr<Cluster> ClusterAt(const std::string& broker) {
  ClusterOptions options;
  options.broker = broker;
  options.backoff_min = 1ms;
  options.backoff_max = 10ms;
  return *Cluster::Open(options);
}

// Says what it needs to be a broker that answers Status.
void AnswerStatus(FakeBroker::Peer& peer, std::uint64_t correlation) {
  const wire::Uuid cluster_id = ToWire(NewTopicId());
  const auto software = ToWire(peer.builder, "fake");
  wire::StatusReplyBuilder status(peer.builder);
  status.add_software(software);
  status.add_cluster_id(&cluster_id);
  peer.Reply(correlation, status.Finish());
}

bool Mentions(const absl::Status& status, const std::string& text) {
  return std::string(status.message()).find(text) != std::string::npos;
}

// Asks, with little patience, until the error says so. A busy machine may need several calls to
// come as far as the error that is meant.
absl::Status AskUntilItMentions(const std::string& address, const std::string& text) {
  Admin admin(ClusterAt(address), 50ms);
  absl::Status status;
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!Mentions(status, text) && std::chrono::steady_clock::now() < deadline) {
    status = admin.Status().status();
  }
  return status;
}

}  // namespace

TEST_CASE("Core: without a broker a call ends at its deadline and tells what went wrong",
          "[client][core]") {
  std::string address;
  {
    address = FakeBroker([](FakeBroker::Peer&) {}).address();
  }  // nobody listens there now
  const absl::Status status = AskUntilItMentions(address, "refused");
  CHECK(absl::IsDeadlineExceeded(status));
  CHECK(Mentions(status, address));
  CHECK(Mentions(status, "refused"));
}

TEST_CASE("Core: a peer that does not speak the protocol is named as that", "[client][core]") {
  const std::string greeting =
      GENERATE(true, false)
          ? std::string("HTTP/1.1 400 Bad Request\r\n\r\n")
          : std::string("\x10\0\0\0\x10\0\0\0 not a flat buffer", 26);  // a frame, no message
  FakeBroker broker([&](FakeBroker::Peer& peer) {
    peer.SendBytes(AsBytes(greeting));
    while (peer.Receive() != nullptr) {
    }
  });
  const absl::Status status = AskUntilItMentions(broker.address(), "not Cairn's protocol");
  INFO(status);
  CHECK(absl::IsDeadlineExceeded(status));
  CHECK(Mentions(status, "not Cairn's protocol"));
}

TEST_CASE("Core: a broker that was reached was asked after as if it were not there",
          "[client][core]") {
  FakeBroker broker([](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      AnswerStatus(peer, message->correlation());
    }
  });
  const auto cluster = ClusterAt(broker.address());
  CHECK_FALSE(cluster->connected());
  Admin admin(cluster, 60s);
  REQUIRE(admin.Status().ok());
  CHECK(cluster->connected());
}

TEST_CASE("Core: a broker of another version is not asked again and again", "[client][core]") {
  FakeBroker broker([](FakeBroker::Peer& peer) {
    const wire::Message* hello = peer.Receive();
    if (hello == nullptr) return;
    const auto text = ToWire(peer.builder, "version 2 only");
    peer.Reply(hello->correlation(),
               wire::CreateFailure(
                   peer.builder, static_cast<std::uint16_t>(ErrorCode::kUnsupportedVersion), text));
  });
  Admin admin(ClusterAt(broker.address()), 60s);
  const absl::Status status = admin.Status().status();
  CHECK(CodeOf(status) == ErrorCode::kUnsupportedVersion);
  CHECK(Mentions(status, "version 2 only"));
}

TEST_CASE("Core: a question whose answer is lost is asked again, a change is not",
          "[client][core]") {
  std::atomic<int> connections{0}, changes{0};
  FakeBroker broker([&](FakeBroker::Peer& peer) {
    const int nth = ++connections;
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      if (message->body_type() == wire::Body::DeleteTopic) ++changes;
      if (nth < 3) return;  // gone, without an answer
      AnswerStatus(peer, message->correlation());
    }
  });
  Admin admin(ClusterAt(broker.address()), 60s);
  SECTION("a question") {
    CHECK(admin.Status().ok());
    CHECK(connections == 3);
  }
  SECTION("a change") {
    const absl::Status status = admin.DeleteTopic("t");
    CHECK(absl::IsUnavailable(status));
    CHECK(changes == 1);
  }
}

TEST_CASE("Core: a ping is answered and an answer to nothing is ignored", "[client][core]") {
  std::atomic<bool> ponged{false};
  FakeBroker broker([&](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    const wire::Message* question = peer.Receive();
    if (question == nullptr) return;
    const std::uint64_t correlation = question->correlation();
    peer.Reply(99, wire::CreatePing(peer.builder));
    const wire::Message* pong = peer.Receive();
    ponged = pong != nullptr && pong->body_type() == wire::Body::Pong && pong->correlation() == 99;
    peer.Reply(12345, wire::CreatePong(peer.builder));
    AnswerStatus(peer, correlation);
    while (peer.Receive() != nullptr) {
    }
  });
  Admin admin(ClusterAt(broker.address()), 60s);
  const auto status = admin.Status();
  REQUIRE(status.ok());
  CHECK(status->software == "fake");
  CHECK(ponged);
}

TEST_CASE("Core: an answer of the wrong kind is an error, not a crash", "[client][core]") {
  FakeBroker broker([](FakeBroker::Peer& peer) {
    if (!peer.Greet()) return;
    while (const wire::Message* message = peer.Receive()) {
      peer.Reply(message->correlation(), wire::CreatePong(peer.builder));
    }
  });
  Admin admin(ClusterAt(broker.address()), 60s);
  CHECK(absl::IsInternal(admin.Status().status()));
  CHECK(absl::IsInternal(admin.DescribeTopic("t").status()));
}

}  // namespace cairn::client
