#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

#include "bench/report.h"

// What the machine can do at best: each limit is a small program that does only what cannot be
// left out of a workload, and so bounds it. The serving half runs on BrokerCore(), the asking half
// on LoadCore(). bench/RESULTS.md has the ratios of workload to limit.
namespace cairn::bench {

struct LimitOptions {
  std::chrono::milliseconds duration{2'000};  // of each measurement, after the warm-up
  std::chrono::milliseconds warm_up{200};
  std::size_t bytes = 0;  // of a message, block or file; 0: the limit's own default
  int connections = 1;    // of the TCP limits
  int files = 0;          // of dirty-files; 0: 512
  std::string variant;    // which way; empty: the limit's default (see its help)
  std::string dir;        // where files go; empty: the working directory
  bool crc = true;        // of serve: whether the reader computes the checksum of what it got
};

}  // namespace cairn::bench
