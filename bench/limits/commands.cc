#include "bench/commands.h"

#include "bench/limits/limit.h"

namespace cairn::bench {

void AddLimits(CLI::App& app, Chosen&) {
  CLI::App* const limits = app.add_subcommand("limit", "What the machine can do at best");
  limits->require_subcommand(1);
}

}  // namespace cairn::bench
