#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "protocol/types.h"
#include "storage/leftover.h"

namespace cairn::storage {

// What opening one log found and did. A torn tail is not an error but a line here.
struct RecoveryReport {
  std::int64_t bytes_scanned = 0;  // of batches that were read
  std::int64_t bytes_cut = 0;      // a torn tail, now in quarantine/
  std::int64_t batches_cut = 0;    // whole batches that stood in it
  bool producers_rebuilt = false;
  LeaderEpoch raised_to = kNoEpoch;  // kNoEpoch: the epoch stayed
  std::vector<std::string> notes;    // for people; empty when there was nothing to do
  std::vector<Leftover> leftovers;   // for ClearLeftover, when there is time
  // Not OK: the partition is offline from `offline_from` on; names file, position, expected, found.
  absl::Status damage;
  Offset offline_from = kNoOffset;

  // Whether there was anything to do but to raise the epoch.
  bool has_work() const {
    return bytes_scanned > 0 || bytes_cut > 0 || producers_rebuilt || !damage.ok() ||
           !notes.empty();
  }
};

}  // namespace cairn::storage
