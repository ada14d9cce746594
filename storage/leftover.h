#pragma once

#include <filesystem>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "storage/data_dir.h"
#include "storage/manifest.h"

namespace cairn::storage {

// A file of the name and the length of a segment that a log has dropped or replaced. As a rule it
// is that segment, left by a stop between the manifest's entry and the removal. But somebody may
// have put another one there, and batches do not say whose they are: the fingerprint decides.
struct Leftover {
  std::string entry;        // "orders-0/00000000000000000000.log"
  std::string index_entry;  // of the index beside it
  SealedSegment sealed;     // as the manifest knew it
};

// Whether the file is the segment, byte for byte. Reads all of it. kCancelled: `stopping` said so.
absl::StatusOr<bool> IsSegment(const std::filesystem::path& path, const SealedSegment& sealed,
                               absl::FunctionRef<bool()> stopping);

// Removes it if it is what the log has dropped, else moves it to quarantine/ and says so. Reads all
// of it, so this is for a thread that may wait. Empty: removed, or gone already.
absl::StatusOr<std::string> ClearLeftover(DataDir& data_dir, const Leftover& leftover,
                                          absl::FunctionRef<bool()> stopping);

}  // namespace cairn::storage
