#pragma once

#include <filesystem>

#include "absl/status/statusor.h"

#include "storage/file.h"

namespace cairn::storage {

inline constexpr const char* kLockFileName = "cairn.lock";

// Whoever holds the lock of a data directory owns it: the daemon, or a repair. It is held as long
// as the file that this gives is open, and goes with its process.
//   kFailedPrecondition  another process holds it; names its pid
//   others               as ErrnoError
absl::StatusOr<File> LockDirectory(const std::filesystem::path& data_dir);

}  // namespace cairn::storage
