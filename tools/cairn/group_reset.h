#pragma once

#include "tools/cairn/session.h"

namespace CLI {
class App;
}

namespace cairn::tools {

// `cairn group reset-offsets`, as a subcommand of `group`.
void AddResetOffsets(CLI::App& group, Run& chosen);

}  // namespace cairn::tools
