#pragma once

#include <concepts>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "protocol/types.h"

// Diagnostics, one line each on stderr, in logfmt:
//
//   2026-11-24T02:00:00.123Z info topic created topic=orders partitions=4
//
// Values with spaces, quotes or control characters are quoted and escaped, so that no peer can
// forge a line. Each line is one write(2); any thread may log.
namespace cairn::broker {

enum class LogLevel { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

// "debug", "info", "warning", "error"; nothing for another text.
std::optional<LogLevel> ParseLogLevel(std::string_view text);
// Lines below it are not written; kInfo from the start.
void SetLogLevel(LogLevel level);
LogLevel log_level();

// One name=value of a line.
struct LogField {
  LogField(std::string_view field, std::string_view text) : name(field), value(text) {}
  LogField(std::string_view field, const char* text) : name(field), value(text) {}
  LogField(std::string_view field, const std::string& text) : name(field), value(text) {}
  LogField(std::string_view field, const absl::Status& status)
      : name(field), value(status.message().data(), status.message().size()) {}
  LogField(std::string_view field, bool on) : name(field), value(on ? "true" : "false") {}
  template <std::integral T>
  LogField(std::string_view field, T number) : name(field), value(std::to_string(number)) {}
  template <typename Tag, typename Rep>
  LogField(std::string_view field, Strong<Tag, Rep> number) : LogField(field, number.value()) {}

  std::string_view name;
  std::string value;
};

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields);
inline void LogDebug(std::string_view event, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kDebug, event, fields);
}
inline void LogInfo(std::string_view event, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kInfo, event, fields);
}
inline void LogWarning(std::string_view event, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kWarning, event, fields);
}
inline void LogError(std::string_view event, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kError, event, fields);
}

// The line as it is written, without the newline: for tests.
std::string FormatLogLine(Timestamp now, LogLevel level, std::string_view event,
                          std::initializer_list<LogField> fields);

}  // namespace cairn::broker
