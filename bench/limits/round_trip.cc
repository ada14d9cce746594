#include <utility>

#include "absl/strings/str_format.h"

#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "bench/limits/loopback.h"
#include "bench/limits/round_trips.h"
#include "protocol/status.h"

namespace cairn::bench {

absl::StatusOr<Report> LimitRoundTrip(const LimitOptions& options) {
  const std::size_t bytes = options.bytes == 0 ? 64 : options.bytes;
  const RoundTripSizes sizes{.message = bytes, .answer = bytes};
  ASSIGN_OR_RETURN(Loopback loopback, Loopback::Connect(options.connections));
  ASSIGN_OR_RETURN(const Measurement seen,
                   RunHalves(
                       options,
                       [&, served = std::move(loopback.served)]() mutable {
                         return AnswerRoundTrips(std::move(served), sizes);
                       },
                       [&, asking = std::move(loopback.asking)](Measurement& measurement) mutable {
                         return AskRoundTrips(std::move(asking), sizes, measurement);
                       }));
  Report report = seen.ToReport("limit round-trip", {{"connections", options.connections},
                                                     {"bytes", bytes},
                                                     {"duration_ms", options.duration.count()}});
  report.summary =
      absl::StrFormat("%d B there and back over %d connection(s): %.0f a second, p50 %.1f us",
                      bytes, options.connections, seen.answers_per_second(),
                      static_cast<double>(seen.latency().Percentile(50).count()) / 1e3);
  return report;
}

}  // namespace cairn::bench
