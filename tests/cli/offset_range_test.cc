#include "tools/cairn/offset_range.h"

#include <catch2/catch.hpp>

#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr Timestamp kNow(1'795'512'600'250);

OffsetRange Read(std::string_view text) {
  const auto range = ParseOffsetRange(text, kNow);
  REQUIRE(range.ok());
  return *range;
}

TEST_CASE("OffsetRange: words and numbers", "[tools][offset_range]") {
  CHECK(Read("start").start == OffsetRange::Start::kEarliest);
  CHECK(Read("end").start == OffsetRange::Start::kLatest);
  CHECK_FALSE(Read("start").stop_at_present_end);
  CHECK(Read(":end").start == OffsetRange::Start::kEarliest);
  CHECK(Read(":end").stop_at_present_end);
  CHECK(Read("0").offset == Offset(0));
  CHECK(Read("9223372036854775807").offset == Offset(9'223'372'036'854'775'807));
  CHECK(Read("-10").start == OffsetRange::Start::kLast);
  CHECK(Read("-10").count == 10);
}

TEST_CASE("OffsetRange: a time, and from one time to another, colons and all",
          "[tools][offset_range]") {
  CHECK(Read("@1000").time == Timestamp(1000));
  CHECK(Read("@@1000").time == Timestamp(1000));
  CHECK(Read("@-1h").time == kNow - 3'600'000);
  CHECK_FALSE(Read("@-1h").stop_time.has_value());
  const OffsetRange range = Read("@1970-01-01T00:00:01Z:@1970-01-01T00:00:02+00:00");
  CHECK(range.time == Timestamp(1000));
  CHECK(range.stop_time == Timestamp(2000));
  CHECK(Read("@@1000:@@2000").stop_time == Timestamp(2000));
  CHECK(Read("@-48h:@-24h").stop_time == kNow - 86'400'000);
  CHECK(Read("@5:@5").stop_time == Timestamp(5));
}

TEST_CASE("OffsetRange: anything else is wrong usage", "[tools][offset_range]") {
  for (const char* text :
       {"", "beginning", "1.5", "10x", "-0", "-", "--1", "+5", "@", "@x", "@5:@", "@5:@4", "@5:6",
        "@5:@6:@7", "end:", "-9223372036854775808", "9223372036854775808"}) {
    INFO(text);
    const auto range = ParseOffsetRange(text, kNow);
    REQUIRE_FALSE(range.ok());
    CHECK(IsUsageError(range.status()));
  }
}

}  // namespace
}  // namespace cairn::tools
