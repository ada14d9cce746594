#pragma once

#include "absl/status/status.h"

#include "storage/frontier.h"
#include "storage/manifest.h"

namespace cairn::storage {

// Whether a manifest's list goes as far as the frontier says that records are durable. One that is
// cut between two entries looks whole, and one that is cut within an entry looks torn; but entries
// are durable before the frontier tells of what is in their segments.
//   kDataLoss  entries were lost; the message says of which segment, not in which file
absl::Status CheckListReaches(const ManifestState& state, const DurableEnd& durable);

}  // namespace cairn::storage
