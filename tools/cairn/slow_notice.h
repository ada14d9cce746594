#pragma once

#include <chrono>
#include <string>
#include <thread>

namespace cairn::tools {

// Says a line on stderr if it lives longer than a moment: around what is mostly quick.
//
// Threads: one, and one of its own.
class SlowNotice {
 public:
  SlowNotice(std::chrono::milliseconds moment, std::string line);

 private:
  std::jthread thread_;
};

}  // namespace cairn::tools
