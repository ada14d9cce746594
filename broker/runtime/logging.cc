#include "broker/runtime/logging.h"

#include <array>
#include <atomic>
#include <ctime>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "broker/runtime/clock.h"

namespace cairn::broker {
namespace {

constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info", "warning", "error"};

std::atomic<LogLevel> least_level{LogLevel::kInfo};

bool IsPlain(std::string_view value) {
  if (value.empty()) return false;
  for (const char c : value) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return false;
  }
  return true;
}

// Control characters would let whoever names a topic or a client write lines of their own, or move
// the cursor of whoever reads them. Bytes of UTF-8 pass.
void AppendQuoted(std::string& line, std::string_view value) {
  line += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if ((c >= 0 && c < ' ') || c == 0x7f) {
      absl::StrAppendFormat(&line, "\\x%02x", static_cast<unsigned>(c));
    } else {
      line += c;
    }
  }
  line += '"';
}

}  // namespace

std::optional<LogLevel> ParseLogLevel(std::string_view text) {
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    if (text == kLevelNames[i]) return static_cast<LogLevel>(i);
  }
  return std::nullopt;
}

void SetLogLevel(LogLevel level) { least_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() { return least_level.load(std::memory_order_relaxed); }

std::string FormatLogLine(Timestamp now, LogLevel level, std::string_view event,
                          std::initializer_list<LogField> fields) {
  const std::time_t seconds = now.value() / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::string line = absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s",
                                     utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
                                     utc.tm_min, utc.tm_sec, static_cast<int>(now.value() % 1000),
                                     kLevelNames[static_cast<std::size_t>(level)], event);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.name;
    line += '=';
    if (IsPlain(field.value)) {
      line += field.value;
    } else {
      AppendQuoted(line, field.value);
    }
  }
  return line;
}

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (level < log_level()) return;
  std::string line = FormatLogLine(WallNow(), level, event, fields);
  line += '\n';
  // Nobody can be told that stderr is gone.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace cairn::broker
