#include "protocol/frame.h"

#include <cstddef>
#include <cstdint>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "tests/protocol/examples.h"

namespace cairn {
namespace {

Bytes Header(std::uint32_t size, std::uint32_t control_size) {
  Bytes bytes;
  AppendLe(bytes, size);
  AppendLe(bytes, control_size);
  return bytes;
}

ErrorCode Peek(std::uint32_t size, std::uint32_t control_size, const FrameLimits& limits = {}) {
  return CodeOf(PeekFrame(Header(size, control_size), limits).status());
}

TEST_CASE("Frame: it is taken apart into what it was made of", "[protocol][frame]") {
  Bytes bytes = examples::ProduceFrame();
  const auto size = PeekFrame(bytes, {});
  REQUIRE(size.ok());
  CHECK(size->frame_bytes == bytes.size());
  const auto frame = ParseFrame(bytes);
  REQUIRE(frame.ok());
  CHECK(frame->frame_bytes == bytes.size());
  CHECK(frame->control.size() == 80);
  const Bytes batch = examples::Batch();
  CHECK(AsText(frame->attachment) == AsText(batch));
  CHECK(frame->attachment.data() == bytes.data() + 88);
}

TEST_CASE("Frame: attachments of every length are padded to the next frame", "[protocol][frame]") {
  for (std::uint32_t attachment = 0; attachment < 17; ++attachment) {
    Bytes bytes(8 + 16);
    StoreFrameHeader(bytes, 16, attachment);
    const auto size = PeekFrame(bytes, {});
    REQUIRE(size.ok());
    CHECK(size->frame_bytes == 24 + PadTo8(attachment));
    bytes.resize(size->frame_bytes);
    const auto frame = ParseFrame(bytes);
    REQUIRE(frame.ok());
    CHECK(frame->attachment.size() == attachment);
    CHECK(frame->control.size() == 16);
  }
}

TEST_CASE("Frame: until eight bytes are there nothing is known", "[protocol][frame]") {
  const Bytes bytes = examples::HelloFrame();
  for (std::size_t size = 0; size < kFrameHeaderBytes; ++size) {
    const Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const auto peeked = PeekFrame(cut, {});
    REQUIRE(peeked.ok());
    CHECK(peeked->frame_bytes == 0);
  }
  CHECK(PeekFrame(ByteView(bytes).first(8), {})->frame_bytes == bytes.size());
}

TEST_CASE("Frame: sizes that lie are refused by the header alone", "[protocol][frame]") {
  CHECK(Peek(8, 8) == ErrorCode::kOk);
  CHECK(Peek(0, 0) == ErrorCode::kMalformed);
  CHECK(Peek(0, 8) == ErrorCode::kMalformed);
  CHECK(Peek(8, 0) == ErrorCode::kMalformed);
  CHECK(Peek(1, 8) == ErrorCode::kMalformed);
  CHECK(Peek(15, 16) == ErrorCode::kMalformed);
  for (const std::uint32_t odd : {1u, 7u, 9u, 12u, 20u})
    CHECK(Peek(64, odd) == ErrorCode::kMalformed);
  CHECK(Peek(64, 0xffffffffu) == ErrorCode::kMalformed);
  CHECK(Peek(64, 0xfffffff8u) == ErrorCode::kMalformed);
  CHECK(Peek(64, 0x80000000u) == ErrorCode::kMalformed);
  CHECK(Peek(0x7fffffffu, 8) == ErrorCode::kTooLarge);
  CHECK(Peek(0xffffffffu, 8) == ErrorCode::kTooLarge);
  CHECK(Peek(0xffffffffu, 0xfffffff8u) == ErrorCode::kTooLarge);
}

TEST_CASE("Frame: the limits themselves are allowed", "[protocol][frame]") {
  CHECK(Peek(kFrameBytesMax, 8) == ErrorCode::kOk);
  CHECK(Peek(kFrameBytesMax + 1, 8) == ErrorCode::kTooLarge);
  CHECK(Peek(kControlBytesMax, kControlBytesMax) == ErrorCode::kOk);
  CHECK(Peek(kControlBytesMax + 8, kControlBytesMax + 8) == ErrorCode::kTooLarge);
  const FrameLimits before_hello{kFrameBytesMaxBeforeHello, kFrameBytesMaxBeforeHello};
  CHECK(Peek(4096, 4096, before_hello) == ErrorCode::kOk);
  CHECK(Peek(4097, 8, before_hello) == ErrorCode::kTooLarge);
}

TEST_CASE("Frame: padding that is not zero is refused, wherever it is", "[protocol][frame]") {
  const Bytes good = examples::ProduceFrame();
  for (std::size_t at = good.size() - 5; at < good.size(); ++at) {
    Bytes bytes = good;
    bytes[at] = std::byte{0x40};
    CHECK(CodeOf(ParseFrame(bytes).status()) == ErrorCode::kMalformed);
  }
}

}  // namespace
}  // namespace cairn
