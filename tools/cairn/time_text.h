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
//   -48h, -1h30m, -250ms, -P1DT12H  a span back from now, as ParseDuration has them
// Without a zone UTC is meant. Fractions finer than a millisecond are cut off.
//   kInvalidArgument (a usage error)  not one of these, no such day, or before 1970
absl::StatusOr<Timestamp> ParseTime(std::string_view text, Timestamp now);

// A span of time.
//   P1DT2H30M, PT0.5S, P2W   ISO 8601; years and months, which have no fixed length, are refused
//   48h, 1h30m, 250ms        w, d, h, m, s, ms, largest first or not
//   kInvalidArgument (a usage error)  neither
absl::StatusOr<std::chrono::milliseconds> ParseDuration(std::string_view text);

// How long to wait: a duration, or plain milliseconds, as Kafka's tools have them.
absl::StatusOr<std::chrono::milliseconds> ParseTimeout(std::string_view text);

// "2026-11-24T08:30:00.250Z"
std::string FormatTime(Timestamp time);

// "3d 4h", "5m 10s", "12s": the two largest units.
std::string FormatSpan(std::chrono::milliseconds span);

}  // namespace cairn::tools
