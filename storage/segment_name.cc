#include "storage/segment_name.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_format.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kDigits = 20;
constexpr std::string_view kLogEnding = ".log";
constexpr std::string_view kIndexEnding = ".index";

std::optional<Offset> Parse(std::string_view name, std::string_view ending) {
  if (name.size() != kDigits + ending.size() || name.substr(kDigits) != ending) return std::nullopt;
  const std::string_view digits = name.substr(0, kDigits);
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return std::nullopt;
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + kDigits, value);
  if (error != std::errc()) return std::nullopt;
  return Offset(value);
}

}  // namespace

std::string LogFileName(Offset base) {
  return absl::StrFormat("%020d%s", base.value(), kLogEnding);
}
std::string IndexFileName(Offset base) {
  return absl::StrFormat("%020d%s", base.value(), kIndexEnding);
}
std::optional<Offset> ParseLogFileName(std::string_view name) { return Parse(name, kLogEnding); }
std::optional<Offset> ParseIndexFileName(std::string_view name) {
  return Parse(name, kIndexEnding);
}

}  // namespace cairn::storage
