#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace cairn::bench {

// One line on stderr that tells how far a run is, where stderr is a terminal.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();  // wipes the line

  void Show(std::chrono::nanoseconds elapsed, std::chrono::nanoseconds of, std::int64_t records);

 private:
  const std::string what_;
  const bool silent_;
};

}  // namespace cairn::bench
