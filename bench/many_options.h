#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

#include "bench/produce_load.h"
#include "bench/report.h"
#include "bench/target.h"
#include "bench/window.h"

namespace cairn::bench {

// `many`: what a broker with very many of something costs and still does.
struct ManyOptions {
  TargetOptions target;
  WindowOptions window;
  LoadOptions load;
  int count = 0;
};

absl::StatusOr<Report> ManyConnections(const ManyOptions& options);
absl::StatusOr<Report> ManyPartitions(const ManyOptions& options);
absl::StatusOr<Report> ManyProducers(const ManyOptions& options);
absl::StatusOr<Report> ManySubscriptions(const ManyOptions& options);

// What they have in common: the settings, and the name of the workload.
Report ReportOf(const ManyOptions& options, const std::string& of_what);

}  // namespace cairn::bench
