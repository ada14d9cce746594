#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/types.h"

namespace cairn::storage {

// A segment's files are named for its first offset, 20 digits: "00000000000000004096.log" holds the
// batches, "00000000000000004096.index" the index. Kafka names them so too.
std::string LogFileName(Offset base);
std::string IndexFileName(Offset base);

// The base offset in such a name; nothing if it is none (wrong ending, other than 20 digits, beyond
// 2^63 - 1).
std::optional<Offset> ParseLogFileName(std::string_view name);
std::optional<Offset> ParseIndexFileName(std::string_view name);

}  // namespace cairn::storage
