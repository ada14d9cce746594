#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "bench/limits/measurement.h"
#include "protocol/bytes.h"

// A stream of frames: 4 bytes of length, then so many bytes, all frames alike. Each is answered by
// kFrameAnswerBytes, and kFramesAhead are under way at any time.
namespace cairn::bench {

inline constexpr std::size_t kFrameHeadBytes = 4;
inline constexpr std::size_t kFrameAnswerBytes = 16;
inline constexpr std::size_t kFramesAhead = 5;

// The asking half: sends frames of `bytes` until the measurement is over and all is answered.
absl::Status SendFrames(int socket, std::size_t bytes, Measurement& measurement);

//   kDataLoss  a head does not say `bytes`
absl::Status CheckFrameHead(ByteView head, std::size_t bytes);
absl::Status AnswerFrames(int socket, std::size_t count);

// Receives into one buffer that holds a whole number of frames, so that nothing is ever moved in
// it.
class FrameReceiver {
 public:
  FrameReceiver(int socket, std::size_t bytes);

  // Waits for a whole frame, and gives the contents of all that are whole by then. Empty: the other
  // end is closed. Valid until the next call.
  absl::StatusOr<std::span<const ByteView>> Receive();

 private:
  absl::Status TakeWhole();

  const int socket_;
  const std::size_t bytes_;
  Bytes buffer_;
  std::size_t begin_ = 0;  // of what was not given out yet
  std::size_t end_ = 0;    // of what was received
  std::vector<ByteView> frames_;
};

}  // namespace cairn::bench
