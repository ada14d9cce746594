#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"

#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "protocol/checksum.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

// Between two looks at the clock.
constexpr std::size_t kRoundBytes = 1 << 20;

absl::Status Check(std::size_t bytes, Measurement& measurement) {
  const Bytes block(bytes, std::byte{0x5a});
  const std::size_t times = std::max<std::size_t>(kRoundBytes / bytes, 1);
  while (!measurement.is_over()) {
    for (std::size_t i = 0; i < times; ++i) (void)Crc32c(block);
    measurement.Count(Measurement::Clock::now(), times * bytes, static_cast<std::int64_t>(times));
  }
  return absl::OkStatus();
}

absl::StatusOr<Measurement> Measure(std::size_t bytes, const LimitOptions& options) {
  return RunAlone(options, [&](Measurement& measurement) { return Check(bytes, measurement); });
}

std::string Line(std::size_t bytes, double bytes_per_second) {
  return absl::StrFormat("%d B %.1f GB/s", bytes, bytes_per_second / 1e9);
}

absl::StatusOr<Report> MeasureAll(const LimitOptions& options) {
  Report report{.workload = "limit crc",
                .settings = {{"duration_ms", options.duration.count()}},
                .latency = {},
                .summary = "CRC-32C of"};
  for (const std::size_t bytes : {128, 1 << 10, 64 << 10, 1 << 20}) {
    ASSIGN_OR_RETURN(const Measurement seen, Measure(bytes, options));
    report.figures[absl::StrFormat("bytes_per_second_%d", bytes)] = seen.bytes_per_second();
    report.summary += absl::StrFormat(" %s;", Line(bytes, seen.bytes_per_second()));
  }
  report.summary.pop_back();
  return report;
}

}  // namespace

absl::StatusOr<Report> LimitCrc(const LimitOptions& options) {
  if (options.bytes == 0) return MeasureAll(options);
  ASSIGN_OR_RETURN(const Measurement seen, Measure(options.bytes, options));
  Report report = seen.ToReport(
      "limit crc", {{"bytes", options.bytes}, {"duration_ms", options.duration.count()}});
  report.summary = "CRC-32C of " + Line(options.bytes, seen.bytes_per_second());
  return report;
}

}  // namespace cairn::bench
