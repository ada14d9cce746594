#include "client/receive_buffer.h"

#include <algorithm>
#include <cstring>

#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::client {
namespace {

constexpr std::size_t kSmallest = 64u << 10;
// Holds two full data frames, so that few of them straddle two buffers.
constexpr std::size_t kSteadyMax = 512u << 10;
constexpr std::size_t kRoomMin = 16u << 10;
// A retained attachment keeps at most 16 times its size alive.
constexpr std::size_t kCopiedMax = kSteadyMax / 16;

}  // namespace

SharedBytes ReceivedFrame::Retain() const {
  if (attachment.size() < kCopiedMax) {
    std::shared_ptr<std::byte[]> copy(new std::byte[std::max<std::size_t>(attachment.size(), 1)]);
    std::copy(attachment.begin(), attachment.end(), copy.get());
    const ByteView bytes(copy.get(), attachment.size());
    return {std::move(copy), bytes};
  }
  buffer->retained_ = true;
  return {buffer->bytes_, attachment};
}

MutableBytes ReceiveBuffer::Room() {
  const std::size_t pending = end_ - begin_;
  if (capacity_ - end_ < kRoomMin || (pending == 0 && begin_ > 0 && !retained_)) {
    // Doubling once a frame fills half of it makes the cost of growing linear in what arrives.
    const std::size_t steady = std::clamp(capacity_, kSmallest, kSteadyMax);
    const std::size_t doubled = std::min(2 * pending + kSmallest, kFrameBytesMax + 2 * kSmallest);
    MoveTo(pending + kRoomMin > steady / 2 ? std::max(doubled, steady) : steady);
  }
  return MutableBytes(bytes_.get() + end_, capacity_ - end_);
}

// Puts what is pending at the front of a buffer of that capacity: this one if that is possible.
void ReceiveBuffer::MoveTo(std::size_t capacity) {
  const std::size_t pending = end_ - begin_;
  if (retained_ || capacity != capacity_) {
    std::shared_ptr<std::byte[]> fresh(new std::byte[capacity]);
    if (pending > 0) std::memcpy(fresh.get(), bytes_.get() + begin_, pending);
    bytes_ = std::move(fresh);
    capacity_ = capacity;
    retained_ = false;
  } else if (pending > 0) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, pending);
  }
  begin_ = 0;
  end_ = pending;
}

absl::StatusOr<std::optional<ReceivedFrame>> ReceiveBuffer::Next() {
  const MutableBytes pending(bytes_.get() + begin_, end_ - begin_);
  ASSIGN_OR_RETURN(const FrameSize size, PeekFrame(pending, FrameLimits{}));
  if (size.frame_bytes == 0 || size.frame_bytes > pending.size()) return std::nullopt;
  ASSIGN_OR_RETURN(const FrameView frame, ParseFrame(pending.first(size.frame_bytes)));
  ASSIGN_OR_RETURN(const wire::Message* message, ParseMessage(frame.control));
  begin_ += frame.frame_bytes;
  return ReceivedFrame{message, frame.attachment, this};
}

}  // namespace cairn::client
