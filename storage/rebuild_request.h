#pragma once

#include <filesystem>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::storage {

inline constexpr const char* kRebuildRequestName = "rebuild-catalog";

// DATA/rebuild-catalog: left by a repair that could not save all of the catalog. The next start
// enters into the catalog what the partitions' own files say, and removes it. FORMAT.md has the
// bytes.
struct RebuildRequest {
  ProducerId next_producer{0};  // all below may have been given out
};

Bytes EncodeRebuildRequest(const RebuildRequest& request);
// nothing: there is none. kDataLoss: damaged; removing it is safe where no producer is left.
absl::StatusOr<std::optional<RebuildRequest>> ReadRebuildRequest(
    const std::filesystem::path& data_dir);

}  // namespace cairn::storage
