#include "tools/cairn/reset_options.h"

#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

using Kind = ResetScenario::Kind;
using Change = std::function<void(ResetOptions&)>;

constexpr Timestamp kNow(1'795'512'600'250);  // 2026-11-24T09:30:00.250Z

// `reset-offsets g --topic t`, and what `change` adds.
ResetOptions Options(const Change& change) {
  ResetOptions options;
  options.groups.emplace_back("g");
  options.topics.emplace_back("t");
  change(options);
  return options;
}

ResetTask Task(const Change& change) {
  const auto task = ParseResetOptions(Options(change), kNow);
  INFO(task.status());
  REQUIRE(task.ok());
  return *task;
}

std::string Refused(const Change& change) {
  const auto task = ParseResetOptions(Options(change), kNow);
  REQUIRE_FALSE(task.ok());
  CHECK(IsUsageError(task.status()));
  return std::string(task.status().message());
}

TEST_CASE("Reset options: each scenario, and how the history calls it", "[tools][reset]") {
  for (const auto& [change, kind, what] : std::vector<std::tuple<Change, Kind, std::string>>{
           {[](auto& o) { o.to_earliest = true; }, Kind::kEarliest, "--to-earliest"},
           {[](auto& o) { o.to_latest = true; }, Kind::kLatest, "--to-latest"},
           {[](auto& o) { o.to_current = true; }, Kind::kCurrent, "--to-current"},
           {[](auto& o) { o.to_offset = std::string("17"); }, Kind::kOffset, "--to-offset 17"},
           {[](auto& o) { o.shift_by = std::string("+5"); }, Kind::kShift, "--shift-by +5"},
           {[](auto& o) { o.shift_by = std::string("5"); }, Kind::kShift, "--shift-by +5"},
           {[](auto& o) { o.shift_by = std::string("-5"); }, Kind::kShift, "--shift-by -5"},
           {[](auto& o) { o.to_datetime = std::string("2026-11-24T10:00+01:00"); }, Kind::kTime,
            "--to-datetime 2026-11-24T09:00:00.000Z"},
           {[](auto& o) { o.by_duration = std::string("P1D"); }, Kind::kTime,
            "--by-duration P1D (2026-11-23T09:30:00.250Z)"},
           {[](auto& o) { o.to_group = std::string("h"); }, Kind::kGroup, "--to-group h"},
           {[](auto& o) { o.from_file = std::string("f.csv"); }, Kind::kFile,
            "--from-file f.csv"}}) {
    INFO(what);
    const ResetTask task = Task(change);
    CHECK(task.scenario.kind == kind);
    CHECK(task.scenario.what == what);
    CHECK_FALSE(task.execute);
  }
}

TEST_CASE("Reset options: the values arrive", "[tools][reset]") {
  CHECK(Task([](auto& o) { o.to_offset = std::string("17"); }).scenario.value == 17);
  CHECK(Task([](auto& o) { o.shift_by = std::string("-5"); }).scenario.value == -5);
  CHECK(Task([](auto& o) { o.to_datetime = std::string("-1h"); }).scenario.time ==
        kNow - 3'600'000);
  CHECK(Task([](auto& o) { o.by_duration = std::string("PT1H"); }).scenario.time ==
        kNow - 3'600'000);
  CHECK(Task([](auto& o) { o.to_group = std::string("h"); }).scenario.source == "h");
  const ResetTask task = Task([](auto& o) {
    o.to_latest = o.execute = o.force = o.export_csv = true;
    o.timeout = std::string("5s");
  });
  CHECK((task.execute && task.force && task.export_csv));
  CHECK(task.timeout == std::chrono::seconds(5));
  CHECK(task.groups == std::vector<std::string>{"g"});
  CHECK(task.topics == TopicScopes{{"t", {}}});
}

TEST_CASE("Reset options: groups and topics may be all, or named, or in the file",
          "[tools][reset]") {
  CHECK(Task([](auto& o) {
          o.groups = {"b", "a", "b"};
          o.to_latest = true;
        }).groups == std::vector<std::string>{"b", "a"});
  CHECK(Task([](auto& o) {
          o.groups.clear();
          o.all_groups = o.to_latest = true;
        }).groups.empty());
  CHECK(Task([](auto& o) {
          o.topics.clear();
          o.all_topics = o.to_latest = true;
        }).topics.empty());
  CHECK(Task([](auto& o) {
          o.topics.clear();
          o.from_file = std::string("f");
        }).topics.empty());
  CHECK(Task([](auto& o) {
          o.topics.clear();
          o.undo = true;
        }).scenario.kind == Kind::kUndo);
}

TEST_CASE("Reset options: what cannot be meant is wrong usage", "[tools][reset]") {
  for (const auto& [change, words] : std::vector<std::pair<Change, std::string>>{
           {[](auto&) {}, "where to? Give one of --to-earliest, --to-latest"},
           {[](auto& o) { o.to_earliest = o.to_latest = true; },
            "--to-earliest and --to-latest contradict"},
           {[](auto& o) { o.by_duration = o.to_datetime = std::string("-1h"); },
            "--to-datetime and --by-duration"},
           {[](auto& o) { o.to_offset = std::string("many"); }, "--to-offset many"},
           {[](auto& o) { o.to_offset = std::string(""); }, "--to-offset"},
           {[](auto& o) { o.to_offset = std::string("010x"); }, "--to-offset 010x"},
           {[](auto& o) { o.shift_by = std::string("+-5"); }, "--shift-by +-5"},
           {[](auto& o) { o.shift_by = std::string("99999999999999999999"); }, "--shift-by"},
           {[](auto& o) { o.to_datetime = std::string("noon"); }, "noon"},
           {[](auto& o) { o.by_duration = std::string("P1Y"); }, "P1Y"},
           {[](auto& o) { o.by_duration = std::string("P30000D"); }, "before 1970"},
           {[](auto& o) {
              o.to_latest = true;
              o.topics.clear();
            },
            "which topics?"},
           {[](auto& o) { o.to_latest = o.all_topics = true; }, "--topic and --all-topics"},
           {[](auto& o) { o.undo = true; }, "--undo takes back the whole"},
           {[](auto& o) {
              o.to_latest = true;
              o.topics.emplace_back("t:x");
            },
            "'x' is not a partition"},
           {[](auto& o) {
              o.to_latest = true;
              o.groups.clear();
            },
            "which groups?"},
           {[](auto& o) { o.to_latest = o.all_groups = true; }, "--all-groups"},
           {[](auto& o) {
              o.to_latest = true;
              o.groups.emplace_back("");
            },
            "1 to 255 bytes"},
           {[](auto& o) { o.to_latest = o.dry_run = o.execute = true; }, "--dry-run and --execute"},
           {[](auto& o) { o.to_latest = o.force = true; }, "need --execute"},
           {[](auto& o) {
              o.to_latest = o.execute = true;
              o.timeout = std::string("soon");
            },
            "soon"},
           {[](auto& o) {
              o.to_latest = o.execute = true;
              o.timeout = std::string("2d");
            },
            "longer than a day"}}) {
    INFO(words);
    const std::string message = Refused(change);
    INFO(message);
    CHECK(message.find(words) != std::string::npos);
  }
}

}  // namespace
}  // namespace cairn::tools
