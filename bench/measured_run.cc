#include "bench/measured_run.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "protocol/status.h"

namespace cairn::bench {
namespace {

[[noreturn]] void Become(std::vector<std::string> words, int out) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  dup2(out, STDOUT_FILENO);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

std::string ReadAll(int from) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(from, buffer, sizeof buffer)) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
  }
  return text;
}

}  // namespace

absl::StatusOr<MeasuredRun> MeasuredRun::Parse(const std::string& command) {
  std::vector<std::string> words = absl::StrSplit(command, ' ', absl::SkipWhitespace());
  if (words.empty()) return absl::InvalidArgumentError("an empty command cannot be compared");
  if (words[0].find('/') == std::string::npos) words.insert(words.begin(), "/proc/self/exe");
  words.push_back("--json");
  return MeasuredRun(std::move(words));
}

absl::StatusOr<nlohmann::json> MeasuredRun::Run() const {
  const std::string text = absl::StrJoin(words_, " ");
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrFormat("pipe: %s", std::strerror(errno)));
  }
  const pid_t pid = fork();
  if (pid == 0) Become(words_, out[1]);
  close(out[1]);
  const std::string printed = pid < 0 ? "" : ReadAll(out[0]);
  close(out[0]);
  if (pid < 0) return absl::UnavailableError(absl::StrFormat("fork: %s", std::strerror(errno)));
  int ended = 0;
  while (waitpid(pid, &ended, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0) {
    return absl::UnavailableError(absl::StrFormat("%s: it failed", text));
  }
  auto json = nlohmann::json::parse(printed, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("figures")) return json["figures"];
  return absl::UnavailableError(absl::StrFormat("%s: it printed no figures: %s", text, printed));
}

}  // namespace cairn::bench
