#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>

#include "bench/histogram.h"
#include "bench/limits/limit.h"
#include "bench/report.h"

namespace cairn::bench {

// Counts what was answered from the end of the warm-up on, for as long as the options say, and the
// processor time that both halves used meanwhile.
//
// Threads: that of the asking half; any when the halves have ended.
class Measurement {
 public:
  using Clock = std::chrono::steady_clock;

  // The warm-up begins now. The clocks are those of the threads of both halves; a half that a
  // program does not have has none.
  Measurement(const LimitOptions& options, std::optional<clockid_t> broker_cpu,
              std::optional<clockid_t> load_cpu);

  // Whether enough was seen. Before, go on asking.
  bool is_over() const { return is_over_; }
  // An answer that carried `bytes` came at `now`. The first one after the warm-up begins what is
  // measured, and counts for nothing itself.
  void Count(Clock::time_point now, std::size_t bytes, std::int64_t answers = 1);
  // The same, and how long it took.
  void CountTimed(Clock::duration took, Clock::time_point now, std::size_t bytes);

  double seconds() const { return std::chrono::duration<double>(last_ - first_).count(); }
  std::int64_t answers() const { return answers_; }
  double answers_per_second() const { return PerSecond(static_cast<double>(answers_)); }
  double bytes_per_second() const { return PerSecond(static_cast<double>(bytes_)); }
  const Histogram& latency() const { return latency_; }

  // seconds, requests, requests_per_second; bytes_per_second, the latency and the processor times
  // where there are any. The processor time that a GiB costs the broker is what the serving thread
  // used, without what the kernel does in threads of its own (writing back).
  Report ToReport(std::string workload, nlohmann::ordered_json settings) const;

 private:
  double PerSecond(double amount) const { return last_ > first_ ? amount / seconds() : 0; }
  void Begin(Clock::time_point now);

  const Clock::time_point warm_at_;
  const Clock::duration duration_;
  // Processor time of a thread: until the end of the warm-up, then what was used since.
  struct Cpu {
    std::optional<clockid_t> clock;
    double begin = 0;
    double used = 0;
  };
  Cpu broker_cpu_;
  Cpu load_cpu_;
  bool has_begun_ = false;
  bool is_over_ = false;
  Clock::time_point first_;
  Clock::time_point last_;
  std::int64_t answers_ = 0;
  std::int64_t bytes_ = 0;
  Histogram latency_;
};

}  // namespace cairn::bench
