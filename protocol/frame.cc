#include "protocol/frame.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"

namespace cairn {

absl::StatusOr<FrameSize> PeekFrame(ByteView bytes, const FrameLimits& limits) {
  if (bytes.size() < kFrameHeaderBytes) return FrameSize{0};
  const std::uint64_t size = LoadLe<std::uint32_t>(bytes, 0);
  const std::uint64_t control_size = LoadLe<std::uint32_t>(bytes, 4);
  if (size > limits.frame_bytes_max) {
    return MakeError(ErrorCode::kTooLarge,
                     absl::StrFormat("a frame of %d bytes is over the limit of %d", size,
                                     limits.frame_bytes_max));
  }
  if (control_size == 0 || control_size % 8 != 0) {
    return MakeError(ErrorCode::kMalformed,
                     absl::StrFormat("a control of %d bytes: it must be a positive multiple of 8",
                                     control_size));
  }
  if (control_size > size) {
    return MakeError(
        ErrorCode::kMalformed,
        absl::StrFormat("a control of %d bytes cannot fit in a frame of %d", control_size, size));
  }
  if (control_size > limits.control_bytes_max) {
    return MakeError(ErrorCode::kTooLarge,
                     absl::StrFormat("a control of %d bytes is over the limit of %d", control_size,
                                     limits.control_bytes_max));
  }
  return FrameSize{kFrameHeaderBytes + PadTo8(static_cast<std::size_t>(size))};
}

absl::StatusOr<FrameView> ParseFrame(MutableBytes bytes) {
  CAIRN_CHECK(bytes.size() >= kFrameHeaderBytes);
  const std::size_t size = LoadLe<std::uint32_t>(bytes, 0);
  const std::size_t control_size = LoadLe<std::uint32_t>(bytes, 4);
  const std::size_t frame_bytes = kFrameHeaderBytes + PadTo8(size);
  CAIRN_CHECK(control_size <= size && bytes.size() >= frame_bytes);

  const ByteView padding = bytes.subspan(kFrameHeaderBytes + size, PadTo8(size) - size);
  if (std::any_of(padding.begin(), padding.end(), [](std::byte b) { return b != std::byte{0}; })) {
    return MakeError(ErrorCode::kMalformed, "the padding at the end of a frame is not zero");
  }
  return FrameView{bytes.subspan(kFrameHeaderBytes, control_size),
                   bytes.subspan(kFrameHeaderBytes + control_size, size - control_size),
                   frame_bytes};
}

void StoreFrameHeader(MutableBytes out, std::size_t control_bytes, std::size_t attachment_bytes) {
  CAIRN_CHECK(control_bytes % 8 == 0 && control_bytes + attachment_bytes <= kFrameBytesMax);
  StoreLe(out, 0, static_cast<std::uint32_t>(control_bytes + attachment_bytes));
  StoreLe(out, 4, static_cast<std::uint32_t>(control_bytes));
}

}  // namespace cairn
