#include "broker/runtime/append_clock.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/runtime/clock.h"

namespace cairn::broker {
namespace {

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kHour = 3600 * kSecond;
constexpr std::int64_t kApproach = 100;  // one part in so many

std::chrono::milliseconds MachineMonotonic() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

// "3 h" or "12 days"
std::string Span(std::int64_t ms) {
  const std::int64_t hours = ms / kHour;
  return hours < 72 ? absl::StrFormat("%d h", hours) : absl::StrFormat("%d days", hours / 24);
}

}  // namespace

AppendClock::Sources AppendClock::OfThisMachine() {
  return {.wall = &WallNow, .monotonic = &MachineMonotonic};
}

AppendClock::AppendClock(Sources sources, std::optional<Timestamp> last_written)
    : sources_(std::move(sources)),
      began_(Monotonic()),
      last_written_(last_written),
      began_at_(sources_.wall()),
      rested_(last_written.has_value() && began_at_ - *last_written > kHour),
      offset_(began_at_.value() - began_),
      compared_(began_),
      last_(began_at_.value()) {}

Timestamp AppendClock::Now() {
  const Milliseconds monotonic = Monotonic();
  // One look a second: it costs nothing, and approaching by 1 % moves by 10 ms.
  if (monotonic - compared_.load(std::memory_order_relaxed) >= kSecond) Compare(monotonic);
  const Milliseconds now = monotonic + offset_.load(std::memory_order_relaxed);
  Milliseconds last = last_.load(std::memory_order_relaxed);
  while (now > last) {
    if (last_.compare_exchange_weak(last, now, std::memory_order_relaxed)) return Timestamp(now);
  }
  return Timestamp(last);
}

void AppendClock::Compare(Milliseconds monotonic) {
  const std::lock_guard lock(mutex_);
  const Milliseconds wall = sources_.wall().value();
  ahead_ = wall - monotonic - offset_.load(std::memory_order_relaxed);
  if (ahead_ <= kHour) {
    jumped_ = false;
    if (ahead_ >= -kHour) Approach(ahead_, monotonic);
  } else if (!jumped_ || std::abs(wall - monotonic - jumped_offset_) > kHour) {
    jumped_ = true;
    jumped_since_ = monotonic;
    jumped_offset_ = wall - monotonic;
  } else if (monotonic - jumped_since_ >= kHour) {
    jumped_ = false;
    offset_.fetch_add(std::exchange(ahead_, 0), std::memory_order_relaxed);
  }
  compared_.store(monotonic, std::memory_order_relaxed);
}

void AppendClock::Approach(Milliseconds ahead, Milliseconds monotonic) {
  const Milliseconds passed = monotonic - compared_.load(std::memory_order_relaxed);
  const Milliseconds most = std::max<Milliseconds>(passed / kApproach, 0);
  offset_.fetch_add(std::clamp(ahead, -most, most), std::memory_order_relaxed);
}

AppendClock::Ages AppendClock::ForAges() {
  const Timestamp now = Now();
  const Milliseconds run = Monotonic() - began_;
  return {.now = now, .run_began = now - run, .trusted = !rested_ || run >= kHour};
}

std::optional<std::string> AppendClock::Problem() {
  const Milliseconds run = Monotonic() - began_;
  (void)Now();  // compares the clocks
  const std::lock_guard lock(mutex_);
  if (jumped_) {
    return absl::StrFormat(
        "the system clock jumped ahead by %s; retention goes on by the broker's own clock, and "
        "believes the system's if that still says so an hour after the jump",
        Span(ahead_));
  }
  if (ahead_ < -kHour) {
    return absl::StrFormat(
        "the system clock was set back and is %s behind the broker's own; retention goes by the "
        "latter until the broker is restarted",
        Span(-ahead_));
  }
  if (rested_ && run < kHour) {
    return absl::StrFormat(
        "by the system clock this data directory was not written for %s before this start; in case "
        "the clock is wrong, retention by time waits for another %d min",
        Span(began_at_ - *last_written_), (kHour - run + 59 * kSecond) / (60 * kSecond));
  }
  return std::nullopt;
}

}  // namespace cairn::broker
