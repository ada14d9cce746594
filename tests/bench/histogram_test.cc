#include "bench/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <sstream>
#include <vector>

#include <catch2/catch.hpp>

namespace cairn::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;

// From 1 ns to a minute, every order of magnitude alike.
std::vector<std::int64_t> RandomDurations(std::uint32_t seed, std::size_t count) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> exponent(0, std::log(6e10));
  std::vector<std::int64_t> durations(count);
  for (std::int64_t& duration : durations) duration = std::llround(std::exp(exponent(random)));
  return durations;
}

Histogram HistogramOf(const std::vector<std::int64_t>& durations) {
  Histogram histogram;
  for (const std::int64_t duration : durations) histogram.Record(nanoseconds(duration));
  return histogram;
}

// What `percent` of the sorted values do not exceed.
double Exactly(const std::vector<std::int64_t>& sorted, double percent) {
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()) - 1e-6);
  return static_cast<double>(sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1]);
}

std::string Series(const Histogram& histogram) {
  std::ostringstream out;
  histogram.WriteSeries(out);
  return out.str();
}

TEST_CASE("bench histogram: percentiles are those of the sorted values, within 1 %",
          "[bench][histogram]") {
  for (const std::uint32_t seed : {1u, 2u, 3u}) {
    std::vector<std::int64_t> durations = RandomDurations(seed, 20'000);
    const Histogram histogram = HistogramOf(durations);
    std::sort(durations.begin(), durations.end());
    CAPTURE(seed);
    for (const double percent : {0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
      CAPTURE(percent);
      const double exact = Exactly(durations, percent);
      const auto found = static_cast<double>(histogram.Percentile(percent).count());
      CHECK(found >= exact);
      CHECK(found <= exact * 1.01);
    }
    CHECK(histogram.count() == 20'000);
    CHECK(histogram.max().count() == durations.back());
  }
}

TEST_CASE("bench histogram: every duration alone is within 1 % of itself", "[bench][histogram]") {
  // The second value hides the first from max(), which is exact.
  for (const std::int64_t duration : RandomDurations(4, 2'000)) {
    Histogram histogram;
    histogram.Record(nanoseconds(duration));
    histogram.Record(minutes(2));
    const std::int64_t found = histogram.Percentile(50).count();
    CHECK(found >= duration);
    CHECK(static_cast<double>(found) <= static_cast<double>(duration) * 1.01);
  }
}

TEST_CASE("bench histogram: small durations are exact, and what is out of range is kept",
          "[bench][histogram]") {
  Histogram histogram;
  for (std::int64_t duration = 0; duration <= 100; ++duration) {
    histogram.Record(nanoseconds(duration));
  }
  CHECK(histogram.Percentile(50) == nanoseconds(50));
  histogram.Record(nanoseconds(-5));
  CHECK(histogram.Percentile(0) == nanoseconds(0));
  histogram.Record(std::chrono::hours(24));
  CHECK(histogram.count() == 103);
  CHECK(histogram.max() == std::chrono::hours(24));
}

TEST_CASE("bench histogram: an empty one has zeros", "[bench][histogram]") {
  const Histogram histogram;
  CHECK(histogram.count() == 0);
  CHECK(histogram.Percentile(99) == nanoseconds(0));
  CHECK(histogram.mean() == nanoseconds(0));
  CHECK(histogram.max() == nanoseconds(0));
}

TEST_CASE("bench histogram: two added up are as if one had seen all", "[bench][histogram]") {
  std::vector<std::int64_t> all = RandomDurations(5, 1'000);
  const std::vector<std::int64_t> more = RandomDurations(6, 3'000);
  Histogram sum = HistogramOf(all);
  sum.Add(HistogramOf(more));
  all.insert(all.end(), more.begin(), more.end());
  const Histogram whole = HistogramOf(all);
  CHECK(sum.count() == whole.count());
  CHECK(sum.max() == whole.max());
  CHECK(static_cast<double>(sum.mean().count()) ==
        Approx(static_cast<double>(whole.mean().count())));
  CHECK(Series(sum) == Series(whole));
}

TEST_CASE("bench histogram: recording several at once is recording each", "[bench][histogram]") {
  Histogram at_once;
  at_once.Record(milliseconds(3), 4);
  Histogram each;
  for (int i = 0; i < 4; ++i) each.Record(milliseconds(3));
  CHECK(Series(at_once) == Series(each));
  CHECK(at_once.mean() == milliseconds(3));
}

TEST_CASE("bench histogram: the series of a small set, line by line", "[bench][histogram]") {
  CHECK(Series(HistogramOf({30, 60, 90, 120})) ==
        R"(       Value     Percentile TotalCount 1/(1-Percentile)

    0.000030 0.000000000000          0           1.00
    0.000030 0.100000000000          1           1.11
    0.000030 0.200000000000          1           1.25
    0.000060 0.300000000000          2           1.43
    0.000060 0.400000000000          2           1.67
    0.000060 0.500000000000          2           2.00
    0.000090 0.550000000000          3           2.22
    0.000090 0.600000000000          3           2.50
    0.000090 0.650000000000          3           2.86
    0.000090 0.700000000000          3           3.33
    0.000090 0.750000000000          3           4.00
    0.000120 0.775000000000          4           4.44
    0.000120 0.800000000000          4           5.00
    0.000120 0.825000000000          4           5.71
    0.000120 0.850000000000          4           6.67
    0.000120 1.000000000000          4
#[Mean    =     0.000075, Total count    =            4]
#[Max     =     0.000120]
)");
  CHECK(Series(Histogram()) ==
        R"(       Value     Percentile TotalCount 1/(1-Percentile)

#[Mean    =     0.000000, Total count    =            0]
#[Max     =     0.000000]
)");
}

}  // namespace
}  // namespace cairn::bench
