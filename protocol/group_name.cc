#include "protocol/group_name.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn {

absl::Status CheckGroupName(std::string_view name) {
  const auto refuse = [&](std::string_view rule) {
    return MakeError(
        ErrorCode::kInvalidRequest,
        absl::StrFormat("'%s' cannot be the name of a group: %s", name.substr(0, 300), rule));
  };
  if (name.empty() || name.size() > kGroupNameBytesMax) {
    return refuse(absl::StrFormat("it has 1 to %d bytes", kGroupNameBytesMax));
  }
  const bool printable =
      std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (!printable) return refuse("it consists of printable ASCII, without blanks");
  if (name.substr(0, 2) == "__") return refuse("names that begin with \"__\" are the broker's");
  return absl::OkStatus();
}

}  // namespace cairn
