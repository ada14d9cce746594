#pragma once

#include <string>

#include "absl/status/status.h"

namespace cairn::tools {

// How a command ends: 0 only if all of it succeeded.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// The user asked for something that cannot be meant: exit code 2 instead of 1.
absl::Status UsageError(std::string message);
// The same for an error that was found without asking anybody; OK stays OK.
absl::Status AsUsageError(const absl::Status& status);
bool IsUsageError(const absl::Status& status);

}  // namespace cairn::tools
