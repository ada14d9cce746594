#include "bench/limits/frames.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"

#include "bench/limits/loopback.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

// Small frames come in one call as many as fit here: what a core's own cache holds.
constexpr std::size_t kBufferBytes = 256 << 10;

std::size_t BufferBytes(std::size_t frame) {
  return std::max<std::size_t>(kBufferBytes / frame, 1) * frame;
}

}  // namespace

absl::Status SendFrames(int socket, std::size_t bytes, Measurement& measurement) {
  Bytes frame(kFrameHeadBytes + bytes, std::byte{0x5a});
  StoreLe(frame, 0, static_cast<std::uint32_t>(bytes));
  std::array<std::byte, kFramesAhead * kFrameAnswerBytes> answers;
  std::size_t under_way = 0;
  std::size_t got = 0;
  while (under_way > 0 || !measurement.is_over()) {
    if (under_way < kFramesAhead && !measurement.is_over()) {
      RETURN_IF_ERROR(SendAll(socket, frame));
      ++under_way;
      continue;
    }
    ASSIGN_OR_RETURN(const std::size_t more, Receive(socket, MutableBytes(answers).subspan(got)));
    if (more == 0) return absl::UnavailableError("loopback: the serving half closed");
    const std::size_t whole = (got + more) / kFrameAnswerBytes;
    got = (got + more) % kFrameAnswerBytes;
    under_way -= whole;
    if (whole == 0) continue;
    measurement.Count(Measurement::Clock::now(), whole * bytes, static_cast<std::int64_t>(whole));
  }
  return absl::OkStatus();
}

absl::Status CheckFrameHead(ByteView head, std::size_t bytes) {
  const auto says = LoadLe<std::uint32_t>(head, 0);
  if (says == bytes) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrFormat("loopback: a frame says it has %d bytes, not %d", says, bytes));
}

absl::Status AnswerFrames(int socket, std::size_t count) {
  constexpr std::array<std::byte, kFramesAhead * kFrameAnswerBytes> kAnswers{};
  return SendAll(socket, ByteView(kAnswers).first(count * kFrameAnswerBytes));
}

FrameReceiver::FrameReceiver(int socket, std::size_t bytes)
    : socket_(socket), bytes_(bytes), buffer_(BufferBytes(kFrameHeadBytes + bytes)) {}

absl::StatusOr<std::span<const ByteView>> FrameReceiver::Receive() {
  frames_.clear();
  while (frames_.empty()) {
    if (begin_ == end_) begin_ = end_ = 0;
    ASSIGN_OR_RETURN(const std::size_t got,
                     bench::Receive(socket_, MutableBytes(buffer_).subspan(end_)));
    if (got == 0) break;
    end_ += got;
    RETURN_IF_ERROR(TakeWhole());
  }
  return frames_;
}

absl::Status FrameReceiver::TakeWhole() {
  const std::size_t frame = kFrameHeadBytes + bytes_;
  for (; end_ - begin_ >= frame; begin_ += frame) {
    const ByteView whole = ByteView(buffer_).subspan(begin_, frame);
    RETURN_IF_ERROR(CheckFrameHead(whole, bytes_));
    frames_.push_back(whole.subspan(kFrameHeadBytes));
  }
  return absl::OkStatus();
}

}  // namespace cairn::bench
