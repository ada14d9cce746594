#include "bench/broker_process.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/prctl.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "bench/child_process.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

constexpr std::string_view kReady = "cairnd ready on ";

// Beside this program where both are installed, else where the build puts it.
std::string FindCairnd() {
  std::error_code ignored;
  const auto here = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const auto& path : {here / "cairnd", here / "../tools/cairnd/cairnd"}) {
    if (std::filesystem::is_regular_file(path, ignored)) return path.lexically_normal();
  }
  return "";
}

std::string LastLine(const std::string& file) {
  std::ifstream in(file);
  std::string last;
  for (std::string line; std::getline(in, line);) last = line;
  return last;
}

// In the child, before it becomes the broker.
void Prepare(const std::string& log, bool pin) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0);  // Ctrl-C ends the load first
  if (pin) PinThisThread(BrokerCore());
  const int err = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (err >= 0) dup2(err, STDERR_FILENO);
}

}  // namespace

absl::StatusOr<BrokerProcess> BrokerProcess::Start(const Options& options) {
  const std::string cairnd = options.cairnd.empty() ? FindCairnd() : options.cairnd;
  if (cairnd.empty() || access(cairnd.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrFormat(
        "no cairnd to start%s%s; --cairnd names the program, --broker one that runs already",
        cairnd.empty() ? "" : " at ", cairnd));
  }
  ASSIGN_OR_RETURN(ScratchDir dir, ScratchDir::Make(options.dir));
  std::vector<std::string> arguments = {cairnd, "--data-dir", dir.path() + "/data", "--listen",
                                        "127.0.0.1:0"};
  arguments.insert(arguments.end(), options.flags.begin(), options.flags.end());
  const std::string log = dir.path() + "/log";
  ASSIGN_OR_RETURN(const ChildProcess child,
                   ChildProcess::Start(std::move(arguments), [&] { Prepare(log, options.pin); }));
  BrokerProcess broker(std::move(dir), child.pid);
  RETURN_IF_ERROR(broker.AwaitReady(child.out.number()));
  return broker;
}

absl::Status BrokerProcess::AwaitReady(int from) {
  std::string said;
  char buffer[256];
  while (said.find('\n') == std::string::npos) {
    const ssize_t n = read(from, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return absl::UnavailableError(absl::StrFormat("cairnd did not come up; it said last: %s",
                                                    LastLine(dir_.path() + "/log")));
    }
    said.append(buffer, static_cast<std::size_t>(n));
  }
  const auto at = said.find(kReady);
  if (at == std::string::npos) {
    return absl::UnavailableError(absl::StrFormat("cairnd said %s", said));
  }
  const auto start = at + kReady.size();
  address_ = said.substr(start, said.find('\n', start) - start);
  return absl::OkStatus();
}

BrokerProcess::BrokerProcess(BrokerProcess&& other) noexcept
    : dir_(std::move(other.dir_)),
      pid_(std::exchange(other.pid_, -1)),
      address_(std::move(other.address_)) {}

BrokerProcess::~BrokerProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);  // its data goes too
  AwaitEnd(pid_);
}

}  // namespace cairn::bench
