#include "client/address.h"

#include <charconv>

#include "absl/strings/str_format.h"

namespace cairn::client {

absl::StatusOr<Address> ParseAddress(std::string_view text) {
  const auto malformed = [&](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrFormat("broker address '%s': %s; write HOST:PORT, such as 127.0.0.1:7654 or "
                        "[::1]:7654",
                        text, why));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return malformed("there is no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return malformed("an IPv6 address needs brackets");
  }
  if (host.empty()) return malformed("there is no host");

  Address address{.host = std::string(host), .port = 0};
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (parsed.ec != std::errc{} || parsed.ptr != port.data() + port.size() || address.port == 0) {
    return malformed("the port is not a number from 1 to 65535");
  }
  return address;
}

}  // namespace cairn::client
