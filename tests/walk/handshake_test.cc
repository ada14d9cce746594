// The first frames, and what happens to those who do not know them.

#include <cstring>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "protocol/limits.h"
#include "tests/walk/running_server.h"

namespace cairn::test {
namespace {

template <typename Table>
Bytes EncodeOnly(flatbuffers::FlatBufferBuilder& builder, flatbuffers::Offset<Table> body) {
  Bytes out;
  FinishFrame(builder, 1, body, 0, out);
  return out;
}

Bytes HelloFrame(std::uint16_t version, std::string_view client_id = "test") {
  flatbuffers::FlatBufferBuilder builder;
  const auto id = ToWire(builder, client_id);
  return EncodeOnly(builder, wire::CreateHello(builder, version, id));
}

// The broker says why, as a Failure of the connection itself, and closes.
void RequireTurnedOut(RawClient& client, ErrorCode code) {
  const auto failure = client.Take();
  CHECK(failure.correlation() == 0);
  CHECK(NameOf(failure.code()) == NameOf(code));
  CHECK_FALSE(failure.text().empty());
  CHECK(client.ClosedByBroker());
}

broker::ServerOptions Impatient() {
  broker::ServerOptions options;
  options.connections.hello_timeout = std::chrono::milliseconds(200);
  return options;
}

}  // namespace

TEST_CASE("Handshake: Hello is answered with what the broker is and can take", "[walk]") {
  RunningServer server;
  RawClient client(server.port());
  auto& builder = client.builder();
  const auto id = builder.CreateString("me");
  const auto reply = client.Ask(wire::CreateHello(builder, kProtocolVersion, id));
  const auto& welcome = reply.as<wire::Welcome>();
  CHECK(welcome.protocol_version() == kProtocolVersion);
  CHECK(welcome.frame_bytes_max() == kFrameBytesMax);
  CHECK(FromWire(*welcome.cluster_id()) != TopicId{});
  CHECK(FromWire(welcome.software()).substr(0, 7) == "cairnd/");
}

TEST_CASE("Handshake: the cluster id stays the same for life", "[walk]") {
  RunningServer server;
  const auto cluster_id = [&] {
    RawClient client(server.port());
    const auto reply = client.Ask(wire::CreateHello(client.builder(), kProtocolVersion));
    return FromWire(*reply.as<wire::Welcome>().cluster_id());
  };
  const TopicId before = cluster_id();
  server.Restart();
  CHECK(cluster_id() == before);
}

TEST_CASE("Handshake: another version is told which one is spoken", "[walk]") {
  RunningServer server;
  RawClient client(server.port());
  client.SendBytes(HelloFrame(77));
  const auto failure = client.Take();
  CHECK(NameOf(failure.code()) == "UNSUPPORTED_VERSION");
  CHECK_THAT(failure.text(), Catch::Contains("77") && Catch::Contains("version 1"));
  CHECK(client.ClosedByBroker());
}

TEST_CASE("Handshake: a request before Hello ends the connection", "[walk]") {
  RunningServer server;
  RawClient client(server.port());
  client.Send(5, wire::CreatePing(client.builder()));
  RequireTurnedOut(client, ErrorCode::kMalformed);
}

TEST_CASE("Handshake: a second Hello is refused, and the connection goes on", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  CHECK(client.Ask(wire::CreateHello(client.builder(), kProtocolVersion)).code() ==
        ErrorCode::kInvalidRequest);
  CHECK(client.Ask(wire::CreatePing(client.builder())).kind() == wire::Body::Pong);
}

TEST_CASE("Handshake: a client id that is too long ends the connection", "[walk]") {
  RunningServer server;
  RawClient client(server.port());
  client.SendBytes(HelloFrame(kProtocolVersion, std::string(kClientIdBytesMax + 1, 'x')));
  RequireTurnedOut(client, ErrorCode::kInvalidRequest);
}

TEST_CASE("Handshake: garbage gets a clear answer and a close", "[walk]") {
  RunningServer server;
  SECTION("another protocol") {
    RawClient client(server.port());
    client.SendBytes(AsBytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    RequireTurnedOut(client, ErrorCode::kTooLarge);
  }
  SECTION("zeros") {
    RawClient client(server.port());
    client.SendBytes(Bytes(64));
    RequireTurnedOut(client, ErrorCode::kMalformed);
  }
  SECTION("a frame around nonsense") {
    RawClient client(server.port());
    Bytes frame(kFrameHeaderBytes + 64, std::byte{0x5a});
    StoreFrameHeader(frame, 64, 0);
    client.SendBytes(frame);
    RequireTurnedOut(client, ErrorCode::kMalformed);
  }
  SECTION("another file identifier") {
    RawClient client(server.port());
    Bytes frame = HelloFrame(kProtocolVersion);
    std::memcpy(frame.data() + kFrameHeaderBytes + 4, "CRN9", 4);
    client.SendBytes(frame);
    RequireTurnedOut(client, ErrorCode::kMalformed);
  }
  // And the others are served as ever.
  RawClient other = server.Connect();
  CHECK(other.Ask(wire::CreatePing(other.builder())).kind() == wire::Body::Pong);
}

TEST_CASE("Handshake: sizes that lie are refused on sight", "[walk]") {
  RunningServer server;
  const auto header = [](std::uint32_t size, std::uint32_t control) {
    Bytes bytes(kFrameHeaderBytes);
    StoreLe(MutableBytes(bytes), 0, size);
    StoreLe(MutableBytes(bytes), 4, control);
    return bytes;
  };
  RawClient client(server.port());
  SECTION("a first frame larger than a Hello can be") {
    client.SendBytes(header(static_cast<std::uint32_t>(kFrameBytesMaxBeforeHello) + 8, 64));
    RequireTurnedOut(client, ErrorCode::kTooLarge);
  }
  SECTION("more control than frame") {
    client.SendBytes(header(64, 128));
    RequireTurnedOut(client, ErrorCode::kMalformed);
  }
  SECTION("a control that is not aligned") {
    client.SendBytes(header(64, 63));
    RequireTurnedOut(client, ErrorCode::kMalformed);
  }
  SECTION("no control at all") {
    client.SendBytes(header(64, 0));
    RequireTurnedOut(client, ErrorCode::kMalformed);
  }
  SECTION("after Hello, more than the broker said it takes") {
    RawClient greeted = server.Connect();
    greeted.SendBytes(header(static_cast<std::uint32_t>(kFrameBytesMax) + 8, 64));
    RequireTurnedOut(greeted, ErrorCode::kTooLarge);
  }
}

TEST_CASE("Handshake: every byte of Hello may be wrong without harm", "[walk]") {
  RunningServer server;
  const Bytes good = HelloFrame(kProtocolVersion);
  for (std::size_t i = 0; i < good.size(); ++i) {
    Bytes bad = good;
    bad[i] ^= std::byte{0xff};
    RawClient client(server.port());
    client.SendBytes(bad);
    // So that a frame that now claims to be longer is not waited for.
    ::shutdown(client.socket(), SHUT_WR);
    while (client.Next()) {
    }
  }
  RawClient other = server.Connect();
  CHECK(other.Ask(wire::CreatePing(other.builder())).kind() == wire::Body::Pong);
}

TEST_CASE("Handshake: half a frame and silence is closed when its time is up", "[walk]") {
  RunningServer server(Impatient());
  const Bytes hello = HelloFrame(kProtocolVersion);
  RawClient half(server.port());
  half.SendBytes(ByteView(hello).first(hello.size() / 2));
  RawClient silent(server.port());
  RequireTurnedOut(half, ErrorCode::kTimedOut);
  RequireTurnedOut(silent, ErrorCode::kTimedOut);
}

TEST_CASE("Handshake: who has said Hello may be silent as long as it likes", "[walk]") {
  RunningServer server(Impatient());
  RawClient greeted = server.Connect();
  RawClient silent(server.port());
  // By the time the silent one has been closed the other's time would be up as well.
  RequireTurnedOut(silent, ErrorCode::kTimedOut);
  CHECK(greeted.Ask(wire::CreatePing(greeted.builder())).kind() == wire::Body::Pong);
}

TEST_CASE("Handshake: frames may come in any pieces", "[walk]") {
  RunningServer server;
  RawClient client(server.port());
  Bytes bytes = HelloFrame(kProtocolVersion);
  for (int i = 0; i < 3; ++i) {
    AppendBytes(bytes, client.Encode(10 + static_cast<std::uint64_t>(i),
                                     wire::CreatePing(client.builder())));
  }
  for (const std::byte& byte : bytes) client.SendBytes({&byte, 1});
  CHECK(client.TakeReply(1).kind() == wire::Body::Welcome);
  for (std::uint64_t i = 10; i < 13; ++i) CHECK(client.TakeReply(i).kind() == wire::Body::Pong);
}

TEST_CASE("Handshake: what only a broker says is refused, and the connection goes on", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  CHECK(client.Ask(wire::CreateTopicDeleted(client.builder())).code() ==
        ErrorCode::kInvalidRequest);
  CHECK(client.Ask(wire::CreatePing(client.builder())).kind() == wire::Body::Pong);
}

TEST_CASE("Handshake: an attachment where none belongs is refused", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  CHECK(client.Ask(wire::CreatePing(client.builder()), AsBytes("something")).code() ==
        ErrorCode::kInvalidRequest);
}

TEST_CASE("Handshake: who closes its sending side still gets its answers", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  const wire::Uuid id = ToWire(topic);
  const Bytes batch = MakeBatch({.count = 3});
  client.Send(7, wire::CreateProduce(client.builder(), &id, 0, wire::Acks::Durable), batch);
  ::shutdown(client.socket(), SHUT_WR);
  CHECK(client.TakeReply(7).as<wire::Produced>().durability() == wire::Durability::Durable);
  CHECK(client.ClosedByBroker());
}

}  // namespace cairn::test
