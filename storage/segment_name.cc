#include "storage/segment_name.h"

#include <charconv>

#include "absl/strings/str_format.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kDigits = 20;
constexpr std::string_view kGenerationMark = ".g";
constexpr std::string_view kLogEnding = ".log";
constexpr std::string_view kIndexEnding = ".index";

std::string Name(Offset base, std::uint32_t generation, std::string_view ending) {
  if (generation == 0) return absl::StrFormat("%020d%s", base.value(), ending);
  return absl::StrFormat("%020d%s%d%s", base.value(), kGenerationMark, generation, ending);
}

template <typename Number>
bool ParseNumber(std::string_view digits, Number& out) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
  return error == std::errc() && end == digits.data() + digits.size();
}

std::optional<SegmentFileName> Parse(std::string_view name, std::string_view ending) {
  std::int64_t base = 0;
  if (name.size() < kDigits + ending.size() || !ParseNumber(name.substr(0, kDigits), base) ||
      base < 0) {
    return std::nullopt;
  }
  SegmentFileName parsed{.base = Offset(base)};
  if (const std::string_view rest = name.substr(kDigits); rest.starts_with(kGenerationMark)) {
    const std::size_t digits = rest.size() - kGenerationMark.size() - ending.size();
    if (rest.size() <= kGenerationMark.size() + ending.size() ||
        !ParseNumber(rest.substr(kGenerationMark.size(), digits), parsed.generation)) {
      return std::nullopt;
    }
  }
  // One name for each: no leading zeros, no generation 0, no sign.
  if (name != Name(parsed.base, parsed.generation, ending)) return std::nullopt;
  return parsed;
}

}  // namespace

std::string LogFileName(Offset base, std::uint32_t generation) {
  return Name(base, generation, kLogEnding);
}
std::string IndexFileName(Offset base, std::uint32_t generation) {
  return Name(base, generation, kIndexEnding);
}
std::optional<SegmentFileName> ParseLogFileName(std::string_view name) {
  return Parse(name, kLogEnding);
}
std::optional<SegmentFileName> ParseIndexFileName(std::string_view name) {
  return Parse(name, kIndexEnding);
}

}  // namespace cairn::storage
