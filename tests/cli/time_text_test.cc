#include "tools/cairn/time_text.h"

#include <string>

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
