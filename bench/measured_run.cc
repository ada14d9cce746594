#include "bench/measured_run.h"

#include <cerrno>
#include <csignal>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "bench/child_process.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

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
  ASSIGN_OR_RETURN(const ChildProcess child,
                   ChildProcess::Start(words_, [] { prctl(PR_SET_PDEATHSIG, SIGTERM); }));
  const std::string printed = ReadAll(child.out.number());
  const int ended = AwaitEnd(child.pid);
  if (!WIFEXITED(ended) || WEXITSTATUS(ended) != 0) {
    return absl::UnavailableError(absl::StrFormat("%s: it failed", text));
  }
  auto json = nlohmann::json::parse(printed, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("figures")) return json["figures"];
  return absl::UnavailableError(absl::StrFormat("%s: it printed no figures: %s", text, printed));
}

}  // namespace cairn::bench
