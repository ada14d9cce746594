#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace cairn::client {

// Where a broker listens.
struct Address {
  std::string host;  // a name or a number, without brackets
  std::uint16_t port = 0;

  friend bool operator==(const Address&, const Address&) = default;
};

// HOST:PORT; an IPv6 host stands in brackets.
//   kInvalidArgument  not in that form, or the port is not 1..65535
absl::StatusOr<Address> ParseAddress(std::string_view text);

}  // namespace cairn::client
