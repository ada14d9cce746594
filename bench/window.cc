#include "bench/window.h"

#include <algorithm>
#include <thread>

#include "bench/machine.h"
#include "bench/progress.h"

namespace cairn::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kLookEvery{100};

double Seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

std::chrono::nanoseconds Length(double seconds) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

}  // namespace

std::chrono::nanoseconds WindowOptions::length() const { return Length(seconds); }
std::chrono::nanoseconds WindowOptions::warm_up_length() const { return Length(warm_up); }

void WindowOptions::AddTo(CLI::App& command) {
  command.add_option("--seconds", seconds, "How long is measured")
      ->check(CLI::Range(0.01, 86'400.0))
      ->capture_default_str();
  command.add_option("--warm-up", warm_up, "Seconds before that, which do not count")
      ->check(CLI::Range(0.0, 3'600.0))
      ->capture_default_str();
}

Window::Reading Window::Read(const Counts& counts) const {
  return {.at = Clock::now(),
          .counts = counts,
          .load_cpu = ProcessCpu(),
          .broker_cpu = target_.BrokerCpu()};
}

void Window::Open(const Counts& counts) {
  first_ = Read(counts);
  open_ = true;
}

void Window::Close(const Counts& counts) {
  open_ = false;
  last_ = Read(counts);
}

void Window::Run(const std::function<Counts()>& counts, const std::function<bool()>& over) {
  const auto began = Clock::now();
  const auto all = options_.warm_up_length() + options_.length();
  Progress progress(what_);
  const auto sleep_until = [&](Clock::time_point end) {
    while (Clock::now() < end && !over()) {
      std::this_thread::sleep_until(std::min(end, Clock::now() + kLookEvery));
      progress.Show(Clock::now() - began, all, counts().records);
    }
  };
  sleep_until(began + options_.warm_up_length());
  Open(counts());
  sleep_until(first_.at + options_.length());
  Close(counts());
}

Window::Counts Window::counted() const {
  return {last_.counts.records - first_.counts.records, last_.counts.bytes - first_.counts.bytes};
}

double Window::seconds() const { return Seconds(last_.at - first_.at); }

void Window::AddTo(Report& report) const {
  const Counts counts = counted();
  auto& figures = report.figures;
  figures["seconds"] = seconds();
  figures["records"] = counts.records;
  figures["records_per_second"] = static_cast<double>(counts.records) / seconds();
  figures["bytes_per_second"] = static_cast<double>(counts.bytes) / seconds();
  figures["load_cpu_seconds"] = Seconds(last_.load_cpu - first_.load_cpu);
  if (!first_.broker_cpu.has_value() || !last_.broker_cpu.has_value()) return;
  const double cpu = Seconds(*last_.broker_cpu - *first_.broker_cpu);
  figures["broker_cpu_seconds"] = cpu;
  if (counts.bytes > 0) {
    figures["broker_cpu_ns_per_byte"] = cpu * 1e9 / static_cast<double>(counts.bytes);
  }
}

}  // namespace cairn::bench
