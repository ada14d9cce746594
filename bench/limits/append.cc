#include <array>
#include <cstring>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_format.h"

#include "bench/limits/frames.h"
#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "bench/limits/loopback.h"
#include "bench/limits/mapped_segment.h"
#include "bench/limits/segment_file.h"
#include "bench/machine.h"
#include "protocol/checksum.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

absl::Status ServeFrames(int socket, std::size_t bytes,
                         absl::FunctionRef<absl::Status(ByteView)> append) {
  FrameReceiver receiver(socket, bytes);
  for (;;) {
    ASSIGN_OR_RETURN(const auto frames, receiver.Receive());
    if (frames.empty()) return absl::OkStatus();
    for (const ByteView frame : frames) {
      (void)Crc32c(frame);
      RETURN_IF_ERROR(append(frame));
    }
    RETURN_IF_ERROR(AnswerFrames(socket, frames.size()));
  }
}

absl::Status ServeWriting(int socket, std::size_t bytes, const std::string& path) {
  ASSIGN_OR_RETURN(SegmentFile segment, SegmentFile::Open(path, Blocks::kFallocated));
  return ServeFrames(socket, bytes, [&](ByteView frame) { return segment.Append(frame); });
}

absl::Status ServeCopying(int socket, std::size_t bytes, const std::string& path) {
  ASSIGN_OR_RETURN(MappedSegment segment, MappedSegment::Open(path));
  return ServeFrames(socket, bytes, [&](ByteView frame) -> absl::Status {
    ASSIGN_OR_RETURN(const MutableBytes tail, segment.Tail(frame.size()));
    std::memcpy(tail.data(), frame.data(), frame.size());
    segment.Advance(frame.size());
    return absl::OkStatus();
  });
}

absl::Status ServeReceiving(int socket, std::size_t bytes, const std::string& path) {
  ASSIGN_OR_RETURN(MappedSegment segment, MappedSegment::Open(path));
  std::array<std::byte, kFrameHeadBytes> head;
  for (;;) {
    ASSIGN_OR_RETURN(const MutableBytes tail, segment.Tail(bytes));
    std::array<iovec, 2> parts{PartOf(head), PartOf(tail)};
    ASSIGN_OR_RETURN(const bool received, ReceiveAll(socket, parts));
    if (!received) return absl::OkStatus();
    RETURN_IF_ERROR(CheckFrameHead(head, bytes));
    (void)Crc32c(tail);
    segment.Advance(bytes);
    RETURN_IF_ERROR(AnswerFrames(socket, 1));
  }
}

absl::StatusOr<decltype(&ServeWriting)> ServerFor(const std::string& variant) {
  if (variant == "pwrite") return &ServeWriting;
  if (variant == "mapped") return &ServeCopying;
  if (variant == "received") return &ServeReceiving;
  return absl::InvalidArgumentError(
      absl::StrFormat("variant '%s': pwrite, mapped or received", variant));
}

}  // namespace

absl::StatusOr<Report> LimitAppend(const LimitOptions& options) {
  const std::size_t bytes = options.bytes == 0 ? 256 << 10 : options.bytes;
  const std::string variant = options.variant.empty() ? "pwrite" : options.variant;
  ASSIGN_OR_RETURN(const auto serve, ServerFor(variant));
  ASSIGN_OR_RETURN(const ScratchDir dir, ScratchDir::Make(options.dir));
  ASSIGN_OR_RETURN(Loopback loopback, Loopback::Connect(1));
  ASSIGN_OR_RETURN(
      const Measurement seen,
      RunHalves(
          options,
          [&, served = std::move(loopback.served.front())] {
            return serve(served.number(), bytes, dir.path() + "/segment");
          },
          [bytes, asking = std::move(loopback.asking.front())](Measurement& measurement) {
            return SendFrames(asking.number(), bytes, measurement);
          }));
  Report report = seen.ToReport(
      "limit append",
      {{"bytes", bytes}, {"variant", variant}, {"duration_ms", options.duration.count()}});
  report.summary = absl::StrFormat("frames of %d B received, checked and appended (%s): %.2f GB/s",
                                   bytes, variant, seen.bytes_per_second() / 1e9);
  return report;
}

}  // namespace cairn::bench
