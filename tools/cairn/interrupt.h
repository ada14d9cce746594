#pragma once

namespace cairn::tools {

// Ctrl-C and SIGTERM as a fact to ask for instead of a sudden end. A second signal ends the process
// at once, as if this were not here. One per process, living until it ends.
//
// Threads: any.
class Interrupt {
 public:
  // From now on the first SIGINT or SIGTERM is only noted. Also lets writes to a closed pipe fail
  // with EPIPE instead of ending the process.
  static void Install();

  static bool requested();

  // Waits until `fd` can be read (or is at its end): true; or for an interrupt: false.
  static bool WaitReadable(int fd);
};

}  // namespace cairn::tools
