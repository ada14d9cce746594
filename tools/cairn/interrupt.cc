#include "tools/cairn/interrupt.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "protocol/check.h"

namespace cairn::tools {
namespace {

volatile std::sig_atomic_t g_count = 0;
volatile std::sig_atomic_t g_noted = 1;
// The signal may arrive on any thread, so a flag alone could not wake the one that waits.
int g_pipe[2] = {-1, -1};

void OnSignal(int) {
  const int saved = errno;
  g_count = g_count + 1;
  if (g_count >= g_noted) {
    (void)std::signal(SIGINT, SIG_DFL);
    (void)std::signal(SIGTERM, SIG_DFL);
  }
  const char byte = 0;
  if (write(g_pipe[1], &byte, 1) < 0) {
    // The count stands; there is nothing else to do in here.
  }
  errno = saved;
}

}  // namespace

void Interrupt::Install(int noted) {
  g_noted = noted;
  CAIRN_CHECK(pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) == 0);
  struct sigaction action {};
  action.sa_handler = OnSignal;
  CAIRN_CHECK(sigaction(SIGINT, &action, nullptr) == 0);
  CAIRN_CHECK(sigaction(SIGTERM, &action, nullptr) == 0);
}

int Interrupt::count() { return static_cast<int>(g_count); }

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
