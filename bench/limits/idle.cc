#include <algorithm>
#include <fstream>
#include <sstream>
#include <sys/resource.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "bench/limits/epoll.h"
#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "bench/limits/loopback.h"
#include "bench/machine.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

// Both ends, and what else a process has open.
absl::Status AllowDescriptors(int connections) {
  const rlim_t needed = 2 * static_cast<rlim_t>(connections) + 64;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= needed) return absl::OkStatus();
  if (limit.rlim_max < needed) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "%d connections need %d descriptors, and this process may have %d; ulimit -Hn says so",
        connections, needed, limit.rlim_max));
  }
  limit.rlim_cur = needed;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? absl::OkStatus() : CallError("setrlimit");
}

// The field "mem" of the line "TCP:": pages.
absl::StatusOr<std::int64_t> KernelTcpBytes() {
  std::ifstream file("/proc/net/sockstat");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    std::int64_t pages = 0;
    if (!(words >> name) || name != "TCP:") continue;
    while (words >> name >> pages) {
      if (name == "mem") return pages * ::sysconf(_SC_PAGESIZE);
    }
  }
  return absl::UnavailableError("/proc/net/sockstat: no TCP memory there");
}

struct Memory {
  std::int64_t user = 0;
  std::int64_t kernel_tcp = 0;

  static absl::StatusOr<Memory> Now() {
    Memory memory;
    ASSIGN_OR_RETURN(memory.user, ResidentBytes(::getpid()));
    ASSIGN_OR_RETURN(memory.kernel_tcp, KernelTcpBytes());
    return memory;
  }
};

struct Found {
  Memory before;  // when none was accepted
  Memory after;   // when all stood
  Measurement::Clock::duration took{};
};

absl::Status Serve(const Listener& listener, int connections, Found& found) {
  ASSIGN_OR_RETURN(Epoll epoll, Epoll::Make());
  RETURN_IF_ERROR(epoll.Add(listener.descriptor(), 0));
  ASSIGN_OR_RETURN(found.before, Memory::Now());
  std::vector<Descriptor> accepted;
  RETURN_IF_ERROR(epoll.Wait().status());
  const auto start = Measurement::Clock::now();
  while (accepted.size() < static_cast<std::size_t>(connections)) {
    RETURN_IF_ERROR(epoll.Wait().status());
    ASSIGN_OR_RETURN(Descriptor connection, listener.Accept());
    const auto id = static_cast<std::uint32_t>(accepted.size() + 1);
    RETURN_IF_ERROR(epoll.Add(connection.number(), id));
    accepted.push_back(std::move(connection));
  }
  found.took = Measurement::Clock::now() - start;
  ASSIGN_OR_RETURN(found.after, Memory::Now());
  return absl::OkStatus();
}

// Until the serving half has seen enough, which closes.
absl::Status ConnectAndWait(const Listener& listener, int connections) {
  std::vector<Descriptor> connected;
  for (int i = 0; i < connections; ++i) {
    ASSIGN_OR_RETURN(Descriptor connection, listener.Connect());
    connected.push_back(std::move(connection));
  }
  std::byte none;
  return ReceiveAll(connected.front().number(), {&none, 1}).status();
}

}  // namespace

absl::StatusOr<Report> LimitIdle(const LimitOptions& options) {
  const int connections = options.connections;
  RETURN_IF_ERROR(AllowDescriptors(connections));
  ASSIGN_OR_RETURN(const Listener listener, Listener::Open());
  Found found;
  RETURN_IF_ERROR(RunHalves(
                      options, [&] { return Serve(listener, connections, found); },
                      [&](Measurement&) { return ConnectAndWait(listener, connections); })
                      .status());
  const double seconds = std::chrono::duration<double>(found.took).count();
  const auto each = [&](std::int64_t before, std::int64_t after) {
    return static_cast<double>(after - before) / connections;
  };
  Report report;
  report.workload = "limit idle";
  report.settings = {{"connections", connections}};
  report.figures["seconds"] = seconds;
  report.figures["connects_per_second"] = connections / seconds;
  report.figures["user_bytes_per_connection"] = each(found.before.user, found.after.user);
  report.figures["kernel_tcp_bytes_per_connection"] =
      each(found.before.kernel_tcp, found.after.kernel_tcp);
  report.summary = absl::StrFormat(
      "%d idle connections: %.0f accepted a second, %.0f B of this process for each (both ends)",
      connections, connections / seconds, each(found.before.user, found.after.user));
  return report;
}

}  // namespace cairn::bench
