#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/types.h"

namespace cairn::storage {

// A segment's files are named for its first offset, 20 digits: "00000000000000004096.log" holds the
// batches, "00000000000000004096.index" the index. Kafka names them so too. What compaction put in
// the place of a segment carries its generation, from 1: "00000000000000004096.g1.log".
std::string LogFileName(Offset base, std::uint32_t generation = 0);
std::string IndexFileName(Offset base, std::uint32_t generation = 0);

struct SegmentFileName {
  Offset base;
  std::uint32_t generation = 0;

  friend auto operator<=>(const SegmentFileName&, const SegmentFileName&) = default;
};
// What such a name says; nothing if it is none (wrong ending, other than 20 digits, beyond
// 2^63 - 1, a generation that is written in another way than above).
std::optional<SegmentFileName> ParseLogFileName(std::string_view name);
std::optional<SegmentFileName> ParseIndexFileName(std::string_view name);

}  // namespace cairn::storage
