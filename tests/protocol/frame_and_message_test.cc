#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "protocol/frame.h"
#include "protocol/limits.h"
#include "protocol/messages.h"
#include "tests/protocol/sample.h"

namespace cairn {
namespace {

// Bytes at an address that is a multiple of 8, as receive buffers are.
class AlignedBytes {
 public:
  explicit AlignedBytes(ByteView bytes)
      : words_(PadTo8(bytes.size()) / 8 + 1), size_(bytes.size()) {
    if (!bytes.empty()) std::memcpy(words_.data(), bytes.data(), bytes.size());
  }
  MutableBytes bytes() { return {reinterpret_cast<std::byte*>(words_.data()), size_}; }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t size_;
};

Bytes Header(std::uint32_t size, std::uint32_t control_size) {
  Bytes bytes;
  AppendLe(bytes, size);
  AppendLe(bytes, control_size);
  return bytes;
}

ErrorCode VerdictOn(std::uint32_t size, std::uint32_t control_size,
                    const FrameLimits& limits = {}) {
  return CodeOf(PeekFrame(Header(size, control_size), limits).status());
}

// A whole frame: a Produce with this attachment.
Bytes ProduceFrame(ByteView attachment) {
  flatbuffers::FlatBufferBuilder builder;
  const wire::Uuid topic = ToWire(TopicId{{1, 2, 3}});
  Bytes frame;
  FinishFrame(builder, 7, wire::CreateProduce(builder, &topic, 4, wire::Acks::Written),
              attachment.size(), frame);
  AppendBytes(frame, attachment);
  frame.resize(PadTo8(frame.size()));
  return frame;
}

// The control of a message, as it would lie in a frame.
template <typename Make>
Bytes ControlOf(Make make) {
  flatbuffers::FlatBufferBuilder builder;
  Bytes frame;
  FinishFrame(builder, 1, make(builder), 0, frame);
  return {frame.begin() + kFrameHeaderBytes, frame.end()};
}

absl::Status Parse(ByteView control) {
  AlignedBytes aligned(control);
  return ParseMessage(aligned.bytes()).status();
}

TEST_CASE("Frame: what was put in comes out", "[protocol][frame]") {
  for (std::size_t size = 0; size < 20; ++size) {
    const Bytes attachment = Counting(size);
    AlignedBytes bytes(ProduceFrame(attachment));
    const auto peeked = PeekFrame(bytes.bytes(), {});
    REQUIRE(peeked.ok());
    CHECK(peeked->frame_bytes == bytes.bytes().size());
    const auto frame = ParseFrame(bytes.bytes());
    REQUIRE(frame.ok());
    CHECK(frame->frame_bytes == bytes.bytes().size());
    CHECK(ToHex(frame->attachment) == ToHex(attachment));
    const auto message = ParseMessage(frame->control);
    REQUIRE(message.ok());
    CHECK((*message)->correlation() == 7);
    CHECK((*message)->body_as_Produce()->partition() == 4);
    CHECK((*message)->body_as_Produce()->acks() == wire::Acks::Written);
    CHECK(FromWire(*(*message)->body_as_Produce()->topic()) == TopicId{{1, 2, 3}});
  }
}

TEST_CASE("Frame: half a header says nothing yet", "[protocol][frame]") {
  const Bytes header = Header(64, 64);
  for (std::size_t size = 0; size < kFrameHeaderBytes; ++size) {
    const auto peeked = PeekFrame(ByteView(header).first(size), {});
    REQUIRE(peeked.ok());
    CHECK(peeked->frame_bytes == 0);
  }
  CHECK(PeekFrame(header, {})->frame_bytes == 72);
  CHECK(PeekFrame(Header(65, 64), {})->frame_bytes == 80);
}

TEST_CASE("Frame: sizes that lie are refused before anything is allocated", "[protocol][frame]") {
  for (const std::uint32_t size : {0u, 1u, 7u}) CHECK(VerdictOn(size, 8) == ErrorCode::kMalformed);
  for (const std::uint32_t size : {0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    CHECK(VerdictOn(size, 8) == ErrorCode::kTooLarge);
    CHECK(VerdictOn(64, size) == ErrorCode::kMalformed);
    CHECK(VerdictOn(size, size) == ErrorCode::kTooLarge);
  }
  for (const std::uint32_t control : {0u, 1u, 4u, 7u, 9u, 63u}) {
    CHECK(VerdictOn(64, control) == ErrorCode::kMalformed);
  }
  CHECK(VerdictOn(64, 72) == ErrorCode::kMalformed);
  CHECK(VerdictOn(64, 64) == ErrorCode::kOk);
}

TEST_CASE("Frame: the limits hold to the byte", "[protocol][frame]") {
  const auto frame_max = static_cast<std::uint32_t>(kFrameBytesMax);
  const auto control_max = static_cast<std::uint32_t>(kControlBytesMax);
  CHECK(VerdictOn(frame_max, 8) == ErrorCode::kOk);
  CHECK(VerdictOn(frame_max + 1, 8) == ErrorCode::kTooLarge);
  CHECK(VerdictOn(frame_max, control_max) == ErrorCode::kOk);
  CHECK(VerdictOn(frame_max, control_max + 8) == ErrorCode::kTooLarge);
  const FrameLimits before_hello{.frame_bytes_max = kFrameBytesMaxBeforeHello,
                                 .control_bytes_max = kFrameBytesMaxBeforeHello};
  CHECK(VerdictOn(4096, 4096, before_hello) == ErrorCode::kOk);
  CHECK(VerdictOn(4097, 8, before_hello) == ErrorCode::kTooLarge);
}

TEST_CASE("Frame: padding that is not zero is refused", "[protocol][frame]") {
  const Bytes whole = ProduceFrame(Counting(3));
  for (std::size_t back = 1; back <= 5; ++back) {
    Bytes bytes = whole;
    bytes[bytes.size() - back] = std::byte{1};
    AlignedBytes aligned(bytes);
    CHECK(CodeOf(ParseFrame(aligned.bytes()).status()) == ErrorCode::kMalformed);
  }
}

TEST_CASE("Frame: several frames in one buffer are each aligned", "[protocol][frame]") {
  Bytes bytes;
  for (const std::size_t size : {0u, 1u, 8u, 61u}) AppendBytes(bytes, ProduceFrame(Counting(size)));
  AlignedBytes aligned(bytes);
  MutableBytes rest = aligned.bytes();
  for (const std::size_t size : {0u, 1u, 8u, 61u}) {
    const auto frame = ParseFrame(rest);
    REQUIRE(frame.ok());
    CHECK(frame->attachment.size() == size);
    CHECK(ParseMessage(frame->control).ok());
    rest = rest.subspan(frame->frame_bytes);
  }
  CHECK(rest.empty());
}

TEST_CASE("Frame: a fixed frame has its golden bytes", "[protocol][frame][golden]") {
  flatbuffers::FlatBufferBuilder builder;
  Bytes frame;
  FinishFrame(builder, 0x0102030405060708, wire::CreateCredit(builder, 9, 65536), 0, frame);
  CHECK(ToHex(frame) ==
        "4000000040000000"                  // size, control size
        "1400000043524e31"                  // where the root table is, "CRN1"
        "00000a0014000c00070008000a000000"  // padding, the vtable of Message
        "0000000d14000000"                  // its vtable, kind 13, where the body is
        "0807060504030201"                  // correlation
        "08001000040008000800000009000000"  // vtable of Credit; subscription 9
        "0000010000000000");
}

TEST_CASE("Message: a builder that is reused gives the same bytes", "[protocol][message]") {
  flatbuffers::FlatBufferBuilder builder;
  Bytes first, second;
  FinishFailure(builder, 3, MakeError(ErrorCode::kUnknownTopic, "no orders"), first);
  FinishFailure(builder, 3, MakeError(ErrorCode::kUnknownTopic, "no orders"), second);
  CHECK(first == second);
  AlignedBytes aligned(first);
  const auto frame = ParseFrame(aligned.bytes());
  REQUIRE(frame.ok());
  const auto message = ParseMessage(frame->control);
  REQUIRE(message.ok());
  const wire::Failure* failure = (*message)->body_as_Failure();
  REQUIRE(failure != nullptr);
  const absl::Status status = StatusFromWire(failure->code(), FromWire(failure->message()));
  CHECK(status == MakeError(ErrorCode::kUnknownTopic, "no orders"));
}

TEST_CASE("Message: a cut anywhere is malformed, and nothing else happens", "[protocol][message]") {
  const Bytes whole = ControlOf(
      [](auto& builder) { return wire::CreateHelloDirect(builder, 1, "a client", "software/1"); });
  REQUIRE(Parse(whole).ok());
  // What FlatBuffers itself needs no padding for may be cut off.
  const std::size_t needed = whole.size() - 8;
  for (std::size_t size = 0; size < needed; ++size) {
    INFO("cut to " << size);
    CHECK(CodeOf(Parse(ByteView(whole).first(size))) == ErrorCode::kMalformed);
  }
}

TEST_CASE("Message: every flipped byte is refused or gives a message that can be read",
          "[protocol][message]") {
  const Bytes whole =
      ControlOf([](auto& builder) { return wire::CreateCreateTopicDirect(builder, "orders", 4); });
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      Bytes flipped = whole;
      flipped[at] ^= static_cast<std::byte>(1u << bit);
      AlignedBytes aligned(flipped);
      const auto message = ParseMessage(aligned.bytes());
      INFO("bit " << bit << " of byte " << at);
      if (!message.ok()) {
        CHECK(CodeOf(message.status()) == ErrorCode::kMalformed);
      } else if (const auto* create = (*message)->body_as_CreateTopic()) {
        CHECK(FromWire(create->name()).size() <= whole.size());
      }
    }
  }
}

TEST_CASE("Message: the file identifier is asked for", "[protocol][message]") {
  Bytes control = ControlOf([](auto& builder) { return wire::CreatePing(builder); });
  REQUIRE(Parse(control).ok());
  REQUIRE(AsText(ByteView(control).subspan(4, 4)) == "CRN1");
  control[7] = std::byte{'2'};
  CHECK(CodeOf(Parse(control)) == ErrorCode::kMalformed);
}

TEST_CASE("Message: an unknown kind and a missing body are malformed", "[protocol][message]") {
  const auto with_body = [](int kind, bool present) {
    flatbuffers::FlatBufferBuilder builder;
    const auto ping = wire::CreatePing(builder).Union();
    wire::MessageBuilder message(builder);
    message.add_correlation(1);
    if (present) message.add_body(ping);
    message.add_body_type(static_cast<wire::Body>(kind));
    wire::FinishMessageBuffer(builder, message.Finish());
    return Bytes(
        reinterpret_cast<const std::byte*>(builder.GetBufferPointer()),
        reinterpret_cast<const std::byte*>(builder.GetBufferPointer()) + builder.GetSize());
  };
  CHECK(Parse(with_body(static_cast<int>(wire::Body::Ping), true)).ok());
  CHECK(CodeOf(Parse(with_body(static_cast<int>(wire::Body::Ping), false))) ==
        ErrorCode::kMalformed);
  CHECK(CodeOf(Parse(with_body(0, false))) == ErrorCode::kMalformed);
  CHECK(CodeOf(Parse(with_body(static_cast<int>(wire::Body::MAX) + 1, true))) ==
        ErrorCode::kMalformed);
  CHECK(CodeOf(Parse(with_body(255, true))) == ErrorCode::kMalformed);
}

TEST_CASE("Message: required parts are asked for by name", "[protocol][message]") {
  const auto lacks = [](const Bytes& control, const std::string& what) {
    const absl::Status status = Parse(control);
    return CodeOf(status) == ErrorCode::kMalformed &&
           std::string(status.message()).find(what) != std::string::npos;
  };
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateProduce(b); }), "topic"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateSubscribe(b); }), "topic"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateListOffsets(b); }), "topic"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateCreateTopic(b); }), "name"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateDescribeTopic(b); }), "name"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateAlterTopic(b); }), "name"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateDeleteTopic(b); }), "name"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateTrimTopic(b); }), "name"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateWelcome(b); }), "cluster_id"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateTopicCreated(b); }), "id"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateTopicDescription(b); }), "id"));
  CHECK(lacks(ControlOf([](auto& b) { return wire::CreateStatusReply(b); }), "cluster_id"));
}

