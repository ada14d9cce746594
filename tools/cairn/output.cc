#include "tools/cairn/output.h"

#include <cerrno>
#include <cstring>
#include <poll.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

namespace cairn::tools {

void Output::WriteOut() {
  std::string_view rest = buffer_;
  while (!rest.empty() && !broken_ && status_.ok()) {
    const ssize_t wrote = write(STDOUT_FILENO, rest.data(), rest.size());
    if (wrote >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(wrote));
    } else if (errno == EPIPE) {
      broken_ = true;
    } else if (errno == EAGAIN) {
      // A stdout shared with a program that made it non-blocking.
      pollfd writable{STDOUT_FILENO, POLLOUT, 0};
      (void)poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      status_ = absl::UnknownError(
          absl::StrFormat("the output cannot be written: %s", std::strerror(errno)));
    }
  }
  buffer_.clear();
}

absl::Status Output::Flush() {
  WriteOut();
  return status_;
}

bool Output::broken() {
  if (!broken_) {
    pollfd reader{STDOUT_FILENO, 0, 0};
    broken_ = poll(&reader, 1, 0) > 0 && (reader.revents & POLLERR) != 0;
  }
  return broken_;
}

}  // namespace cairn::tools
