#include "tools/cairn/time_text.h"

#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/strings/str_format.h"

#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kSpanMsMax = std::int64_t{1} << 52;

absl::Status NotATime(std::string_view text) {
  return UsageError(absl::StrFormat(
      "'%s' is not a time; use RFC 3339 (2026-11-24T09:30:00Z), a date (2026-11-24), @UNIX-MS "
      "(@1795512600000) or a span back from now (-48h, -1h30m)",
      text));
}

// Reads forward through a text; what does not fit leaves it where it was.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool done() const { return rest_.empty(); }
  bool Skip(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // In upper or lower case.
  bool SkipLetter(char upper) {
    return Skip(upper) || Skip(static_cast<char>(std::tolower(static_cast<unsigned char>(upper))));
  }
  bool Skip(std::string_view text) {
    if (rest_.substr(0, text.size()) != text) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  bool AtDigit() const {
    return !rest_.empty() && std::isdigit(static_cast<unsigned char>(rest_.front())) != 0;
  }
  // Exactly `digits` digits, as dates and times have them.
  std::optional<int> Fixed(std::size_t digits) {
    int value = 0;
    if (rest_.size() < digits) return std::nullopt;
    for (std::size_t i = 0; i < digits; ++i) {
      if (std::isdigit(static_cast<unsigned char>(rest_[i])) == 0) return std::nullopt;
      value = value * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(digits);
    return value;
  }
  // As many digits as there are; nothing if none, or too many for the type.
  std::optional<std::int64_t> Number() {
    if (!AtDigit()) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) return std::nullopt;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }

 private:
  std::string_view rest_;
};

std::optional<std::int64_t> UnitMs(Scanner& scanner) {
  if (scanner.Skip("ms")) return 1;
  if (scanner.Skip('s')) return 1'000;
  if (scanner.Skip('m')) return 60'000;
  if (scanner.Skip('h')) return 3'600'000;
  if (scanner.Skip('d')) return kDayMs;
  if (scanner.Skip('w')) return 7 * kDayMs;
  return std::nullopt;
}

std::optional<std::int64_t> SpanMs(Scanner scanner) {
  std::int64_t span = 0;
  do {
    const auto count = scanner.Number();
    const auto unit = count.has_value() ? UnitMs(scanner) : std::nullopt;
    if (!unit.has_value() || *count > kSpanMsMax / *unit) return std::nullopt;
    span += *count * *unit;
    if (span > kSpanMsMax) return std::nullopt;
  } while (!scanner.done());
  return span;
}

// The digits after the point; finer than milliseconds is cut off.
std::optional<std::int64_t> FractionMs(Scanner& scanner) {
  if (!scanner.AtDigit()) return std::nullopt;
  std::int64_t ms = 0;
  for (std::int64_t unit = 100; scanner.AtDigit(); unit /= 10) ms += *scanner.Fixed(1) * unit;
  return ms;
}

struct IsoUnit {
  char letter;
  std::int64_t ms;
};
constexpr IsoUnit kIsoDateUnits[] = {{'W', 7 * kDayMs}, {'D', kDayMs}};
constexpr IsoUnit kIsoTimeUnits[] = {{'H', 3'600'000}, {'M', 60'000}, {'S', 1'000}};

// Adds numbers with their units, each unit at most once and in this order; only seconds may have a
// fraction. False: something else stands there.
bool AddIsoUnits(Scanner& scanner, std::span<const IsoUnit> units, std::int64_t& span_ms) {
  for (std::size_t next = 0; scanner.AtDigit(); ++next) {
    const auto count = scanner.Number();
    if (!count.has_value()) return false;
    std::int64_t fraction = 0;
    const bool has_fraction = scanner.Skip('.') || scanner.Skip(',');
    if (has_fraction) {
      const auto ms = FractionMs(scanner);
      if (!ms.has_value()) return false;
      fraction = *ms;
    }
    while (next < units.size() && !scanner.SkipLetter(units[next].letter)) ++next;
    if (next == units.size() || (has_fraction && units[next].letter != 'S')) return false;
    if (*count > kSpanMsMax / units[next].ms) return false;
    span_ms += *count * units[next].ms + fraction;
  }
  return true;
}

// "P1DT2H30M": at least one number, and at least one after a T.
std::optional<std::int64_t> IsoSpanMs(Scanner scanner) {
  std::int64_t span = 0;
  if (!scanner.SkipLetter('P') || scanner.done()) return std::nullopt;
  if (!AddIsoUnits(scanner, kIsoDateUnits, span)) return std::nullopt;
  if (scanner.SkipLetter('T')) {
    if (!scanner.AtDigit() || !AddIsoUnits(scanner, kIsoTimeUnits, span)) return std::nullopt;
  }
  if (!scanner.done() || span > kSpanMsMax) return std::nullopt;
  return span;
}

std::optional<std::int64_t> AnySpanMs(std::string_view text) {
  const bool iso = !text.empty() && (text.front() == 'P' || text.front() == 'p');
  return iso ? IsoSpanMs(Scanner(text)) : SpanMs(Scanner(text));
}

std::optional<std::int64_t> DayMs(Scanner& scanner) {
  const auto year = scanner.Fixed(4);
  if (!year.has_value() || !scanner.Skip('-')) return std::nullopt;
  const auto month = scanner.Fixed(2);
  if (!month.has_value() || !scanner.Skip('-')) return std::nullopt;
  const auto day = scanner.Fixed(2);
  if (!day.has_value()) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch().count() * kDayMs;
}

// "09:30" or "09:30:00" or "09:30:00.25"
std::optional<std::int64_t> TimeOfDayMs(Scanner& scanner) {
  const auto hour = scanner.Fixed(2);
  if (!hour.has_value() || *hour > 23 || !scanner.Skip(':')) return std::nullopt;
  const auto minute = scanner.Fixed(2);
  if (!minute.has_value() || *minute > 59) return std::nullopt;
  std::int64_t ms = (*hour * 60 + *minute) * 60'000;
  if (!scanner.Skip(':')) return ms;
  const auto second = scanner.Fixed(2);
  if (!second.has_value() || *second > 60) return std::nullopt;  // 60: a leap second
  ms += *second * 1'000;
  if (!scanner.Skip('.')) return ms;
  const auto fraction = FractionMs(scanner);
  if (!fraction.has_value()) return std::nullopt;
  return ms + *fraction;
}

// "Z", "+01:00", or nothing for UTC: what must be taken off to reach UTC.
std::optional<std::int64_t> ZoneMs(Scanner& scanner) {
  if (scanner.done() || scanner.Skip('Z') || scanner.Skip('z')) return 0;
  const bool east = scanner.Skip('+');
  if (!east && !scanner.Skip('-')) return std::nullopt;
  const auto hour = scanner.Fixed(2);
  if (!hour.has_value() || *hour > 23 || !scanner.Skip(':')) return std::nullopt;
  const auto minute = scanner.Fixed(2);
  if (!minute.has_value() || *minute > 59) return std::nullopt;
  const std::int64_t ms = (*hour * 60 + *minute) * 60'000;
  return east ? ms : -ms;
}

std::optional<std::int64_t> CalendarMs(Scanner scanner) {
  const auto day = DayMs(scanner);
  if (!day.has_value() || scanner.done()) return day;
  if (!scanner.Skip('T') && !scanner.Skip('t') && !scanner.Skip(' ')) return std::nullopt;
  const auto time = TimeOfDayMs(scanner);
  if (!time.has_value()) return std::nullopt;
  const auto zone = ZoneMs(scanner);
  if (!zone.has_value() || !scanner.done()) return std::nullopt;
  return *day + *time - *zone;
}

std::optional<std::int64_t> AnyMs(std::string_view text, Timestamp now) {
  if (text.empty()) return std::nullopt;
  if (text.front() == '@') {
    Scanner scanner(text.substr(1));
    const auto ms = scanner.Number();
    return scanner.done() ? ms : std::nullopt;
  }
  if (text.front() == '-') {
    const auto span = AnySpanMs(text.substr(1));
    if (!span.has_value()) return std::nullopt;
    return now.value() - *span;
  }
  return CalendarMs(Scanner(text));
}

}  // namespace

