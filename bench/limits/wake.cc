#include <sys/eventfd.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "bench/limits/epoll.h"
#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

enum Signal : std::uint64_t { kGoOn = 1, kEnd = 2 };

// An eventfd and the epoll in which one thread waits for it.
class Bell {
 public:
  static absl::StatusOr<Bell> Make() {
    Descriptor event(::eventfd(0, EFD_CLOEXEC));
    if (!event.is_open()) return CallError("eventfd");
    ASSIGN_OR_RETURN(Epoll epoll, Epoll::Make());
    RETURN_IF_ERROR(epoll.Add(event.number(), 0));
    return Bell(std::move(event), std::move(epoll));
  }

  absl::Status Ring(std::uint64_t signal) const {
    if (::write(event_.number(), &signal, sizeof signal) == sizeof signal) return absl::OkStatus();
    return CallError("write to an eventfd");
  }
  absl::StatusOr<std::uint64_t> Wait() {
    RETURN_IF_ERROR(epoll_.Wait().status());
    std::uint64_t signal = 0;
    if (::read(event_.number(), &signal, sizeof signal) == sizeof signal) return signal;
    return CallError("read of an eventfd");
  }

 private:
  Bell(Descriptor event, Epoll epoll) : event_(std::move(event)), epoll_(std::move(epoll)) {}

  Descriptor event_;
  Epoll epoll_;
};

absl::Status RingBack(Bell& mine, const Bell& other) {
  for (;;) {
    ASSIGN_OR_RETURN(const std::uint64_t signal, mine.Wait());
    if (signal >= kEnd) return absl::OkStatus();
    RETURN_IF_ERROR(other.Ring(kGoOn));
  }
}

absl::Status RingAndWait(Bell& mine, const Bell& other, Measurement& measurement) {
  while (!measurement.is_over()) {
    const auto start = Measurement::Clock::now();
    RETURN_IF_ERROR(other.Ring(kGoOn));
    RETURN_IF_ERROR(mine.Wait().status());
    const auto now = Measurement::Clock::now();
    measurement.CountTimed((now - start) / 2, now, 0);
  }
  return other.Ring(kEnd);
}

}  // namespace

absl::StatusOr<Report> LimitWake(const LimitOptions& options) {
  ASSIGN_OR_RETURN(Bell serving, Bell::Make());
  ASSIGN_OR_RETURN(Bell asking, Bell::Make());
  ASSIGN_OR_RETURN(const Measurement seen, RunHalves(
                                               options, [&] { return RingBack(serving, asking); },
                                               [&](Measurement& measurement) {
                                                 return RingAndWait(asking, serving, measurement);
                                               }));
  Report report = seen.ToReport("limit wake", {{"duration_ms", options.duration.count()}});
  report.summary =
      absl::StrFormat("a thread on the other core woken by eventfd and epoll: p50 %.1f us one way",
                      static_cast<double>(seen.latency().Percentile(50).count()) / 1e3);
  return report;
}

}  // namespace cairn::bench
