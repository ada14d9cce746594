#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/record_batch.h"

namespace cairn::storage {

// One thing that is not as it should be.
struct Finding {
  enum class Severity {
    kDamage,  // truth is lost or contradicts itself
    kNote,    // derived data that will be rebuilt, leftovers of a crash, things not looked at
  };
  Severity severity = Severity::kDamage;
  std::filesystem::path file;
  std::int64_t position = 0;  // in bytes: where the batch or entry begins
  std::string reason;
};

// What was looked at.
struct VerifySummary {
  std::int64_t partitions = 0;
  std::int64_t segments = 0;
  std::int64_t batches = 0;
  std::int64_t bytes = 0;
  std::int64_t damages = 0;
  std::int64_t notes = 0;
};

using OnFinding = std::function<void(const Finding&)>;
// Called with what was read so far, segment by segment; may be empty.
using OnProgress = std::function<void(const VerifySummary&)>;

// Reads everything in a data directory, or in one partition's directory within it, and changes
// nothing: format, frontier, manifests, every batch of every segment, fingerprints, and whether
// they fit together. Damage is a finding, not an error. While a broker runs, and after a crash,
// unsealed segments are read as far as the frontier says that they are durable, no further.
//   kNotFound            there is no such directory, or it is none of ours
//   kFailedPrecondition  of a newer version
//   others               a file cannot be read
absl::StatusOr<VerifySummary> VerifyDataDirectory(const std::filesystem::path& path,
                                                  const OnFinding& on_finding,
                                                  const OnProgress& on_progress = nullptr);

// Calls `visit` with every batch in a partition's directory, in order, with the file and the
// position that it begins at, until that gives false. Needs no manifest; what was trimmed but not
// removed yet is walked too, as is what a crash will take back. Where compaction left gaps, offsets
// only rise.
//   kNotFound  there is no such directory
//   kDataLoss  an invalid batch; names file, position, expected and found
absl::Status WalkBatches(
    const std::filesystem::path& partition_directory,
    const std::function<bool(const std::filesystem::path& file, std::int64_t position,
                             const RecordBatchView& batch)>& visit);

}  // namespace cairn::storage
