#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace cairn::client {

// Bytes that somebody keeps alive.
struct SharedBytes {
  std::shared_ptr<const std::byte[]> owner;
  ByteView bytes;
};

class ReceiveBuffer;

// One frame as it was received. Valid only during the call it is handed to.
struct ReceivedFrame {
  const wire::Message* message = nullptr;
  ByteView attachment;
  ReceiveBuffer* buffer = nullptr;

  // The attachment for longer. Large ones stay where they are; small ones are copied, so that a few
  // of them do not keep a whole receive buffer alive.
  SharedBytes Retain() const;
};

// What a socket's bytes are read into and whole frames are taken from. It grows only as bytes
// arrive, never on a frame's word, up to one frame of kFrameBytesMax. Once a part of it has been
// retained it is not written again where bytes stand: a fresh one takes over.
//
// Threads: one. Retained bytes may be read, and let go, on any.
class ReceiveBuffer {
 public:
  ReceiveBuffer() = default;

  // Room for the next read: never empty.
  MutableBytes Room();
  void Filled(std::size_t bytes) { end_ += bytes; }

  // The next whole frame; nothing: read on. Valid until the next Room.
  //   kInvalidArgument  these bytes are not frames, or not messages
  absl::StatusOr<std::optional<ReceivedFrame>> Next();

 private:
  friend struct ReceivedFrame;

  void MoveTo(std::size_t capacity);

  std::shared_ptr<std::byte[]> bytes_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0, end_ = 0;  // what is there and not taken yet
  bool retained_ = false;
};

}  // namespace cairn::client
