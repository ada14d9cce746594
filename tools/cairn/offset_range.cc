#include "tools/cairn/offset_range.h"

#include <charconv>
#include <limits>
#include <string>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

std::optional<std::int64_t> WholeNumber(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value == std::numeric_limits<std::int64_t>::min()) return std::nullopt;  // has no opposite
  return value;
}

absl::StatusOr<Timestamp> TimeAfterSign(std::string_view text, Timestamp now) {
  if (!text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos) {
    return ParseTime(absl::StrFormat("@%s", text), now);
  }
  return ParseTime(text, now);
}

absl::StatusOr<OffsetRange> TimeRange(std::string_view text, Timestamp now) {
  OffsetRange range;
  range.start = OffsetRange::Start::kTime;
  // Times have colons of their own; the one that divides is followed by the sign.
  const std::size_t divide = text.find(":@", 1);
  const std::string_view from =
      text.substr(1, divide == std::string_view::npos ? divide : divide - 1);
  ASSIGN_OR_RETURN(range.time, TimeAfterSign(from, now));
  if (divide == std::string_view::npos) return range;
  ASSIGN_OR_RETURN(range.stop_time, TimeAfterSign(text.substr(divide + 2), now));
  if (*range.stop_time < range.time) {
    return UsageError(absl::StrFormat("-o %s: ends (%s) before it begins (%s)", text,
                                      FormatTime(*range.stop_time), FormatTime(range.time)));
  }
  return range;
}

}  // namespace

absl::StatusOr<OffsetRange> ParseOffsetRange(std::string_view text, Timestamp now) {
  OffsetRange range;
  if (text == "start") return range;
  if (!text.empty() && text.front() == '@') return TimeRange(text, now);
  const auto number = WholeNumber(text);
  if (text == ":end") {
    range.stop_at_present_end = true;
  } else if (text == "end") {
    range.start = OffsetRange::Start::kLatest;
  } else if (!number.has_value() || text == "-0") {
    return UsageError(absl::StrFormat(
        "-o %s: use start, end, :end, an offset (100), the last N (-10), @TIME or @FROM:@TO",
        text));
  } else if (*number >= 0) {
    range.start = OffsetRange::Start::kOffset;
    range.offset = Offset(*number);
  } else {
    range.start = OffsetRange::Start::kLast;
    range.count = -*number;
  }
  return range;
}

}  // namespace cairn::tools
