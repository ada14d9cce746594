#include "protocol/messages.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "tests/protocol/examples.h"

namespace cairn {
namespace {

using flatbuffers::FlatBufferBuilder;

// The control of the frame in `bytes`, at its own aligned address and of its exact size, so that a
// sanitizer sees a read beyond it.
class Control {
 public:
  explicit Control(ByteView bytes) : words_(new std::uint64_t[bytes.size() / 8 + 1]) {
    if (!bytes.empty()) std::memcpy(words_.get(), bytes.data(), bytes.size());
    size_ = bytes.size();
  }
  MutableBytes bytes() { return {reinterpret_cast<std::byte*>(words_.get()), size_}; }

 private:
  std::unique_ptr<std::uint64_t[]> words_;
  std::size_t size_ = 0;
};

Control ControlOf(Bytes frame) {
  const auto parsed = ParseFrame(frame);
  REQUIRE(parsed.ok());
  return Control(parsed->control);
}

ErrorCode Parse(const Bytes& frame) {
  Control control = ControlOf(frame);
  return CodeOf(ParseMessage(control.bytes()).status());
}

// A frame with a body of that kind and nothing in it.
template <typename Table>
Bytes Empty() {
  FlatBufferBuilder builder;
  Bytes frame;
  const auto start = builder.StartTable();
  FinishFrame(builder, 1, flatbuffers::Offset<Table>(builder.EndTable(start)), 0, frame);
  return frame;
}

TEST_CASE("Messages: a Produce reads as it was written", "[protocol][messages]") {
  Control control = ControlOf(examples::ProduceFrame());
  const auto message = ParseMessage(control.bytes());
  REQUIRE(message.ok());
  CHECK((*message)->correlation() == 2);
  const auto* produce = (*message)->body_as_Produce();
  REQUIRE(produce != nullptr);
  CHECK(FromWire(*produce->topic()) == examples::kTopic);
  CHECK(produce->partition() == 3);
  CHECK(produce->acks() == wire::Acks::Durable);
}

TEST_CASE("Messages: a builder makes many frames into one buffer", "[protocol][messages]") {
  FlatBufferBuilder builder;
  Bytes out;
  for (std::uint64_t correlation = 1; correlation <= 3; ++correlation) {
    FinishFrame(builder, correlation, wire::CreatePing(builder), 0, out);
  }
  MutableBytes rest(out);
  for (std::uint64_t correlation = 1; correlation <= 3; ++correlation) {
    const auto frame = ParseFrame(rest);
    REQUIRE(frame.ok());
    Control control(frame->control);
    const auto message = ParseMessage(control.bytes());
    REQUIRE(message.ok());
    CHECK((*message)->correlation() == correlation);
    CHECK((*message)->body_type() == wire::Body::Ping);
    rest = rest.subspan(frame->frame_bytes);
  }
  CHECK(rest.empty());
}

TEST_CASE("Messages: a failure brings its code and its text", "[protocol][messages]") {
  FlatBufferBuilder builder;
  Bytes frame;
  FinishFailure(builder, 9, MakeError(ErrorCode::kStorageFull, "the disk is full"), frame);
  Control control = ControlOf(frame);
  const auto message = ParseMessage(control.bytes());
  REQUIRE(message.ok());
  const auto* failure = (*message)->body_as_Failure();
  REQUIRE(failure != nullptr);
  const absl::Status status = StatusFromWire(failure->code(), FromWire(failure->message()));
  CHECK(CodeOf(status) == ErrorCode::kStorageFull);
  CHECK(status.message() == "the disk is full");
  CHECK(StatusFromWire(0, "whatever").ok());
}

TEST_CASE("Messages: required parts are asked for, others are not", "[protocol][messages]") {
  CHECK(Parse(Empty<wire::Welcome>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::Produce>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::Subscribe>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::ListOffsets>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::CreateTopic>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::TopicCreated>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::DescribeTopic>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::TopicDescription>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::AlterTopic>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::DeleteTopic>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::TrimTopic>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::StatusReply>()) == ErrorCode::kMalformed);
  CHECK(Parse(Empty<wire::Hello>()) == ErrorCode::kOk);
  CHECK(Parse(Empty<wire::Ping>()) == ErrorCode::kOk);
  CHECK(Parse(Empty<wire::Metadata>()) == ErrorCode::kOk);
  CHECK(Parse(Empty<wire::Failure>()) == ErrorCode::kOk);
}

TEST_CASE("Messages: a kind that is not known, or none at all, is malformed",
          "[protocol][messages]") {
  for (const int kind : {0, static_cast<int>(wire::Body::MAX) + 1, 255}) {
    FlatBufferBuilder builder;
    Bytes frame;
    const auto ping = wire::CreatePing(builder);
    FinishFrameAs(builder, 1, static_cast<wire::Body>(kind), ping.Union(), 0, frame);
    CAPTURE(kind);
    CHECK(Parse(frame) == ErrorCode::kMalformed);
  }
  FlatBufferBuilder builder;
  wire::FinishMessageBuffer(builder, wire::CreateMessage(builder, 1, wire::Body::Ping));
  Bytes bytes(PadTo8(builder.GetSize()));
  std::memcpy(bytes.data(), builder.GetBufferPointer(), builder.GetSize());
  Control control(bytes);
  CHECK(CodeOf(ParseMessage(control.bytes()).status()) == ErrorCode::kMalformed);
}

TEST_CASE("Messages: one cut at any multiple of eight does not verify", "[protocol][messages]") {
  for (const Bytes& frame : {examples::HelloFrame(), examples::WelcomeFrame(),
                             examples::ProduceFrame(), examples::FailureFrame()}) {
    Control whole = ControlOf(frame);
    REQUIRE(ParseMessage(whole.bytes()).ok());
    for (std::size_t size = 0; size < whole.bytes().size(); size += 8) {
      Control cut(whole.bytes().first(size));
      CAPTURE(size);
      CHECK(CodeOf(ParseMessage(cut.bytes()).status()) == ErrorCode::kMalformed);
    }
  }
}

TEST_CASE("Messages: whatever a flipped bit makes can be read safely or is malformed",
          "[protocol][messages]") {
  Control control = ControlOf(examples::ProduceFrame());
  const MutableBytes bytes = control.bytes();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[at] ^= static_cast<std::byte>(1 << bit);
      const auto message = ParseMessage(bytes);
      if (message.ok()) {
        if (const auto* produce = (*message)->body_as_Produce()) {
          REQUIRE(produce->topic() != nullptr);
          (void)FromWire(*produce->topic());
        }
      } else {
        REQUIRE(CodeOf(message.status()) == ErrorCode::kMalformed);
      }
      bytes[at] ^= static_cast<std::byte>(1 << bit);
    }
  }
}

