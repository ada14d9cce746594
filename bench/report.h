#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"

#include "bench/histogram.h"
#include "nlohmann/json.hpp"

namespace cairn::bench {

inline double Milliseconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

inline double Microseconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

// What one run found. Figures have the same names in every workload where they mean the same:
//   seconds                          measured, without warm-up
//   records_per_second, bytes_per_second (payload), requests_per_second
//   p50_us, p99_us, p999_us, max_us  of the latency
//   broker_cpu_seconds, load_cpu_seconds
struct Report {
  std::string workload;             // as it was asked for: "produce", "limit round-trip"
  nlohmann::ordered_json settings;  // what was asked for, defaults included
  nlohmann::ordered_json figures = nlohmann::ordered_json::object();
  Histogram latency;    // may be empty
  std::string summary;  // for people: the last line on stdout

  void AddLatency();  // the figures of `latency`
};

struct OutputOptions {
  bool json = false;     // one object instead of lines
  std::string hdr_file;  // where to write the series of percentiles; empty: nowhere
};

// Results to stdout.
//   kUnavailable  the file for the series cannot be written
absl::Status Print(const Report& report, const OutputOptions& options);

}  // namespace cairn::bench