TEST_CASE("Message: more tables than the limit are refused", "[protocol][message]") {
  const auto with_entries = [](std::size_t count) {
    return ControlOf([count](flatbuffers::FlatBufferBuilder& builder) {
      // One table that stands in the list many times: small on the wire, long to look at.
      const auto entry = wire::CreateConfigEntryDirect(builder, "a", "b");
      const std::vector<flatbuffers::Offset<wire::ConfigEntry>> entries(count, entry);
      return wire::CreateCreateTopicDirect(builder, "orders", 1, &entries);
    });
  };
  // The message and the body are tables too.
  CHECK(Parse(with_entries(kControlTablesMax - 2)).ok());
  CHECK(CodeOf(Parse(with_entries(kControlTablesMax))) == ErrorCode::kMalformed);
  CHECK(CodeOf(Parse(with_entries(100'000))) == ErrorCode::kMalformed);
}

TEST_CASE("Message: a control over the limit is refused unseen", "[protocol][message]") {
  const std::string name(kControlBytesMax, 'x');
  const Bytes control = ControlOf(
      [&](auto& builder) { return wire::CreateDeleteTopicDirect(builder, name.c_str()); });
  CHECK(CodeOf(Parse(control)) == ErrorCode::kMalformed);
}

}  // namespace
}  // namespace cairn
