#include <utility>

#include "absl/strings/str_format.h"

#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "bench/limits/loopback.h"
#include "bench/limits/round_trips.h"
#include "bench/limits/segment_file.h"
#include "bench/machine.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

constexpr std::size_t kAnswerBytes = 16;

absl::Status GroupCommit(SegmentFile& segment, std::span<const ByteView> messages) {
  for (const ByteView message : messages) RETURN_IF_ERROR(segment.Append(message));
  return segment.Sync();
}

std::string Summary(const Measurement& seen, std::size_t bytes, const LimitOptions& options) {
  return absl::StrFormat(
      "%d B durable before the answer, over %d connection(s): %.0f a second, p50 %.0f us", bytes,
      options.connections, seen.answers_per_second(),
      static_cast<double>(seen.latency().Percentile(50).count()) / 1e3);
}

}  // namespace

absl::StatusOr<Report> LimitSyncRoundTrip(const LimitOptions& options) {
  const std::size_t bytes = options.bytes == 0 ? 1024 : options.bytes;
  const std::string variant = options.variant.empty() ? "fallocated" : options.variant;
  const RoundTripSizes sizes{.message = bytes, .answer = kAnswerBytes};
  ASSIGN_OR_RETURN(const Blocks blocks, ParseBlocks(variant));
  ASSIGN_OR_RETURN(const ScratchDir dir, ScratchDir::Make(options.dir));
  ASSIGN_OR_RETURN(SegmentFile segment, SegmentFile::Open(dir.path() + "/segment", blocks));
  ASSIGN_OR_RETURN(Loopback loopback, Loopback::Connect(options.connections));
  const auto commit = [&](std::span<const ByteView> messages) {
    return GroupCommit(segment, messages);
  };
  ASSIGN_OR_RETURN(const Measurement seen,
                   RunHalves(
                       options,
                       [&, served = std::move(loopback.served)]() mutable {
                         return AnswerRoundTrips(std::move(served), sizes, commit);
                       },
                       [&, asking = std::move(loopback.asking)](Measurement& measurement) mutable {
                         return AskRoundTrips(std::move(asking), sizes, measurement);
                       }));
  Report report =
      seen.ToReport("limit sync-round-trip", {{"connections", options.connections},
                                              {"bytes", bytes},
                                              {"variant", variant},
                                              {"duration_ms", options.duration.count()}});
  report.summary = Summary(seen, bytes, options);
  return report;
}

}  // namespace cairn::bench
