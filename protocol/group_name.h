#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace cairn {

// A group's name has 1 to kGroupNameBytesMax bytes of printable ASCII, without blanks, and does not
// begin with "__".
//   ErrorCode::kInvalidRequest  names the rule that is broken
absl::Status CheckGroupName(std::string_view name);

}  // namespace cairn
