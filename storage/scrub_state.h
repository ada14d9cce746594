#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::storage {

// DATA/scrub: how far the background check of segments at rest has come, so that a restart goes on
// with it instead of beginning anew. Derived: without it the next round begins early.
struct ScrubState {
  Timestamp round_began = kNoTimestamp;  // of the round that goes on, or of the last one
  Timestamp completed = kNoTimestamp;    // when the last whole round ended; not yet: kNoTimestamp
  std::int64_t segments = 0;             // checked in this round
  std::int64_t bytes = 0;                // the same
  std::int64_t damages = 0;              // found in this round
  // The last segment that was checked in the round: all up to it are done, in this order.
  TopicPartition partition = {};
  Offset segment_base = kNoOffset;  // kNoOffset: none yet

  friend bool operator==(const ScrubState&, const ScrubState&) = default;
};

Bytes EncodeScrubState(const ScrubState& state);
//   kDataLoss  not such a file, damaged, or of an unknown version
absl::StatusOr<ScrubState> DecodeScrubState(ByteView file);

// Of a data directory. Nothing readable there: one that never began.
ScrubState LoadScrubState(const std::filesystem::path& data_dir);
absl::Status SaveScrubState(const std::filesystem::path& data_dir, const ScrubState& state);

}  // namespace cairn::storage
