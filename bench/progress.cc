#include "bench/progress.h"

#include <cstdio>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"

namespace cairn::bench {

Progress::Progress(std::string what)
    : what_(std::move(what)), silent_(isatty(STDERR_FILENO) == 0) {}

Progress::~Progress() {
  if (!silent_) std::fputs("\r\033[K", stderr);
}

void Progress::Show(std::chrono::nanoseconds elapsed, std::chrono::nanoseconds of,
                    std::int64_t records) {
  if (silent_) return;
  const double seconds = std::chrono::duration<double>(elapsed).count();
  absl::FPrintF(stderr, "\r\033[K%s: %.1f of %.1f s, %d records, %.0f/s", what_, seconds,
                std::chrono::duration<double>(of).count(), records,
                seconds > 0 ? static_cast<double>(records) / seconds : 0.0);
}

}  // namespace cairn::bench
