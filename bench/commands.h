#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include <CLI/CLI.hpp>

#include "bench/report.h"

namespace cairn::bench {

// What the command line chose: a run whose report main prints. `exit_code` is what compare says
// when its bound does not hold.
struct Chosen {
  std::function<absl::StatusOr<Report>()> run;
  OutputOptions output;
  int exit_code = 0;
};

// Each adds its subcommand, which sets `chosen.run`.
void AddProduce(CLI::App& app, Chosen& chosen);
void AddConsume(CLI::App& app, Chosen& chosen);
void AddEndToEnd(CLI::App& app, Chosen& chosen);
void AddMany(CLI::App& app, Chosen& chosen);
void AddLimits(CLI::App& app, Chosen& chosen);
void AddCompare(CLI::App& app, Chosen& chosen);

}  // namespace cairn::bench
