#include "absl/strings/str_format.h"

#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "bench/limits/segment_file.h"
#include "bench/machine.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

absl::Status AppendAndSync(SegmentFile& segment, ByteView block, Measurement& measurement) {
  while (!measurement.is_over()) {
    const auto start = Measurement::Clock::now();
    RETURN_IF_ERROR(segment.Append(block));
    RETURN_IF_ERROR(segment.Sync());
    const auto now = Measurement::Clock::now();
    measurement.CountTimed(now - start, now, block.size());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Report> LimitSync(const LimitOptions& options) {
  const std::size_t bytes = options.bytes == 0 ? 4096 : options.bytes;
  const std::string variant = options.variant.empty() ? "fallocated" : options.variant;
  ASSIGN_OR_RETURN(const Blocks blocks, ParseBlocks(variant));
  ASSIGN_OR_RETURN(const ScratchDir dir, ScratchDir::Make(options.dir));
  ASSIGN_OR_RETURN(SegmentFile segment, SegmentFile::Open(dir.path() + "/segment", blocks));
  const Bytes block(bytes, std::byte{0x5a});
  ASSIGN_OR_RETURN(const Measurement seen, RunAlone(options, [&](Measurement& measurement) {
                     return AppendAndSync(segment, block, measurement);
                   }));
  Report report = seen.ToReport(
      "limit sync",
      {{"bytes", bytes}, {"variant", variant}, {"duration_ms", options.duration.count()}});
  report.summary = absl::StrFormat(
      "%d B appended and synced (%s): %.0f a second, p50 %.0f us", bytes, variant,
      seen.answers_per_second(), static_cast<double>(seen.latency().Percentile(50).count()) / 1e3);
  return report;
}

}  // namespace cairn::bench
