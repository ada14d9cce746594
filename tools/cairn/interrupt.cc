#include "tools/cairn/interrupt.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "protocol/check.h"

namespace cairn::tools {
namespace {

volatile std::sig_atomic_t g_requested = 0;
// The signal may arrive on any thread, so a flag alone could not wake the one that waits.
int g_pipe[2] = {-1, -1};

void OnSignal(int) {
  const int saved = errno;
  g_requested = 1;
  const char byte = 0;
  if (write(g_pipe[1], &byte, 1) < 0) {
    // The flag stands; there is nothing else to do in here.
  }
  errno = saved;
}

}  // namespace

void Interrupt::Install() {
  CAIRN_CHECK(pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) == 0);
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  CAIRN_CHECK(sigaction(SIGINT, &action, nullptr) == 0);
  CAIRN_CHECK(sigaction(SIGTERM, &action, nullptr) == 0);
  CAIRN_CHECK(std::signal(SIGPIPE, SIG_IGN) != SIG_ERR);
}

bool Interrupt::requested() { return g_requested != 0; }

bool Interrupt::WaitReadable(int fd) {
  pollfd waited[2] = {{fd, POLLIN, 0}, {g_pipe[0], POLLIN, 0}};
  while (!requested()) {
    const int ready = poll(waited, 2, -1);
    if (ready < 0 && errno != EINTR) return true;  // read will say what is wrong
    if (ready > 0 && waited[0].revents != 0) return true;
  }
  return false;
}

}  // namespace cairn::tools
