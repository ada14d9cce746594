#include "bench/machine.h"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <sys/utsname.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#ifndef CAIRN_BENCH_COMMIT
#define CAIRN_BENCH_COMMIT "unknown"
#endif

namespace cairn::bench {
namespace {

// The value of the first line "NAME : VALUE" in a file of /proc.
std::string ProcField(const std::string& file, std::string_view name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(name)) continue;
    const auto colon = line.find(':');
    const auto start = line.find_first_not_of(" \t", colon + 1);
    if (colon != std::string::npos && start != std::string::npos) return line.substr(start);
  }
  return "";
}

std::chrono::nanoseconds Read(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

bool HasTwoCores() {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof mine, &mine);
  return CPU_COUNT(&mine) >= 2 && CPU_ISSET(0, &mine) && CPU_ISSET(1, &mine);
}

// Once, before anything is pinned.
const bool kHasTwoCores = HasTwoCores();

}  // namespace

nlohmann::ordered_json DescribeMachine() {
  utsname kernel{};
  uname(&kernel);
  nlohmann::ordered_json json;
  json["cpu"] = ProcField("/proc/cpuinfo", "model name");
  json["cores"] = sysconf(_SC_NPROCESSORS_ONLN);
  json["memory"] = ProcField("/proc/meminfo", "MemTotal");
  json["kernel"] = kernel.release;
  json["commit"] = CAIRN_BENCH_COMMIT;
  json["build"] = CAIRN_BENCH_BUILD;
  json["date"] = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
  return json;
}

std::optional<int> BrokerCore() { return kHasTwoCores ? std::optional(0) : std::nullopt; }
std::optional<int> LoadCore() { return kHasTwoCores ? std::optional(1) : std::nullopt; }

void PinThisThread(std::optional<int> core) {
  if (!core.has_value()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(*core), &set);
  sched_setaffinity(0, sizeof set, &set);
}

std::chrono::nanoseconds ThreadCpu() { return Read(CLOCK_THREAD_CPUTIME_ID); }
std::chrono::nanoseconds ProcessCpu() { return Read(CLOCK_PROCESS_CPUTIME_ID); }

absl::StatusOr<std::chrono::nanoseconds> ProcessCpu(pid_t process) {
  clockid_t clock;
  if (const int error = clock_getcpuclockid(process, &clock); error != 0) {
    return absl::NotFoundError(
        absl::StrFormat("process %d: no processor time: %s", process, std::strerror(error)));
  }
  return Read(clock);
}

absl::StatusOr<std::int64_t> ResidentBytes(pid_t process) {
  const std::string text = ProcField(absl::StrFormat("/proc/%d/status", process), "RssAnon");
  if (text.empty()) {
    return absl::NotFoundError(absl::StrFormat("process %d: its memory is not shown", process));
  }
  return std::strtoll(text.c_str(), nullptr, 10) * 1024;
}

absl::StatusOr<ScratchDir> ScratchDir::Make(const std::string& parent) {
  std::string path = (parent.empty() ? std::string(".") : parent) + "/cairn-bench-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return absl::UnavailableError(
        absl::StrFormat("%s: no directory can be made there: %s; --dir names another place", path,
                        std::strerror(errno)));
  }
  return ScratchDir(std::move(path));
}

ScratchDir::ScratchDir(ScratchDir&& other) noexcept : path_(std::exchange(other.path_, "")) {}

ScratchDir::~ScratchDir() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace cairn::bench
