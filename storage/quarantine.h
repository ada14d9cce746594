#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"

namespace cairn::storage {

inline constexpr const char* kQuarantineName = "quarantine";

// DATA/quarantine/: where goes what could not be understood, or is cut off. Names say what it was
// ("orders-0+00000000000000000000.log.from-123"); nothing is written over, and nothing removed.
// Both are durable when they return, and give the new path.

// Moves DATA/<entry>, a file or a directory, out of the way.
absl::StatusOr<std::filesystem::path> MoveToQuarantine(const std::filesystem::path& data_dir,
                                                       const std::string& entry);
// Saves bytes that are about to be cut or replaced.
absl::StatusOr<std::filesystem::path> SaveToQuarantine(const std::filesystem::path& data_dir,
                                                       const std::string& label, ByteView bytes);

// All of the directories on the way that are missing, each durable in its parent.
absl::Status MakeDirectories(const std::filesystem::path& wanted);
// kAlreadyExists if it is there. Not durable yet.
absl::Status MakeDirectory(const std::filesystem::path& path);

}  // namespace cairn::storage
