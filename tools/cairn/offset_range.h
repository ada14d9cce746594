#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"

#include "protocol/types.h"

namespace cairn::tools {

// What `consume -o` asks of each partition: where to begin and where to end.
struct OffsetRange {
  enum class Start { kEarliest, kLatest, kOffset, kLast, kTime };

  Start start = Start::kEarliest;
  Offset offset;           // kOffset
  std::int64_t count = 0;  // kLast: this many records before the present end
  Timestamp time;          // kTime
  bool stop_at_present_end = false;
  std::optional<Timestamp> stop_time;  // ends before the first record at or after it
};

//   start        everything kept            100          from offset 100
//   end          only what comes            -10          the last ten, then what comes
//   :end         everything up to now       @TIME        from the first record at or after TIME
//                                           @FROM:@TO    [offset for FROM, offset for TO)
// TIME is what ParseTime takes, or plain milliseconds since 1970.
//   kInvalidArgument (a usage error)  not one of these, or FROM after TO
absl::StatusOr<OffsetRange> ParseOffsetRange(std::string_view text, Timestamp now);

}  // namespace cairn::tools
