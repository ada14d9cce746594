#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "tools/cairn/session.h"

namespace cairn::tools {

// `cairn log repair`: prints what it would do, and with `execute` does it. Gives the exit code: 1
// also for a dry run that found something to do.
absl::StatusOr<int> RepairLog(const std::string& directory, bool execute, Session& session);

}  // namespace cairn::tools
