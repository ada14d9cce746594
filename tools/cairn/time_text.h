#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "protocol/types.h"

namespace cairn::tools {

// A moment as people write it; `now` is what a span counts back from.
//   2026-11-24T09:30:00.250+01:00   RFC 3339; seconds, fraction and zone may be left out
//   2026-11-24                      the beginning of that day
//   @1795512600250                  milliseconds since 1970
//   -48h, -1h30m, -250ms            a span back from now: w, d, h, m, s, ms, largest first or not
// Without a zone UTC is meant. Fractions finer than a millisecond are cut off.
//   kInvalidArgument (a usage error)  not one of these, no such day, or before 1970
absl::StatusOr<Timestamp> ParseTime(std::string_view text, Timestamp now);

// "2026-11-24T08:30:00.250Z"
std::string FormatTime(Timestamp time);

// "3d 4h", "5m 10s", "12s": the two largest units.
std::string FormatSpan(std::chrono::milliseconds span);

}  // namespace cairn::tools
