#include "bench/child_process.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cairn::bench {
namespace {

[[noreturn]] void Become(std::vector<std::string>& words, int out,
                         const std::function<void()>& prepare) {
  dup2(out, STDOUT_FILENO);
  prepare();
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(std::vector<std::string> words,
                                                 const std::function<void()>& prepare) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return CallError("pipe");
  Descriptor out(ends[0]);
  const Descriptor in(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return CallError("fork");
  if (pid == 0) Become(words, in.number(), prepare);
  return ChildProcess{pid, std::move(out)};
}

int AwaitEnd(pid_t child) {
  int ended = 0;
  while (waitpid(child, &ended, 0) < 0 && errno == EINTR) {
  }
  return ended;
}

}  // namespace cairn::bench
