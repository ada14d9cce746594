#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cairn::test {

// A cairnd in a process group of its own, which dies with us. Threads: one.
class Daemon {
 public:
  struct Command {
    std::filesystem::path program;
    std::vector<std::string> arguments;
    std::filesystem::path log;  // its stderr is added to this file
    std::string preload;        // LD_PRELOAD; empty: none
  };

  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const Command& command);
  ~Daemon();  // kills it

  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Waits for the line that says that it serves.
  //   kDeadlineExceeded  not within that time
  //   kUnavailable       it has ended instead
  absl::Status AwaitReady(std::chrono::milliseconds timeout);

  // With SIGKILL; it is gone when this returns, and its files are closed.
  void Kill();
  // With SIGTERM. kInternal: it did not end well.
  absl::Status Stop();

 private:
  Daemon(pid_t pid, int output) : pid_(pid), output_(output) {}
  int Reap();

  pid_t pid_;  // 0: gone
  int output_;
  std::string heard_;
};

// A port that a daemon can keep over its restarts: not one of those that the kernel gives to
// outgoing connections, for a client that tries to come back might be given it and hold it.
std::uint16_t LastingPort(std::uint64_t seed);

}  // namespace cairn::test
