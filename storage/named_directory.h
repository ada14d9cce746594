#pragma once

#include <filesystem>

#include "absl/status/statusor.h"

namespace cairn::storage {

// The directory that somebody named to have it looked at or mended: absolute, without a slash at
// its end.
//   kInvalidArgument  no name at all
//   kNotFound         there is no such directory, or it is a data directory's quarantine/ (or in
//                     it), whose files are like those of a data directory; names the latter
absl::StatusOr<std::filesystem::path> NamedDirectory(const std::filesystem::path& path);

// Whether it is one, as far as names tell: of the files that make it one, one may be lost.
bool LooksLikeDataDirectory(const std::filesystem::path& path);

}  // namespace cairn::storage
