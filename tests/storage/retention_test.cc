#include "storage/retention.h"

#include <random>

#include <catch2/catch.hpp>

#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

constexpr std::int64_t kHour = 3600 * 1000;
constexpr std::int64_t kYear = 365 * 24 * kHour;

// Segments of 100 bytes and 10 records, last appended to so many hours before kNow.
std::vector<RetainedSegment> Aged(const std::vector<std::int64_t>& hours) {
  std::vector<RetainedSegment> segments;
  for (const std::int64_t age : hours) {
    segments.push_back({.next_offset = Offset(10 * (std::ssize(segments) + 1)),
                        .length = 100,
                        .last_append_time = kNow - age * kHour});
  }
  return segments;
}

// How many of them are dropped, when the broker has run for an hour.
std::int64_t Dropped(const std::vector<RetainedSegment>& segments, const RetentionPolicy& policy,
                     std::int64_t running_hours = 1, Timestamp now = kNow) {
  return PlanRetention(segments, policy, {now, now - running_hours * kHour}, Offset(0),
                       Offset(1000))
             .value() /
         10;
}

TEST_CASE("Retention: by time a segment goes once its last append is older", "[storage]") {
  const auto segments = Aged({30, 25, 24, 3});
  CHECK(Dropped(segments, {}) == 0);
  CHECK(Dropped(segments, {.ms = 31 * kHour}) == 0);
  CHECK(Dropped(segments, {.ms = 24 * kHour}) == 2);
  CHECK(Dropped(segments, {.ms = 24 * kHour - 1}) == 3);
  CHECK(Dropped(segments, {.ms = 0}) == 4);
}

TEST_CASE("Retention: by size the oldest go while the others still hold that much", "[storage]") {
  const auto segments = Aged({4, 3, 2, 1});
  CHECK(Dropped(segments, {.bytes = 400}) == 0);
  CHECK(Dropped(segments, {.bytes = 301}) == 0);
  CHECK(Dropped(segments, {.bytes = 300}) == 1);
  CHECK(Dropped(segments, {.bytes = 1}) == 3);
  CHECK(Dropped(segments, {.bytes = 0}) == 4);
}

TEST_CASE("Retention: nothing that is not durable goes, nor an empty segment", "[storage]") {
  auto segments = Aged({4, 3, 2});
  const RetentionTime time{kNow, kNow};
  CHECK(PlanRetention(segments, {.ms = 0}, time, Offset(0), Offset(29)) == Offset(20));
  CHECK(PlanRetention(segments, {.ms = 0}, time, Offset(0), Offset(30)) == Offset(30));
  CHECK(PlanRetention(segments, {.ms = 0}, time, Offset(25), Offset(20)) == Offset(25));
  segments.push_back({.next_offset = Offset(30), .length = 0, .last_append_time = kNow - kHour});
  CHECK(PlanRetention(segments, {.ms = 0}, time, Offset(0), Offset(100)) == Offset(30));
  CHECK(PlanRetention({}, {.ms = 0, .bytes = 0}, time, Offset(7), Offset(7)) == Offset(7));
}

TEST_CASE("Retention: a time still to come neither hastens nor stops it", "[storage]") {
  constexpr std::int64_t kAhead = -10 * 365 * 24;  // hours
  const RetentionPolicy day{.ms = 24 * kHour};
  // Nothing was written since the clock was set right: it ages from the start of the broker.
  CHECK(Dropped(Aged({48, kAhead}), day, 1) == 1);
  CHECK(Dropped(Aged({48, kAhead}), day, 24) == 1);
  CHECK(Dropped(Aged({48, kAhead}), day, 25) == 2);
  // It is older than what was written after it.
  CHECK(Dropped(Aged({kAhead, 25, 3}), day, 1) == 2);
  CHECK(Dropped(Aged({kAhead, 23, 3}), day, 1) == 0);
}

TEST_CASE("Retention: a segment dated before older ones is no older than they", "[storage]") {
  constexpr std::int64_t kBehind = 50 * 365 * 24;
  const RetentionPolicy day{.ms = 24 * kHour};
  CHECK(Dropped(Aged({3, kBehind, 2}), day) == 0);
  CHECK(Dropped(Aged({25, kBehind, 2}), day) == 2);
}

TEST_CASE("Retention: whatever the segments, it drops a prefix that is old or too much",
          "[storage]") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&](std::int64_t end) {
    return std::uniform_int_distribution<std::int64_t>(0, end - 1)(random);
  };
  for (int round = 0; round < 20'000; ++round) {
    std::vector<RetainedSegment> segments;
    std::int64_t total = 0;
    Timestamp time = kNow - below(100) * kHour;
    for (std::int64_t i = below(8); i > 0; --i) {
      time = time + below(20) * kHour;
      if (time > kNow) time = kNow;
      segments.push_back({.next_offset = Offset(10 * (std::ssize(segments) + 1)),
                          .length = 1 + below(100),
                          .last_append_time = time});
      total += segments.back().length;
    }
    const RetentionPolicy policy{.ms = below(3) == 0 ? -1 : below(100) * kHour,
                                 .bytes = below(3) == 0 ? -1 : below(400)};
    const std::int64_t dropped = Dropped(segments, policy);
    REQUIRE(dropped <= std::ssize(segments));
    std::int64_t kept = total;
    for (std::int64_t i = 0; i < std::ssize(segments); ++i) {
      const RetainedSegment& segment = segments[static_cast<std::size_t>(i)];
      const bool is_old = policy.ms >= 0 && kNow - segment.last_append_time > policy.ms;
      const bool is_over = policy.bytes >= 0 && kept - segment.length >= policy.bytes;
      kept -= segment.length;
      if (i < dropped) REQUIRE((is_old || is_over));
      if (i == dropped) REQUIRE_FALSE((is_old || is_over));
    }
  }
}

TEST_CASE("Log: retention drops the only segment too, and appending goes on behind it",
          "[storage]") {
  LogFixture f;
  f.Append(3);
  f.Sync();
  const RetentionTime later{kNow + 2 * kHour, kNow};
  CHECK(f.log().RetentionStart({.ms = 2 * kHour}, later, Offset(3)) == Offset(0));
  CHECK(f.log().RetentionStart({.ms = kHour}, later, Offset(2)) == Offset(0));
  const Offset start = f.log().RetentionStart({.ms = kHour}, later, Offset(3));
  CHECK(start == Offset(3));
  CHECK(f.Trim(start).value() == 1);
  CHECK(f.log().segment_count() == 0);
  CHECK(f.Append(1) == Offset(3));
}

TEST_CASE("Log: a segment dated in the future is dated anew when it is continued", "[storage]") {
  LogFixture f;
  f.Append(3, 20, kNow, kNow + 10 * kYear);
  f.Sync();
  f.Crash();
  f.Append(3);
  REQUIRE(f.log().segment_count() == 1);
  CHECK(f.log().Segments().back()->extent().first_append_time == kNow);
  CHECK(f.log().Segments().back()->extent().last_append_time == kNow);
}

}  // namespace
}  // namespace cairn::storage
