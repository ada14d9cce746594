#include "bench/limits/halves.h"

#include <mutex>
#include <pthread.h>
#include <thread>
#include <utility>

#include "bench/machine.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

// The error that came first.
class FirstError {
 public:
  void Note(absl::Status status) {
    const std::lock_guard lock(mutex_);
    first_.Update(std::move(status));
  }
  // When the threads have ended.
  absl::Status Take() { return std::move(first_); }

 private:
  std::mutex mutex_;
  absl::Status first_;
};

std::optional<clockid_t> CpuClockOf(pthread_t thread) {
  clockid_t clock;
  if (pthread_getcpuclockid(thread, &clock) != 0) return std::nullopt;
  return clock;
}

}  // namespace

absl::StatusOr<Measurement> RunHalves(const LimitOptions& options,
                                      absl::AnyInvocable<absl::Status()> serve,
                                      absl::AnyInvocable<absl::Status(Measurement&)> ask) {
  FirstError error;
  std::optional<Measurement> measurement;
  std::thread serving([&] {
    PinThisThread(BrokerCore());
    error.Note(serve());
    serve = nullptr;
  });
  const auto serving_cpu = CpuClockOf(serving.native_handle());
  std::thread asking([&] {
    PinThisThread(LoadCore());
    measurement.emplace(options, serving_cpu, CpuClockOf(pthread_self()));
    error.Note(ask(*measurement));
    ask = nullptr;
  });
  asking.join();
  serving.join();
  RETURN_IF_ERROR(error.Take());
  return *std::move(measurement);
}

absl::StatusOr<Measurement> RunAlone(const LimitOptions& options,
                                     absl::FunctionRef<absl::Status(Measurement&)> work) {
  absl::Status status;
  std::optional<Measurement> measurement;
  std::thread working([&] {
    PinThisThread(BrokerCore());
    measurement.emplace(options, CpuClockOf(pthread_self()), std::nullopt);
    status = work(*measurement);
  });
  working.join();
  RETURN_IF_ERROR(status);
  return *std::move(measurement);
}

}  // namespace cairn::bench
