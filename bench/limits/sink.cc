#include <utility>

#include "absl/strings/str_format.h"

#include "bench/limits/frames.h"
#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "bench/limits/loopback.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

absl::Status Serve(int socket, std::size_t bytes) {
  FrameReceiver receiver(socket, bytes);
  for (;;) {
    ASSIGN_OR_RETURN(const auto frames, receiver.Receive());
    if (frames.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(AnswerFrames(socket, frames.size()));
  }
}

}  // namespace

absl::StatusOr<Report> LimitSink(const LimitOptions& options) {
  const std::size_t bytes = options.bytes == 0 ? 256 << 10 : options.bytes;
  ASSIGN_OR_RETURN(Loopback loopback, Loopback::Connect(1));
  ASSIGN_OR_RETURN(
      const Measurement seen,
      RunHalves(
          options,
          [bytes, served = std::move(loopback.served.front())] {
            return Serve(served.number(), bytes);
          },
          [bytes, asking = std::move(loopback.asking.front())](Measurement& measurement) {
            return SendFrames(asking.number(), bytes, measurement);
          }));
  Report report =
      seen.ToReport("limit sink", {{"bytes", bytes}, {"duration_ms", options.duration.count()}});
  report.summary =
      absl::StrFormat("frames of %d B received: %.2f GB/s", bytes, seen.bytes_per_second() / 1e9);
  return report;
}

}  // namespace cairn::bench