absl::StatusOr<Timestamp> ParseTime(std::string_view text, Timestamp now) {
  const auto ms = AnyMs(text, now);
  if (!ms.has_value()) return NotATime(text);
  if (*ms < 0) return UsageError(absl::StrFormat("'%s' lies before 1970", text));
  return Timestamp(*ms);
}

absl::StatusOr<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  const auto ms = AnySpanMs(text);
  if (ms.has_value()) return std::chrono::milliseconds(*ms);
  return UsageError(
      absl::StrFormat("'%s' is not a duration; use ISO 8601 in weeks, days, hours, minutes and "
                      "seconds (P1DT12H, PT30M) or a span (36h, 1h30m)",
                      text));
}

absl::StatusOr<std::chrono::milliseconds> ParseTimeout(std::string_view text) {
  Scanner scanner(text);
  const auto ms = scanner.Number();
  if (!ms.has_value() || !scanner.done()) return ParseDuration(text);
  if (*ms > kSpanMsMax) return UsageError(absl::StrFormat("'%s' ms is for ever", text));
  return std::chrono::milliseconds(*ms);
}

std::string FormatTime(Timestamp time) {
  const std::chrono::sys_time<std::chrono::milliseconds> moment{
      std::chrono::milliseconds(time.value())};
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(moment - day);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                         static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                         clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                         clock.subseconds().count());
}

std::string FormatSpan(std::chrono::milliseconds span) {
  const std::int64_t seconds = span.count() / 1000;
  const std::int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  if (days > 0) return absl::StrFormat("%dd %dh", days, hours % 24);
  if (hours > 0) return absl::StrFormat("%dh %dm", hours, minutes % 60);
  if (minutes > 0) return absl::StrFormat("%dm %ds", minutes, seconds % 60);
  return absl::StrFormat("%ds", seconds);
}

}  // namespace cairn::tools
