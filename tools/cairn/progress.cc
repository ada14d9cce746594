#include "tools/cairn/progress.h"

#include <array>
#include <cstdio>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"

namespace cairn::tools {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(250);

}  // namespace

std::string GroupedDigits(std::int64_t value) {
  std::string digits = absl::StrFormat("%d", value);
  const std::size_t first = value < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string FormatBytes(std::int64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"B", "kB", "MB", "GB", "TB", "PB"};
  if (bytes < 1000) return absl::StrFormat("%d B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string FormatRate(std::int64_t count, std::chrono::steady_clock::duration elapsed) {
  const double seconds = std::chrono::duration<double>(elapsed).count();
  if (seconds <= 0) return "-";
  return GroupedDigits(static_cast<std::int64_t>(static_cast<double>(count) / seconds)) + "/s";
}

Progress::Progress(std::string verb, bool silent)
    : verb_(std::move(verb)),
      silent_(silent || isatty(STDERR_FILENO) == 0),
      began_(std::chrono::steady_clock::now()),
      next_(began_ + 2 * kInterval) {}

Progress::~Progress() { Wipe(); }

void Progress::Show(std::int64_t records, std::int64_t bytes) {
  if (silent_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kInterval;
  shown_ = true;
  absl::FPrintF(stderr, "\r%s %s records, %s, %s\x1b[K", verb_, GroupedDigits(records),
                FormatBytes(bytes), FormatRate(records, now - began_));
}

void Progress::Wipe() {
  if (shown_) absl::FPrintF(stderr, "\r\x1b[K");
  shown_ = false;
}

}  // namespace cairn::tools
