// The checker itself: every kind of broken promise is found, and a good history is not blamed.

#include "tests/support/group_checker.h"

#include <catch2/catch.hpp>

namespace cairn::test {
namespace {

using Kind = GroupStep::Kind;

// One partition with four records, which two members read: a two of them, then b the rest.
GroupHistory Good() {
  GroupHistory history;
  history.ends = {4};
  history.actors.push_back({.name = "a",
                            .steps = {{10, -1, 0, Kind::kGained},
                                      {11, 0, 0, Kind::kRecord},
                                      {11, 1, 0, Kind::kRecord},
                                      {20, 2, 0, Kind::kCommitted},
                                      {21, -1, 0, Kind::kGivenUp}}});
  history.actors.push_back({.name = "b",
                            .steps = {{30, -1, 0, Kind::kGained},
                                      {31, 2, 0, Kind::kRecord},
                                      {32, 3, 0, Kind::kRecord},
                                      {40, 4, 0, Kind::kCommitted}}});
  history.sights = {{.invoked = 12, .returned = 13, .epoch = 1, .committed = -1, .owner = "a"},
                    {.invoked = 22, .returned = 23, .epoch = 1, .committed = 2, .owner = ""},
                    {.invoked = 32, .returned = 33, .epoch = 2, .committed = 2, .owner = "b"},
                    {.invoked = 42, .returned = 43, .epoch = 2, .committed = 4, .owner = "b"}};
  return history;
}

// It is this that is found, and nothing else.
void CheckFound(const GroupHistory& history, GroupAnomaly anomaly) {
  const GroupVerdict verdict = CheckGroupHistory(history);
  INFO(verdict.Text());
  for (std::size_t i = 0; i < kGroupAnomalies; ++i) {
    const auto each = static_cast<GroupAnomaly>(i);
    CHECK((verdict.count(each) > 0) == (each == anomaly));
  }
}

}  // namespace

TEST_CASE("Group checker: a history in which all is well is not blamed", "[crash][group]") {
  const GroupVerdict verdict = CheckGroupHistory(Good());
  INFO(verdict.Text());
  CHECK(verdict.clean());
  CHECK(verdict.holds == 2);
  CHECK(verdict.delivered == 4);
  CHECK(verdict.repeats == 0);
}

TEST_CASE("Group checker: what a killed member had not committed may come again",
          "[crash][group]") {
  GroupHistory history = Good();
  history.actors[0].steps.resize(3);  // it was killed
  history.actors[1].steps.insert(history.actors[1].steps.begin() + 1,
                                 {{30, 0, 0, Kind::kRecord}, {30, 1, 0, Kind::kRecord}});
  history.sights[1].committed = history.sights[2].committed = -1;
  const GroupVerdict verdict = CheckGroupHistory(history);
  INFO(verdict.Text());
  CHECK(verdict.clean());
  CHECK(verdict.repeats == 2);
}

TEST_CASE("Group checker: two owners are found, by what they say and by what the broker shows",
          "[crash][group]") {
  GroupHistory history = Good();
  SECTION("the new one gains before the old one lets go") {
    history.actors[0].steps[4].time = 35;
    CheckFound(history, GroupAnomaly::kTwoOwners);
  }
  SECTION("the new one gains before the last record of the old one, which is killed") {
    history.actors[0].steps[1].time = history.actors[0].steps[2].time = 31;
    history.actors[0].steps.resize(3);
    history.sights.clear();
    CheckFound(history, GroupAnomaly::kTwoOwners);
  }
  SECTION("under one epoch") {
    history.sights[2].epoch = 1;
    CheckFound(history, GroupAnomaly::kTwoOwners);
  }
}

TEST_CASE("Group checker: one that was stopped may say late what it let go of", "[crash][group]") {
  GroupHistory history = Good();
  history.actors[0].steps[4] = {35, -1, 0, Kind::kTakenAway};
  CHECK(CheckGroupHistory(history).clean());
  history.actors[0].steps[4] = {35, -1, 0, Kind::kGivenUp};
  history.actors[0].was_paused = true;
  CHECK(CheckGroupHistory(history).clean());
}

TEST_CASE("Group checker: records that are missing, skipped or repeated are found",
          "[crash][group]") {
  GroupHistory history = Good();
  SECTION("nobody was given the last one") {
    history.ends = {5};
    CheckFound(history, GroupAnomaly::kNotDelivered);
  }
  SECTION("one was skipped, though another had it") {
    history.actors[0].steps.insert(history.actors[0].steps.begin() + 3, {11, 2, 0, Kind::kRecord});
    history.actors[1].steps[1].offset = 1;
    history.sights.clear();
    CheckFound(history, GroupAnomaly::kSkipped);
  }
  SECTION("one came twice to the same holder") {
    history.actors[1].steps.insert(history.actors[1].steps.begin() + 2, {31, 2, 0, Kind::kRecord});
    CheckFound(history, GroupAnomaly::kRepeated);
  }
  SECTION("one came to somebody who held nothing") {
    history.actors[0].steps.push_back({22, 2, 0, Kind::kRecord});
    CheckFound(history, GroupAnomaly::kNotHeld);
  }
}

TEST_CASE("Group checker: commits that go back, are lost, ignored or too early are found",
          "[crash][group]") {
  GroupHistory history = Good();
  SECTION("backward") {
    history.actors[0].steps.erase(history.actors[0].steps.begin() + 3);
    history.sights[2].committed = 1;
    CheckFound(history, GroupAnomaly::kCommitBackward);
  }
  SECTION("lost") {
    history.sights[1].committed = history.sights[2].committed = -1;
    CheckFound(history, GroupAnomaly::kCommitLost);
  }
  SECTION("ignored") {
    history.actors[1].steps.insert(history.actors[1].steps.begin() + 1, {30, 1, 0, Kind::kRecord});
    CheckFound(history, GroupAnomaly::kCommitIgnored);
  }
  SECTION("before the records had been handed out") {
    history.actors[1].steps[2].time = 50;
    CheckFound(history, GroupAnomaly::kCommitTooEarly);
  }
}

}  // namespace cairn::test
