#include "bench/limits/measurement.h"

#include <utility>

namespace cairn::bench {
namespace {

double Read(std::optional<clockid_t> clock) {
  timespec now{};
  if (clock.has_value()) clock_gettime(*clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

}  // namespace

Measurement::Measurement(const LimitOptions& options, std::optional<clockid_t> broker_cpu,
                         std::optional<clockid_t> load_cpu)
    : warm_at_(Clock::now() + options.warm_up),
      duration_(options.duration),
      broker_cpu_{.clock = broker_cpu},
      load_cpu_{.clock = load_cpu} {}

void Measurement::Begin(Clock::time_point now) {
  has_begun_ = true;
  first_ = last_ = now;
  for (Cpu* cpu : {&broker_cpu_, &load_cpu_}) cpu->begin = Read(cpu->clock);
}

void Measurement::Count(Clock::time_point now, std::size_t bytes, std::int64_t answers) {
  if (is_over_ || now < warm_at_) return;
  if (!has_begun_) return Begin(now);
  last_ = now;
  answers_ += answers;
  bytes_ += static_cast<std::int64_t>(bytes);
  if (now - first_ < duration_) return;
  is_over_ = true;
  for (Cpu* cpu : {&broker_cpu_, &load_cpu_}) cpu->used = Read(cpu->clock) - cpu->begin;
}

void Measurement::CountTimed(Clock::duration took, Clock::time_point now, std::size_t bytes) {
  if (has_begun_ && !is_over_) latency_.Record(took);
  Count(now, bytes);
}

Report Measurement::ToReport(std::string workload, nlohmann::ordered_json settings) const {
  constexpr double kGiB = 1 << 30;
  Report report;
  report.workload = std::move(workload);
  report.settings = std::move(settings);
  report.latency = latency_;
  nlohmann::ordered_json& figures = report.figures;
  figures["seconds"] = seconds();
  figures["requests"] = answers_;
  figures["requests_per_second"] = answers_per_second();
  if (bytes_ > 0) figures["bytes_per_second"] = bytes_per_second();
  report.AddLatency();
  if (broker_cpu_.clock.has_value()) figures["broker_cpu_seconds"] = broker_cpu_.used;
  if (broker_cpu_.clock.has_value() && bytes_ > 0) {
    figures["broker_cpu_seconds_per_gib"] = broker_cpu_.used * kGiB / static_cast<double>(bytes_);
  }
  if (load_cpu_.clock.has_value()) figures["load_cpu_seconds"] = load_cpu_.used;
  return report;
}

}  // namespace cairn::bench
