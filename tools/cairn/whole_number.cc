#include "tools/cairn/whole_number.h"

#include <charconv>
#include <string>
#include <system_error>

#include "absl/strings/str_format.h"

namespace cairn::tools {

CLI::Validator WholeNumber(std::int64_t min, std::int64_t max) {
  const auto check = [min, max](const std::string& text) -> std::string {
    std::int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (parsed.ec == std::errc::invalid_argument || parsed.ptr != end) {
      return absl::StrFormat("'%s' is not a whole number in decimal digits", text);
    }
    if (parsed.ec == std::errc() && value >= min && value <= max) return "";
    return absl::StrFormat("%s is not in range %d to %d", text, min, max);
  };
  return CLI::Validator(check, "");
}

}  // namespace cairn::tools
