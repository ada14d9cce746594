#include "broker/runtime/append_clock.h"

#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;

constexpr hours kTenYears{10 * 365 * 24};
// What approaching may add to or take from an hour.
constexpr std::int64_t kOnePercent = 36'000;

std::int64_t Ms(hours time) { return milliseconds(time).count(); }

// An hour passes, looked at every minute.
void PassHour(FakeClocks& clocks, AppendClock& clock) {
  for (int i = 0; i < 60; ++i) {
    clocks.Pass(minutes(1));
    (void)clock.Now();
  }
}

TEST_CASE("AppendClock: goes with the wall clock", "[broker][time]") {
  FakeClocks clocks;
  AppendClock clock(clocks.Sources());
  CHECK(clock.Now() == kNow);
  clocks.Pass(milliseconds(7));
  CHECK(clock.Now() == kNow + 7);
  clocks.Pass(kTenYears);
  CHECK(clock.Now() == kNow + 7 + Ms(kTenYears));
  CHECK(clock.ForAges().run_began == kNow);
  CHECK(clock.ForAges().trusted);
  CHECK_FALSE(clock.Problem().has_value());
}

TEST_CASE("AppendClock: a jump of an hour is approached by 1 %, either way", "[broker][time]") {
  FakeClocks clocks;
  AppendClock clock(clocks.Sources());
  const bool ahead = GENERATE(true, false);
  ahead ? clocks.SetAhead(hours(1)) : clocks.SetBack(hours(1));
  PassHour(clocks, clock);
  const std::int64_t off = clock.Now() - kNow - Ms(hours(1));
  CHECK(off == (ahead ? kOnePercent : -kOnePercent));
  CHECK_FALSE(clock.Problem().has_value());
  for (int i = 0; i < 100; ++i) PassHour(clocks, clock);
  CHECK(clock.Now() - kNow - Ms(hours(101)) == (ahead ? Ms(hours(1)) : -Ms(hours(1))));
}

TEST_CASE("AppendClock: a leap of ten years is believed after an hour, and said meanwhile",
          "[broker][time]") {
  FakeClocks clocks;
  AppendClock clock(clocks.Sources());
  clocks.SetAhead(kTenYears);
  clocks.Pass(minutes(1));
  CHECK(clock.Now() == kNow + 60'000);
  REQUIRE(clock.Problem().has_value());
  CHECK_THAT(*clock.Problem(), Catch::Contains("jumped ahead by 3650 days"));
  CHECK(clock.Latest() == kNow + 60'000 + Ms(kTenYears));
  clocks.Pass(minutes(59));
  CHECK(clock.Now() == kNow + Ms(hours(1)));
  clocks.Pass(minutes(1));
  CHECK(clock.Now() == kNow + Ms(hours(1)) + 60'000 + Ms(kTenYears));
  CHECK_FALSE(clock.Problem().has_value());
}

TEST_CASE("AppendClock: a leap that is taken back leaves no trace", "[broker][time]") {
  FakeClocks clocks;
  AppendClock clock(clocks.Sources());
  clocks.SetAhead(kTenYears);
  clocks.Pass(minutes(50));
  CHECK(clock.Now() == kNow + 50 * 60'000);
  clocks.SetBack(kTenYears);
  clocks.Pass(minutes(20));
  CHECK(clock.Now() == kNow + 70 * 60'000);
  CHECK_FALSE(clock.Problem().has_value());
}

TEST_CASE("AppendClock: set back by ten years, it goes on at its own pace", "[broker][time]") {
  FakeClocks clocks;
  AppendClock clock(clocks.Sources());
  clocks.SetBack(kTenYears);
  for (int i = 0; i < 48; ++i) PassHour(clocks, clock);
  CHECK(clock.Now() == kNow + Ms(hours(48)));
  CHECK(clock.ForAges().trusted);
  REQUIRE(clock.Problem().has_value());
  CHECK_THAT(*clock.Problem(), Catch::Contains("set back"));
}

TEST_CASE("AppendClock: a clock that leaps to and fro moves nothing", "[broker][time]") {
  FakeClocks clocks;
  AppendClock clock(clocks.Sources());
  Timestamp last = clock.Now();
  for (int i = 0; i < 400; ++i) {
    i % 2 == 0 ? clocks.SetAhead(kTenYears) : clocks.SetBack(kTenYears);
    clocks.Pass(minutes(1));
    const Timestamp now = clock.Now();
    REQUIRE(now > last);
    last = now;
  }
  CHECK(last == kNow + 400 * 60'000);
}

TEST_CASE("AppendClock: never runs backward while the wall clock is set back again and again",
          "[broker][time]") {
  FakeClocks clocks;
  AppendClock clock(clocks.Sources());
  Timestamp last = clock.Now();
  for (int i = 0; i < 2000; ++i) {
    clocks.SetBack(minutes(1));
    clocks.Pass(milliseconds(i % 3 == 0 ? 1 : 1500));
    const Timestamp now = clock.Now();
    REQUIRE(now >= last);
    last = now;
  }
}

TEST_CASE("AppendClock: after a long rest, or a leap while it was down, age counts after an hour",
          "[broker][time]") {
  FakeClocks clocks;
  AppendClock clock(clocks.Sources(), kNow - Ms(kTenYears));
  CHECK(clock.Now() == kNow);
  CHECK_FALSE(clock.ForAges().trusted);
  REQUIRE(clock.Problem().has_value());
  CHECK_THAT(*clock.Problem(), Catch::Contains("waits for another 60 min"));
  PassHour(clocks, clock);
  CHECK(clock.ForAges().trusted);
  CHECK_FALSE(clock.Problem().has_value());

  AppendClock soon(clocks.Sources(), kNow);
  CHECK(soon.ForAges().trusted);
  AppendClock set_back(clocks.Sources(), kNow + Ms(kTenYears));
  CHECK(set_back.ForAges().trusted);
}

}  // namespace
}  // namespace cairn::broker
