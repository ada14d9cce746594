#pragma once

#include <vector>

#include "protocol/types.h"
#include "storage/manifest.h"

namespace cairn::storage {

// Under which leader epoch each record of one log was appended. Epoch 0 begins at offset 0 without
// being noted.
class EpochHistory {
 public:
  EpochHistory() = default;
  explicit EpochHistory(std::vector<EpochStart> starts) : starts_(std::move(starts)) {}

  LeaderEpoch current() const { return starts_.empty() ? LeaderEpoch(0) : starts_.back().epoch; }

  // The epoch that the record at `offset` has, or would get if it is the next one.
  LeaderEpoch At(Offset offset) const {
    for (auto it = starts_.rbegin(); it != starts_.rend(); ++it) {
      if (it->first_offset <= offset) return it->epoch;
    }
    return LeaderEpoch(0);
  }
  // The first offset of an epoch later than `epoch`; `log_end` if there is none.
  Offset EndOf(LeaderEpoch epoch, Offset log_end) const {
    for (const EpochStart& start : starts_) {
      if (start.epoch > epoch) return start.first_offset;
    }
    return log_end;
  }

  // Requires a later epoch than current(), and an offset not before its beginning.
  void Raise(EpochStart start) { starts_.push_back(start); }

 private:
  std::vector<EpochStart> starts_;
};

}  // namespace cairn::storage
