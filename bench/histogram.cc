#include "bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <ostream>

#include "absl/strings/str_format.h"

namespace cairn::bench {
namespace {

constexpr std::uint64_t kSubBuckets = 1u << 7;
// Each step halves what is left above it in so many parts, as HdrHistogram prints it by default.
constexpr int kTicksPerHalf = 5;

}  // namespace

Histogram::Histogram() : counts_((kPowers + 1) * kSubBuckets) {}

// The first 128 buckets are 1 ns wide; of each further power of two, the upper 7 bits below the
// leading one choose the bucket.
std::size_t Histogram::BucketOf(std::uint64_t value) {
  if (value < kSubBuckets) return value;
  const int shift = static_cast<int>(std::bit_width(value)) - 1 - kSubBits;
  return (static_cast<std::size_t>(shift) + 1) * kSubBuckets + ((value >> shift) - kSubBuckets);
}

std::uint64_t Histogram::HighestOf(std::size_t bucket) {
  if (bucket < kSubBuckets) return bucket;
  const std::uint64_t shift = bucket / kSubBuckets - 1;
  return ((kSubBuckets + bucket % kSubBuckets + 1) << shift) - 1;
}

void Histogram::Record(std::chrono::nanoseconds duration, std::int64_t times) {
  const std::int64_t value = std::max<std::int64_t>(duration.count(), 0);
  const std::size_t bucket =
      std::min(BucketOf(static_cast<std::uint64_t>(value)), counts_.size() - 1);
  counts_[bucket] += times;
  count_ += times;
  sum_ += static_cast<double>(value) * static_cast<double>(times);
  max_ = std::max(max_, std::chrono::nanoseconds(value));
}

void Histogram::Add(const Histogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

std::chrono::nanoseconds Histogram::mean() const {
  return std::chrono::nanoseconds(count_ == 0 ? 0
                                              : std::llround(sum_ / static_cast<double>(count_)));
}

std::chrono::nanoseconds Histogram::Percentile(double percent) const {
  const double share = std::clamp(percent, 0.0, 100.0) / 100;
  const auto wanted = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(std::ceil(share * static_cast<double>(count_) - 1e-6)));
  std::int64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size() && count_ > 0; ++i) {
    seen += counts_[i];
    if (seen < wanted) continue;
    return std::min(max_, std::chrono::nanoseconds(static_cast<std::int64_t>(HighestOf(i))));
  }
  return max_;
}

void Histogram::WriteSeries(std::ostream& out) const {
  out << absl::StrFormat("%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
                         "1/(1-Percentile)");
  const auto line = [&](double share) {
    const double ms = static_cast<double>(Percentile(share * 100).count()) / 1e6;
    const auto below = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(count_)));
    out << absl::StrFormat("%12.6f %2.12f %10d", ms, share, below);
    if (share < 1) out << absl::StrFormat(" %14.2f", 1 / (1 - share));
    out << "\n";
  };
  double left = 1;
  for (; count_ > 0 && left * static_cast<double>(count_) >= 1; left /= 2) {
    for (int tick = 0; tick < kTicksPerHalf; ++tick) {
      line(1 - left * (1 - tick / (2.0 * kTicksPerHalf)));
    }
  }
  if (count_ > 0) line(1);
  out << absl::StrFormat("#[Mean    = %12.6f, Total count    = %12d]\n",
                         static_cast<double>(mean().count()) / 1e6, count_);
  out << absl::StrFormat("#[Max     = %12.6f]\n", static_cast<double>(max_.count()) / 1e6);
}

}  // namespace cairn::bench
