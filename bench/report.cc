#include "bench/report.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>

#include "absl/strings/str_format.h"

#include "bench/machine.h"

namespace cairn::bench {
namespace {

nlohmann::ordered_json ToJson(const Report& report) {
  nlohmann::ordered_json json;
  json["workload"] = report.workload;
  json["settings"] = report.settings;
  json["figures"] = report.figures;
  json["machine"] = DescribeMachine();
  return json;
}

void PrintLines(const Report& report) {
  for (const auto& [name, value] : report.figures.items()) {
    const std::string text =
        value.is_number_float() ? absl::StrFormat("%.6g", value.get<double>()) : value.dump();
    std::cout << absl::StrFormat("%-32s %s\n", name, text);
  }
  if (!report.summary.empty()) std::cout << report.summary << "\n";
}

}  // namespace

void Report::AddLatency() {
  if (latency.count() == 0) return;
  figures["p50_us"] = Microseconds(latency.Percentile(50));
  figures["p95_us"] = Microseconds(latency.Percentile(95));
  figures["p99_us"] = Microseconds(latency.Percentile(99));
  figures["p999_us"] = Microseconds(latency.Percentile(99.9));
  figures["max_us"] = Microseconds(latency.max());
}

absl::Status Print(const Report& report, const OutputOptions& options) {
  if (options.json) {
    std::cout << ToJson(report).dump() << "\n";
  } else {
    PrintLines(report);
  }
  std::cout.flush();
  if (options.hdr_file.empty()) return absl::OkStatus();
  std::ofstream file(options.hdr_file);
  report.latency.WriteSeries(file);
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrFormat("%s: cannot be written: %s", options.hdr_file, std::strerror(errno)));
}

}  // namespace cairn::bench
