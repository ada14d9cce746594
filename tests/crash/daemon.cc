#include "tests/crash/daemon.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "protocol/check.h"

namespace cairn::test {

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const Command& command) {
  int output[2];
  if (::pipe2(output, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  const int log = ::open(command.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return absl::ErrnoToStatus(errno, command.log.string());
  // Everything that allocates is done before the fork: other threads may hold the heap's lock.
  std::vector<std::string> words{command.program.string()};
  words.insert(words.end(), command.arguments.begin(), command.arguments.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::string preload = "LD_PRELOAD=" + command.preload;
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment.push_back(*variable);
  }
  if (!command.preload.empty()) environment.push_back(preload.data());
  environment.push_back(nullptr);

  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(output[1], STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::execve(arguments[0], arguments.data(), environment.data());
    ::_exit(127);
  }
  ::close(output[1]);
  ::close(log);
  return std::unique_ptr<Daemon>(new Daemon(pid, output[0]));
}

Daemon::~Daemon() {
  if (pid_ != 0) Kill();
  ::close(output_);
}

absl::Status Daemon::AwaitReady(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (heard_.find("cairnd ready on ") == std::string::npos) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd waiting{output_, POLLIN, 0};
    const int ready =
        ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(0, left.count())));
    if (ready == 0) return absl::DeadlineExceededError("cairnd is not ready");
    if (ready < 0 && errno == EINTR) continue;
    char text[256];
    const ssize_t length = ::read(output_, text, sizeof text);
    if (length <= 0) return absl::UnavailableError("cairnd ended instead of serving");
    heard_.append(text, static_cast<std::size_t>(length));
  }
  return absl::OkStatus();
}

int Daemon::Reap() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  return status;
}

void Daemon::Kill() {
  ::kill(pid_, SIGKILL);
  Reap();
}

absl::Status Daemon::Stop() {
  ::kill(pid_, SIGTERM);
  const int status = Reap();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrFormat("cairnd ended with status %#x when told to stop", status));
}

std::uint16_t LastingPort(std::uint64_t seed) {
  constexpr std::uint16_t kFirst = 20'000;
  constexpr std::uint16_t kCount = 12'000;  // up to where ephemeral ports begin
  for (std::uint16_t i = 0; i < kCount; ++i) {
    const auto port = static_cast<std::uint16_t>(kFirst + (seed + i) % kCount);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CAIRN_CHECK(fd >= 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    if (free) return port;
  }
  CAIRN_CHECK(false);
  return 0;
}

}  // namespace cairn::test
