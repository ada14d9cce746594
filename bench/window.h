#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include <CLI/CLI.hpp>

#include "bench/report.h"
#include "bench/target.h"

namespace cairn::bench {

// How long a workload runs, and the part of it that counts.
struct WindowOptions {
  double seconds = 3;
  double warm_up = 0.5;

  std::chrono::nanoseconds length() const;
  std::chrono::nanoseconds warm_up_length() const;

  void AddTo(CLI::App& command);
};

// The part of a run that counts: opened after the warm-up, with everything that is counted read at
// both of its ends.
//
// Threads: Run on one; open() from any.
class Window {
 public:
  // Totals since the run began. Cheap, from the thread of Run.
  struct Counts {
    std::int64_t records = 0;
    std::int64_t bytes = 0;  // of keys and values
  };

  Window(const WindowOptions& options, const Target& target, const char* what)
      : options_(options), target_(target), what_(what) {}

  // Sleeps until the window has opened and closed, or `over` says that there is nothing to wait for
  // any more.
  void Run(const std::function<Counts()>& counts, const std::function<bool()>& over);
  // Instead: the window is from here until Close.
  void Open(const Counts& counts);
  void Close(const Counts& counts);

  bool open() const { return open_.load(std::memory_order_relaxed); }
  Counts counted() const;
  double seconds() const;

  void AddTo(Report& report) const;

 private:
  struct Reading {
    std::chrono::steady_clock::time_point at;
    Counts counts;
    std::chrono::nanoseconds load_cpu{0};
    std::optional<std::chrono::nanoseconds> broker_cpu;
  };
  Reading Read(const Counts& counts) const;

  const WindowOptions options_;
  const Target& target_;
  const char* const what_;
  std::atomic<bool> open_ = false;
  Reading first_, last_;
};

// What one load has counted so far.
//
// Threads: Add on one; counts() from any.
class Tally {
 public:
  void Add(const Window::Counts& more) {
    records_.store(records_.load(std::memory_order_relaxed) + more.records,
                   std::memory_order_relaxed);
    bytes_.store(bytes_.load(std::memory_order_relaxed) + more.bytes, std::memory_order_relaxed);
  }
  Window::Counts counts() const {
    return {records_.load(std::memory_order_relaxed), bytes_.load(std::memory_order_relaxed)};
  }

 private:
  std::atomic<std::int64_t> records_ = 0, bytes_ = 0;
};

// Of loads, by pointers: what their counts() are together.
template <typename Loads>
Window::Counts SumOfCounts(const Loads& loads) {
  Window::Counts sum;
  for (const auto& load : loads) {
    const Window::Counts counts = load->counts();
    sum.records += counts.records;
    sum.bytes += counts.bytes;
  }
  return sum;
}

}  // namespace cairn::bench