TEST_CASE("Messages: another file identifier is not ours", "[protocol][messages]") {
  Control control = ControlOf(examples::HelloFrame());
  control.bytes()[7] = std::byte{'2'};
  CHECK(CodeOf(ParseMessage(control.bytes()).status()) == ErrorCode::kMalformed);
}

ErrorCode ParseConfigs(std::size_t count) {
  FlatBufferBuilder builder;
  Bytes frame;
  const auto entry = wire::CreateConfigEntry(builder);
  const std::vector<flatbuffers::Offset<wire::ConfigEntry>> entries(count, entry);
  const auto configs = builder.CreateVector(entries);
  const auto name = ToWire(builder, "orders");
  FinishFrame(builder, 1, wire::CreateCreateTopic(builder, name, 1, configs), 0, frame);
  return Parse(frame);
}

TEST_CASE("Messages: a table repeated by reference is counted each time", "[protocol][messages]") {
  CHECK(ParseConfigs(kControlTablesMax - 2) == ErrorCode::kOk);
  CHECK(ParseConfigs(kControlTablesMax - 1) == ErrorCode::kMalformed);
  CHECK(ParseConfigs(100'000) == ErrorCode::kMalformed);
}

TEST_CASE("Messages: the largest assignment of a group did not fit in a control",
          "[protocol][messages]") {
  FlatBufferBuilder builder;
  const wire::Uuid id{};
  std::vector<flatbuffers::Offset<wire::GroupTopic>> topics;
  for (std::size_t i = 0; i < kGroupTopicsReadMax; ++i) {
    const auto name = ToWire(builder, std::string(kTopicNameBytesMax, 'n'));
    topics.push_back(wire::CreateGroupTopic(builder, &id, name));
  }
  const std::vector<wire::AssignedPartition> partitions(kGroupPartitionsMax,
                                                        wire::AssignedPartition(id, 1, 1, 1, 1));
  const auto group = ToWire(builder, std::string(kGroupNameBytesMax, 'g'));
  const auto topic_vector = builder.CreateVector(topics);
  const auto partition_vector = builder.CreateVectorOfStructs(partitions);
  Bytes frame;
  FinishFrame(builder, 0,
              wire::CreateGroupAssignment(builder, group, &id, 1, topic_vector, partition_vector),
              0, frame);
  CHECK(frame.size() <= kFrameHeaderBytes + kControlBytesMax);
  CHECK(Parse(frame) == ErrorCode::kOk);
}

TEST_CASE("Messages: a control of an impossible size is not looked at", "[protocol][messages]") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{8}, kControlBytesMax + 8}) {
    Control control{Bytes(size)};
    CHECK(CodeOf(ParseMessage(control.bytes()).status()) == ErrorCode::kMalformed);
  }
}

TEST_CASE("Messages: ids and durabilities keep their value across the wire",
          "[protocol][messages]") {
  const TopicId id = NewTopicId();
  CHECK(FromWire(ToWire(id)) == id);
  for (const Durability durability :
       {Durability::kNone, Durability::kWritten, Durability::kDurable}) {
    CHECK(FromWire(ToWire(durability)) == durability);
  }
  CHECK(FromWire(static_cast<wire::Durability>(77)) == Durability::kNone);
  CHECK(FromWire(static_cast<const flatbuffers::String*>(nullptr)).empty());
}

TEST_CASE("Messages: union members keep their numbers for ever", "[protocol][messages]") {
  CHECK(static_cast<int>(wire::Body::Hello) == 1);
  CHECK(static_cast<int>(wire::Body::Failure) == 3);
  CHECK(static_cast<int>(wire::Body::Produce) == 6);
  CHECK(static_cast<int>(wire::Body::Subscribe) == 10);
  CHECK(static_cast<int>(wire::Body::SubscriptionEnded) == 16);
  CHECK(static_cast<int>(wire::Body::Metadata) == 17);
  CHECK(static_cast<int>(wire::Body::CreateTopic) == 21);
  CHECK(static_cast<int>(wire::Body::Status) == 31);
  CHECK(static_cast<int>(wire::Body::StatusReply) == 32);
  CHECK(static_cast<int>(wire::Body::JoinGroup) == 33);
  CHECK(static_cast<int>(wire::Body::CommitOffsets) == 43);
  CHECK(static_cast<int>(wire::Body::ResetDescription) == 54);
}

}  // namespace
}  // namespace cairn
