#include "tools/cairn/time_text.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr Timestamp kNow(1'795'512'600'250);  // 2026-11-24T09:30:00.250Z

std::string Read(std::string_view text) {
  const auto time = ParseTime(text, kNow);
  return time.ok() ? FormatTime(*time) : "refused";
}

TEST_CASE("Time: RFC 3339 with and without seconds, fraction and zone", "[tools][time]") {
  CHECK(Read("2026-11-24T09:30:00.250Z") == "2026-11-24T09:30:00.250Z");
  CHECK(Read("2026-11-24t09:30:00z") == "2026-11-24T09:30:00.000Z");
  CHECK(Read("2026-11-24 09:30") == "2026-11-24T09:30:00.000Z");
  CHECK(Read("2026-11-24T09:30:00+01:00") == "2026-11-24T08:30:00.000Z");
  CHECK(Read("2026-11-24T20:30:00-05:30") == "2026-11-25T02:00:00.000Z");
  CHECK(Read("2026-11-24T09:30:00.2") == "2026-11-24T09:30:00.200Z");
  CHECK(Read("2026-11-24T09:30:00.123999") == "2026-11-24T09:30:00.123Z");
  CHECK(Read("2024-02-29") == "2024-02-29T00:00:00.000Z");
}

TEST_CASE("Time: milliseconds since 1970 and spans back from now", "[tools][time]") {
  CHECK(Read("@0") == "1970-01-01T00:00:00.000Z");
  CHECK(Read("@1795512600250") == "2026-11-24T09:30:00.250Z");
  CHECK(Read("-48h") == "2026-11-22T09:30:00.250Z");
  CHECK(Read("-1h30m") == "2026-11-24T08:00:00.250Z");
  CHECK(Read("-1w1d") == "2026-11-16T09:30:00.250Z");
  CHECK(Read("-5m250ms") == "2026-11-24T09:25:00.000Z");
  CHECK(Read("-10s") == "2026-11-24T09:29:50.250Z");
  CHECK(Read("-P1DT1H") == "2026-11-23T08:30:00.250Z");
}

TEST_CASE("Duration: ISO 8601 and spans", "[tools][time]") {
  constexpr std::int64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute,
                         kDay = 24 * kHour;
  for (const auto& [text, ms] : std::vector<std::pair<const char*, std::int64_t>>{
           {"P1D", kDay},
           {"P0D", 0},
           {"PT0S", 0},
           {"PT1H", kHour},
           {"PT90M", 90 * kMinute},
           {"PT0.5S", 500},
           {"PT1,25S", 1250},
           {"PT1.0019S", 1001},
           {"P2DT3H4M5.678S", 2 * kDay + 3 * kHour + 4 * kMinute + 5678},
           {"P1DT1S", kDay + kSecond},
           {"P2W", 14 * kDay},
           {"P1W1DT1H", 8 * kDay + kHour},
           {"p1dt2h", kDay + 2 * kHour},
           {"48h", 2 * kDay},
           {"1h30m", 90 * kMinute},
           {"250ms", 250}}) {
    INFO(text);
    const auto span = ParseDuration(text);
    REQUIRE(span.ok());
    CHECK(span->count() == ms);
  }
}

TEST_CASE("Duration: what is none is wrong usage", "[tools][time]") {
  for (const char* text : {"",        "P",
                           "PT",      "P1",
                           "P1DT",    "1D",
                           "P1H",     "PT1D",
                           "P1Y",     "P1M",
                           "P1DT1",   "PT1H1D",
                           "PT1S1M",  "P1D1D",
                           "PT1.5H",  "P1.5D",
                           "PT1.S",   "PT.5S",
                           "-P1D",    "P-1D",
                           "P1D ",    "P 1D",
                           "-48h",    "P99999999999999D",
                           "P1DT1Hx", "PT9223372036854775807S",
                           "+P1D",    "48"}) {
    INFO(text);
    const auto span = ParseDuration(text);
    REQUIRE_FALSE(span.ok());
    CHECK(IsUsageError(span.status()));
  }
}

TEST_CASE("Timeout: a duration or plain milliseconds", "[tools][time]") {
  CHECK(ParseTimeout("1500")->count() == 1500);
  CHECK(ParseTimeout("1500ms")->count() == 1500);
  CHECK(ParseTimeout("PT2S")->count() == 2000);
  for (const char* text : {"", "-5", "5x", "99999999999999999999", "9223372036854775807"}) {
    CHECK(IsUsageError(ParseTimeout(text).status()));
  }
}

TEST_CASE("Time: what is not a time is wrong usage", "[tools][time]") {
  for (const char* text : {"",
                           "@",
                           "@x",
                           "@-5",
                           "@99999999999999999999",
                           "-",
                           "-5",
                           "-h",
                           "-5y",
                           "-1h-5m",
                           "- 5h",
                           "-99999999999999w",
                           "-9000000000000000000ms",
                           "-100000w",
                           "2026",
                           "2026-11",
                           "2026-13-01",
                           "2026-02-29",
                           "2026-11-24T",
                           "2026-11-24T9:30",
                           "2026-11-24T24:00",
                           "2026-11-24T09:60",
                           "2026-11-24T09:30:61",
                           "2026-11-24T09:30:00.",
                           "2026-11-24T09:30:00+1",
                           "2026-11-24T09:30:00+24:00",
                           "2026-11-24T09:30:00Zx",
                           "2026-11-24x",
                           "1969-12-31",
                           "-P",
                           "P1D",
                           "--P1D",
                           "now",
                           "tomorrow"}) {
    INFO(text);
    const auto time = ParseTime(text, kNow);
    REQUIRE_FALSE(time.ok());
    CHECK(IsUsageError(time.status()));
  }
}

}  // namespace
}  // namespace cairn::tools
