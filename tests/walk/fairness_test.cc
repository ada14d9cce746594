// One worker, several connections: nobody keeps it for himself.

#include <catch2/catch.hpp>

#include "tests/walk/running_server.h"

namespace cairn::test {

TEST_CASE("Fairness: a peer with much to ask leaves the worker to others in between", "[walk]") {
  broker::ServerOptions options;
  options.threads = 1;
  RunningServer server(options);
  RawClient busy = server.Connect();
  busy.CreateTopic("wide", 2000);

  // A few bytes each, and a lot of work; correlation 0, so that no answer slows them.
  Bytes questions = busy.Encode(1, wire::CreatePing(busy.builder()));
  for (int i = 0; i < 2000; ++i) {
    const auto name = ToWire(busy.builder(), "wide");
    AppendBytes(questions, busy.Encode(0, wire::CreateDescribeTopic(busy.builder(), name)));
  }
  AppendBytes(questions, busy.Encode(2, wire::CreatePing(busy.builder())));
  busy.SendBytes(questions);

  RawClient other(server.port());
  other.SendBytes([&] {
    const auto id = ToWire(other.builder(), "other");
    return other.Encode(1, wire::CreateHello(other.builder(), kProtocolVersion, id));
  }());
  CHECK(other.TakeReply(1).kind() == wire::Body::Welcome);
  // The first answer was not kept back until the last question either.
  CHECK(busy.Take().correlation() == 1);
  CHECK_FALSE(busy.HasBytes());
  CHECK(busy.Take().correlation() == 2);
}

}  // namespace cairn::test
