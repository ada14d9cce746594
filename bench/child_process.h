#pragma once

#include <functional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/status/statusor.h"

#include "bench/limits/descriptor.h"

namespace cairn::bench {

// A program that runs beside this one, and what it writes to stdout. It is not ended by this
// object: see AwaitEnd.
struct ChildProcess {
  pid_t pid = -1;
  Descriptor out;

  // `words`: the program's path, then its arguments. `prepare` runs in the child before the program
  // takes its place; only calls that are safe between fork and exec may be made there.
  //   kUnavailable  the system call that failed
  static absl::StatusOr<ChildProcess> Start(std::vector<std::string> words,
                                            const std::function<void()>& prepare);
};

// Waits for a child to end; gives what waitpid says of it.
int AwaitEnd(pid_t child);

}  // namespace cairn::bench
