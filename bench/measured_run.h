#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "nlohmann/json.hpp"

namespace cairn::bench {

// One run of a workload or limit as a process of its own, so that nothing of one run is left for
// the next.
class MeasuredRun {
 public:
  // The words of a command line: "produce --record-bytes 100", "limit append", or another build's
  // program first: "/opt/old/cairn-bench produce".
  //   kInvalidArgument  it is empty
  static absl::StatusOr<MeasuredRun> Parse(const std::string& command);

  // Waits for it and gives its figures.
  //   kUnavailable  it could not be started, failed, or printed no figures
  absl::StatusOr<nlohmann::json> Run() const;

 private:
  explicit MeasuredRun(std::vector<std::string> words) : words_(std::move(words)) {}

  std::vector<std::string> words_;  // the program first
};

}  // namespace cairn::bench
