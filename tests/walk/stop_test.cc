// Many peers, too many peers, hostile peers, and going down in spite of all of them.

#include <chrono>
#include <poll.h>
#include <random>
#include <sys/socket.h>
#include <thread>

#include <catch2/catch.hpp>

#include "protocol/limits.h"
#include "tests/walk/running_server.h"

namespace cairn::test {
namespace {

using Clock = std::chrono::steady_clock;

void Ping(RawClient& client) {
  CHECK(client.Ask(wire::CreatePing(client.builder())).kind() == wire::Body::Pong);
}

// Waits until the broker counts this many connections.
void RequireConnections(RunningServer& server, int count) {
  const auto deadline = Clock::now() + kPatience;
  while (server->connections() != count && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  REQUIRE(server->connections() == count);
}

std::chrono::milliseconds TimeToStop(RunningServer& server) {
  const auto begin = Clock::now();
  server.Stop();
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
}

constexpr std::chrono::seconds kStopAtMost{5};

}  // namespace

TEST_CASE("Connections: one too many is told so, and the others notice nothing", "[walk]") {
  broker::ServerOptions options;
  options.connections_max = 20;
  RunningServer server(options);
  std::vector<RawClient> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(server.Connect());
  for (int i = 0; i < 30; ++i) {
    RawClient extra(server.port());
    const auto failure = extra.Take();
    CHECK(failure.correlation() == 0);
    CHECK(NameOf(failure.code()) == "TOO_MANY_CONNECTIONS");
    CHECK_THAT(failure.text(), Catch::Contains("20"));
    CHECK(extra.ClosedByBroker());
  }
  for (RawClient& client : clients) Ping(client);
  clients.pop_back();
  RequireConnections(server, 19);
  RawClient next = server.Connect();
  Ping(next);
}

TEST_CASE("Connections: hundreds are served at once", "[walk]") {
  RunningServer server;
  std::vector<RawClient> clients;
  for (int i = 0; i < 300; ++i) clients.emplace_back(server.port());
  for (RawClient& client : clients) {
    const auto reply = client.Ask(wire::CreateHello(client.builder(), kProtocolVersion));
    reply.as<wire::Welcome>();
  }
  for (RawClient& client : clients) Ping(client);
  CHECK(server->connections() == 300);
  clients.clear();
  RequireConnections(server, 0);
}

TEST_CASE("Connections: peers that die in the middle of a frame leave nothing behind", "[walk]") {
  RunningServer server;
  RawClient steady = server.Connect();
  const TopicId topic = steady.CreateTopic("orders", 1);
  const wire::Uuid id = ToWire(topic);
  const Bytes batch = MakeBatch({.count = 5, .value_bytes = 100'000});
  for (int i = 0; i < 20; ++i) {
    RawClient dying = server.Connect();
    const Bytes frame = dying.Encode(1, wire::CreateProduce(dying.builder(), &id, 0), batch);
    dying.SendBytes(ByteView(frame).first(frame.size() * static_cast<std::size_t>(i) / 20));
  }
  RequireConnections(server, 1);
  CHECK(steady.Produce(topic, 0, batch).value() == 0);
}

TEST_CASE("Connections: the rest of a frame is not waited for for ever", "[walk]") {
  broker::ServerOptions options;
  options.connections.frame_timeout = std::chrono::milliseconds(200);
  RunningServer server(options);
  RawClient steady = server.Connect();
  RawClient half = server.Connect();
  const Bytes frame = half.Encode(1, wire::CreatePing(half.builder()));
  half.SendBytes(ByteView(frame).first(frame.size() - 1));
  const auto failure = half.Take();
  CHECK(failure.correlation() == 0);
  CHECK(NameOf(failure.code()) == "TIMED_OUT");
  CHECK(half.ClosedByBroker());
  // Who is between two frames may be silent.
  Ping(steady);
}

TEST_CASE("Connections: unfinished frames take a bounded share of the memory", "[walk]") {
  broker::ServerOptions options;
  options.unfinished_bytes_max = 4 << 20;
  RunningServer server(options);
  RawClient steady = server.Connect();
  const TopicId topic =
      steady.CreateTopic("orders", 1, {{"max.message.bytes", std::to_string(8 << 20)}});
  const wire::Uuid id = ToWire(topic);
  const Bytes batch = MakeBatch({.count = 3, .value_bytes = 1 << 20});
  std::vector<RawClient> hoarders;
  int refused = 0;
  for (int i = 0; i < 4; ++i) {
    RawClient hoarder = server.Connect();
    const Bytes frame = hoarder.Encode(1, wire::CreateProduce(hoarder.builder(), &id, 0), batch);
    hoarder.SendBytes(ByteView(frame).first(frame.size() - 8));
    hoarders.push_back(std::move(hoarder));
  }
  // Two of them are too many for 4 MiB; only the first can stay.
  for (RawClient& hoarder : hoarders) {
    pollfd readable{hoarder.socket(), POLLIN, 0};
    if (&hoarder == &hoarders.front() || ::poll(&readable, 1, 60'000) != 1) continue;
    const auto failure = hoarder.Take();
    CHECK(NameOf(failure.code()) == "TOO_MANY_IN_FLIGHT");
    ++refused;
  }
  CHECK(refused == 3);
  hoarders.clear();
  RequireConnections(server, 1);
  // The memory is free again.
  CHECK(steady.Produce(topic, 0, batch).value() == 0);
}

TEST_CASE("Connections: peers that die with answers and pushes on their way harm nobody",
          "[walk]") {
  RunningServer server;
  RawClient steady = server.Connect();
  const TopicId topic = steady.CreateTopic("orders", 1);
  const wire::Uuid id = ToWire(topic);
  for (int i = 0; i < 20; ++i) {
    RawClient dying = server.Connect();
    dying.AskSubscribe(topic, 0, {.start_at = wire::StartAt::Earliest}).as<wire::Subscribed>();
    Bytes frames;
    for (std::uint64_t k = 1; k <= 20; ++k) {
      AppendBytes(frames, dying.Encode(k, wire::CreateProduce(dying.builder(), &id, 0),
                                       MakeBatch({.value_bytes = 1000})));
    }
    dying.SendBytes(frames);
    const linger hard{1, 0};  // a reset instead of a goodbye
    ::setsockopt(dying.socket(), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  }
  RequireConnections(server, 1);
  Ping(steady);
}

TEST_CASE("Connections: random bytes after Hello end only their own connection", "[walk]") {
  RunningServer server;
  RawClient steady = server.Connect();
  const TopicId topic = steady.CreateTopic("orders", 1);
  const wire::Uuid id = ToWire(topic);
  std::mt19937 random(20261124);
  const Bytes good =
      steady.Encode(9, wire::CreateProduce(steady.builder(), &id, 0), MakeBatch({.count = 3}));
  for (int i = 0; i < 300; ++i) {
    RawClient client = server.Connect();
    Bytes bad = good;
    for (int flips = 0; flips < 1 + i % 4; ++flips) {
      bad[random() % bad.size()] ^= static_cast<std::byte>(1 + random() % 255);
    }
    client.SendBytes(bad);
    ::shutdown(client.socket(), SHUT_WR);
    while (client.Next()) {
    }
  }
  Ping(steady);
  // What was stored, if anything, is whole.
  steady.AskSubscribe(topic, 0, {.start_at = wire::StartAt::Earliest, .to_present_end = true})
      .as<wire::Subscribed>();
  for (;;) {
    const auto frame = steady.Take();
    if (frame.kind() == wire::Body::SubscriptionEnded) break;
    for (const auto& record : RecordsOf(frame.attachment())) {
      CHECK(record.value.substr(0, 6) == "value-");
    }
  }
}

TEST_CASE("Connections: a flood of requests whose answers are not taken is held back", "[walk]") {
  RunningServer server;
  RawClient flood = server.Connect();
  flood.CreateTopic("orders", 5000);
  Bytes requests;
  for (std::uint64_t i = 1; i <= 2000; ++i) {
    const auto name = flood.builder().CreateString("orders");
    AppendBytes(requests, flood.Encode(i, wire::CreateDescribeTopic(flood.builder(), name)));
  }
  // 2000 answers of 280 KB each: what the broker keeps of them is bounded, so it must stop reading
  // long before the end, and go on when they are taken.
  std::size_t sent = 0;
  std::uint64_t answered = 0;
  while (answered < 2000) {
    if (sent < requests.size()) sent += flood.SendWhatFits(ByteView(requests).subspan(sent));
    const auto frame = flood.Take();
    REQUIRE(frame.correlation() == ++answered);
    REQUIRE(frame.as<wire::TopicDescription>().partitions()->size() == 5000);
  }
}

TEST_CASE("Stop: clients are told, what was accepted is answered, and all is kept", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  CHECK(client.Produce(topic, 0, MakeBatch({.count = 7})).value() == 0);
  std::thread stopping([&] { server.Stop(); });
  const auto farewell = client.Take();
  CHECK(farewell.correlation() == 0);
  CHECK(NameOf(farewell.code()) == "STOPPING");
  CHECK(client.ClosedByBroker());
  stopping.join();
  server.Start();
  RawClient after = server.Connect();
  CHECK(after.Produce(topic, 0, MakeBatch({})).value() == 7);
  const auto reply = after.Ask(wire::CreateStatus(after.builder()));
  CHECK(reply.as<wire::StatusReply>().clean_start());
}

TEST_CASE("Stop: takes at most five seconds, whatever clients do", "[walk]") {
  RunningServer server;
  std::vector<RawClient> clients;
  RawClient producer = server.Connect();
  const TopicId topic = producer.CreateTopic("orders", 1);
  const wire::Uuid id = ToWire(topic);
  for (int i = 0; i < 40; ++i) {
    producer.Produce(topic, 0, MakeBatch({.first = i, .value_bytes = 500'000}));
  }
  for (int i = 0; i < 10; ++i) {
    clients.emplace_back(server.port());  // silent before Hello
    clients.push_back(server.Connect());  // silent after Hello
    RawClient half = server.Connect();    // half a frame
    const Bytes frame = half.Encode(1, wire::CreateProduce(half.builder(), &id, 0),
                                    MakeBatch({.value_bytes = 300'000}));
    half.SendBytes(ByteView(frame).first(frame.size() / 2));
    clients.push_back(std::move(half));
    RawClient lazy = server.Connect();  // never reads what it asked for
    lazy.AskSubscribe(topic, 0, {.id = 1}).as<wire::Subscribed>();
    clients.push_back(std::move(lazy));
  }
  CHECK(TimeToStop(server) < kStopAtMost);
  clients.clear();
  server.Start();
  RawClient after = server.Connect();
  CHECK(after.Produce(topic, 0, MakeBatch({})).value() == 40);
}

TEST_CASE("Stop: a producer at full speed gets an answer or a closed connection, no lie",
          "[walk]") {
  RunningServer server;
  TopicId topic;
  {
    RawClient admin = server.Connect();
    topic = admin.CreateTopic("orders", 1);
  }
  RawClient client = server.Connect();
  const wire::Uuid id = ToWire(topic);
  std::int64_t acknowledged = 0;
  std::int64_t sent = 0;
  const auto send_one = [&] {
    const Bytes batch = MakeBatch({.first = static_cast<int>(sent)});
    ++sent;
    return client.Encode(static_cast<std::uint64_t>(sent),
                         wire::CreateProduce(client.builder(), &id, 0), batch);
  };
  for (int i = 0; i < 50; ++i) client.SendBytes(send_one());
  std::thread stopping;
  while (auto frame = client.Next()) {
    if (frame->kind() != wire::Body::Produced) continue;
    ++acknowledged;
    if (acknowledged == 200) stopping = std::thread([&] { server.Stop(); });
    const Bytes next = send_one();
    if (acknowledged < 200) {
      client.SendBytes(next);
    } else {
      client.SendWhatFits(next);
    }
  }
  stopping.join();
  server.Start();
  RawClient after = server.Connect();
  const auto reply =
      after.AskSubscribe(topic, 0, {.start_at = wire::StartAt::Earliest, .to_present_end = true});
  CHECK(reply.as<wire::Subscribed>().committed_end() >= acknowledged);
  CHECK(reply.as<wire::Subscribed>().committed_end() <= sent);
}

TEST_CASE("Start: a taken port, a locked directory and a public address are refused", "[walk]") {
  RunningServer server;
  broker::ServerOptions options = server.options();
  SECTION("the directory is in use") {
    const auto second = broker::Server::Start(options);
    REQUIRE_FALSE(second.ok());
    CHECK_THAT(std::string(second.status().message()), Catch::Contains(options.data_dir.string()));
  }
  storage::TempDir other;
  options.data_dir = other / "data";
  SECTION("the port is in use") {
    options.listen.address.port = server.port();
    const auto second = broker::Server::Start(options);
    REQUIRE_FALSE(second.ok());
    CHECK_THAT(std::string(second.status().message()),
               Catch::Contains(std::to_string(server.port())) && Catch::Contains("in use"));
  }
  SECTION("other machines could reach it") {
    options.listen.address.host = "0.0.0.0";
    const auto second = broker::Server::Start(options);
    REQUIRE_FALSE(second.ok());
    CHECK_THAT(std::string(second.status().message()),
               Catch::Contains("--insecure-public-listener"));
    options.listen.allow_public = true;
    CHECK(broker::Server::Start(options).ok());
  }
  SECTION("nobody knows the host") {
    options.listen.address.host = "no-such-host.invalid";
    CHECK_FALSE(broker::Server::Start(options).ok());
  }
  RawClient client = server.Connect();
  Ping(client);
}

}  // namespace cairn::test
