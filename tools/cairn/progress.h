#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace cairn::tools {

// "1234567" as "1,234,567".
std::string GroupedDigits(std::int64_t value);
// "52.3 MB"; powers of 1000.
std::string FormatBytes(std::int64_t bytes);
// "1,234,567/s"
std::string FormatRate(std::int64_t count, std::chrono::steady_clock::duration elapsed);

// One line on stderr that tells how far long work has come, a few times a second. Silent where
// stderr is not a terminal, and where the caller says so because its results go to the same
// terminal.
//
// Threads: one.
class Progress {
 public:
  // `verb` begins the line: "produced".
  Progress(std::string verb, bool silent);
  ~Progress();  // wipes the line

  // Totals so far. Cheap enough to call for every record: one look at the clock.
  void Show(std::int64_t records, std::int64_t bytes);
  void Wipe();

  std::chrono::steady_clock::duration elapsed() const {
    return std::chrono::steady_clock::now() - began_;
  }

 private:
  std::string verb_;
  bool silent_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point began_;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace cairn::tools
