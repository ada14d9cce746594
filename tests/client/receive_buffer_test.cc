#include "client/receive_buffer.h"

#include <algorithm>
#include <random>

#include <catch2/catch.hpp>

#include "protocol/limits.h"

namespace cairn::client {
namespace {

// A Batches frame whose attachment is `size` bytes of `fill`.
Bytes FrameOf(std::uint32_t subscription, std::size_t size) {
  flatbuffers::FlatBufferBuilder builder;
  Bytes frame;
  FinishFrame(builder, 0, wire::CreateBatches(builder, subscription), size, frame);
  frame.insert(frame.end(), size, static_cast<std::byte>(subscription));
  frame.resize(PadTo8(frame.size()));
  return frame;
}

}  // namespace

TEST_CASE("ReceiveBuffer: frames come out whole and in order, however the bytes come in",
          "[client][receive_buffer]") {
  const auto seed = GENERATE(range(1u, 20u));
  std::mt19937 random(seed);
  constexpr std::array<std::size_t, 6> kSizes{0, 1, 100, 40'000, 300'000, 2'000'000};
  Bytes stream;
  std::vector<std::size_t> sizes;
  for (std::uint32_t i = 0; i < 60; ++i) {
    sizes.push_back(kSizes[random() % kSizes.size()]);
    AppendBytes(stream, FrameOf(i, sizes.back()));
  }
  ReceiveBuffer buffer;
  std::size_t at = 0;
  std::uint32_t next = 0;
  std::vector<std::pair<std::uint32_t, SharedBytes>> kept;
  while (at < stream.size()) {
    const MutableBytes room = buffer.Room();
    REQUIRE(!room.empty());
    const std::size_t size =
        std::min({room.size(), stream.size() - at, std::size_t{1} + random() % 500'000});
    std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at), size, room.begin());
    buffer.Filled(size);
    at += size;
    while (true) {
      const auto frame = buffer.Next();
      REQUIRE(frame.ok());
      if (!frame->has_value()) break;
      REQUIRE((*frame)->message->body_as_Batches()->subscription() == next);
      REQUIRE((*frame)->attachment.size() == sizes[next]);
      if (random() % 2 == 0) kept.emplace_back(next, (*frame)->Retain());
      ++next;
    }
  }
  CHECK(next == 60);
  // What was retained has not been written over since.
  for (const auto& [number, shared] : kept) {
    CHECK(std::all_of(shared.bytes.begin(), shared.bytes.end(),
                      [n = number](std::byte b) { return b == static_cast<std::byte>(n); }));
  }
}

TEST_CASE("ReceiveBuffer: a frame that claims to be large costs only what arrives",
          "[client][receive_buffer]") {
  ReceiveBuffer buffer;
  const MutableBytes room = buffer.Room();
  StoreFrameHeader(room, 64, kFrameBytesMax - 64);
  buffer.Filled(kFrameHeaderBytes);
  const auto frame = buffer.Next();
  REQUIRE(frame.ok());
  CHECK_FALSE(frame->has_value());
  CHECK(buffer.Room().size() <= 128u << 10);
}

TEST_CASE("ReceiveBuffer: what cannot be a frame is refused", "[client][receive_buffer]") {
  ReceiveBuffer buffer;
  const MutableBytes room = buffer.Room();
  std::fill_n(room.begin(), kFrameHeaderBytes, std::byte{0xff});
  buffer.Filled(kFrameHeaderBytes);
  CHECK(absl::IsInvalidArgument(buffer.Next().status()));
}

}  // namespace cairn::client
