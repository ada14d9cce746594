#pragma once

namespace cairn::tools {

// Ctrl-C and SIGTERM as a fact to ask for instead of a sudden end, for the commands that ask. The
// last of `noted` signals is the last that is only noted: the one after it ends the process at
// once, as if this were not here. One per process, living until it ends.
//
// Threads: any.
class Interrupt {
 public:
  static void Install(int noted = 1);

  static bool requested() { return count() > 0; }
  // How many signals there were.
  static int count();

  // Waits until `fd` can be read (or is at its end): true; or for an interrupt: false.
  static bool WaitReadable(int fd);
};

}  // namespace cairn::tools
