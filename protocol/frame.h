#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/limits.h"

namespace cairn {

// What travels on a connection, both ways. Little-endian.
//
// clang-format off
//   at  size          field         meaning
//    0  4             size          bytes of control and attachment, without the padding at the end
//    4  4             control_size  bytes of control, a multiple of 8
//    8  control_size  control       one FlatBuffers Message, zeros after it up to control_size
//    .  .             attachment    raw record batches, or nothing
//    .  0..7          padding       zeros, so that the next frame begins at a multiple of 8
// clang-format on
//
// A frame that begins at an aligned address therefore has an aligned control table.
inline constexpr std::size_t kFrameHeaderBytes = 8;

constexpr std::size_t PadTo8(std::size_t size) { return (size + 7) & ~std::size_t{7}; }

struct FrameView {
  ByteView control;
  MutableBytes attachment;  // the receiver's own buffer: the broker stamps batches in place
  std::size_t frame_bytes;  // header, body and padding: where the next frame begins
};

// How much of the frame in front of `bytes` must be there before it can be taken apart.
struct FrameSize {
  std::size_t frame_bytes;  // 0: the header itself is not there yet
};

struct FrameLimits {
  std::size_t frame_bytes_max = kFrameBytesMax;
  std::size_t control_bytes_max = kControlBytesMax;
};

// Reads the header in front of `bytes`. Nothing may be allocated on its word before this is OK.
//   kInvalidArgument  sizes lie or are over the limits, naming them
absl::StatusOr<FrameSize> PeekFrame(ByteView bytes, const FrameLimits& limits);

// Takes the whole frame in front of `bytes` apart. Requires that PeekFrame was OK for these bytes
// and limits and that frame_bytes > 0 of them are there.
//   kInvalidArgument  the padding is not zero
absl::StatusOr<FrameView> ParseFrame(MutableBytes bytes);

// The 8 header bytes for a control of `control_bytes` (a multiple of 8) and an attachment.
void StoreFrameHeader(MutableBytes out, std::size_t control_bytes, std::size_t attachment_bytes);

}  // namespace cairn
