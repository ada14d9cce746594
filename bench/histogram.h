#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <vector>

namespace cairn::bench {

// How often which duration was seen, from 1 ns to about 9 minutes, each within 1 % of its value.
// Log-linear buckets: 128 equal ones for each power of two, the idea of HdrHistogram
// (http://hdrhistogram.org). Longer durations count as the longest.
//
// Threads: one at a time; give each thread one of its own and Add them up.
class Histogram {
 public:
  Histogram();

  void Record(std::chrono::nanoseconds duration, std::int64_t times = 1);
  void Add(const Histogram& other);

  std::int64_t count() const { return count_; }
  std::chrono::nanoseconds max() const { return max_; }
  std::chrono::nanoseconds mean() const;
  // The duration that `percent` (0 to 100) of all do not exceed; 0 where there are none.
  std::chrono::nanoseconds Percentile(double percent) const;

  // The series of percentiles in the text form that HdrHistogram's tools print and read: lines of
  // value in ms, percentile as a fraction, total count, 1/(1-percentile).
  void WriteSeries(std::ostream& out) const;

 private:
  static constexpr int kSubBits = 7;  // 128 buckets for each power of two
  static constexpr int kPowers = 33;

  static std::size_t BucketOf(std::uint64_t value);
  static std::uint64_t HighestOf(std::size_t bucket);

  std::vector<std::int64_t> counts_;
  std::int64_t count_ = 0;
  double sum_ = 0;
  std::chrono::nanoseconds max_{0};
};

}  // namespace cairn::bench
