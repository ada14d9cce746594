#include "client/group_holdings.h"

#include <catch2/catch.hpp>

namespace cairn::client {
namespace {

using Outcome = GroupHoldings::Outcome;
using Commits = std::vector<GroupHoldings::Commit>;

TopicId TopicOf(std::uint8_t number) {
  TopicId id;
  id.bytes[0] = number;
  return id;
}

TopicPartition At(int partition) { return {TopicOf(1), PartitionIndex(partition)}; }

GroupPosition Place(std::int64_t offset, std::int32_t epoch = 0) {
  return {Offset(offset), LeaderEpoch(epoch)};
}

GivenPartition Given(int partition, std::int64_t epoch, GroupPosition committed = {}) {
  return {.id = At(partition), .topic = "t", .epoch = epoch, .committed = committed};
}

std::vector<std::int32_t> NumbersOf(const std::vector<GivenPartition>& given) {
  std::vector<std::int32_t> numbers;
  for (const auto& each : given) numbers.push_back(each.id.partition.value());
  return numbers;
}

std::vector<std::int32_t> NumbersOf(const std::vector<TopicPartition>& partitions) {
  std::vector<std::int32_t> numbers;
  for (const auto& each : partitions) numbers.push_back(each.partition.value());
  return numbers;
}

using Numbers = std::vector<std::int32_t>;

struct Fixture {
  explicit Fixture(GroupPosition committed = {}) { holdings.Gain(Given(0, 7, committed)); }

  void Read(GroupPosition to) { holdings.HandOut(At(0), to); }
  void ReadAndFinish(GroupPosition to) {
    Read(to);
    holdings.Finish();
  }
  // The one commit that is due, or nothing.
  std::optional<GroupHoldings::Commit> Due() {
    const bool said = holdings.has_due();
    const Commits due = holdings.TakeDue();
    CHECK(said == !due.empty());
    REQUIRE(due.size() <= 1);
    if (due.empty()) return std::nullopt;
    CHECK(due[0].id == At(0));
    CHECK(due[0].epoch == 7);
    return due[0];
  }

  GroupHoldings holdings;
};

}  // namespace

TEST_CASE("GroupHoldings: an assignment is kept, gained and lost, partition by partition",
          "[client][group]") {
  GroupHoldings holdings;
  const auto first = holdings.Compare({Given(0, 1), Given(1, 1)});
  CHECK(first.lost.empty());
  CHECK(NumbersOf(first.gained) == Numbers{0, 1});
  for (const auto& given : first.gained) holdings.Gain(given);
  CHECK(NumbersOf(holdings.all()) == Numbers{0, 1});
  CHECK(holdings.Compare({Given(1, 1), Given(0, 1)}).empty());

  const auto second = holdings.Compare({Given(1, 1), Given(2, 3)});
  CHECK(NumbersOf(second.lost) == Numbers{0});
  CHECK(NumbersOf(second.gained) == Numbers{2});

  const auto none = holdings.Compare({});
  CHECK(NumbersOf(none.lost) == Numbers{0, 1});
  CHECK(none.gained.empty());
}

TEST_CASE("GroupHoldings: a partition under another epoch is lost and gained", "[client][group]") {
  GroupHoldings holdings;
  holdings.Gain(Given(0, 1, Place(50)));
  const auto change = holdings.Compare({Given(0, 2, Place(10))});
  CHECK(NumbersOf(change.lost) == Numbers{0});
  REQUIRE(NumbersOf(change.gained) == Numbers{0});
  holdings.Release(change.lost);
  holdings.Gain(change.gained[0]);
  CHECK(holdings.committed(At(0)) == Place(10));
  CHECK(holdings.Compare({Given(0, 2)}).empty());
}

TEST_CASE("GroupHoldings: what comes back under the same epoch goes on where it was left",
          "[client][group]") {
  GroupHoldings holdings;
  holdings.Gain(Given(0, 5, Place(10)));
  holdings.HandOut(At(0), Place(20));
  holdings.Finish();
  REQUIRE(holdings.TakeDue().size() == 1);
  holdings.Release({At(0), At(1)});  // the other was not held
  CHECK_FALSE(holdings.holds(At(0)));
  // Said by a broker that had not heard of the commit yet; or that had heard of more.
  CHECK(holdings.Compare({Given(0, 5, Place(10))}).gained[0].committed == Place(20));
  CHECK(holdings.Compare({Given(0, 5, Place(30))}).gained[0].committed == Place(30));
  // Somebody else may have had it meanwhile, or a reset moved it.
  CHECK(holdings.Compare({Given(0, 6, Place(10))}).gained[0].committed == Place(10));
  holdings.LoseAll();
  CHECK(holdings.Compare({Given(0, 5, Place(10))}).gained[0].committed == Place(10));
}

TEST_CASE("GroupHoldings: partitions are found and named by topic", "[client][group]") {
  GroupHoldings holdings;
  holdings.Gain({.id = {TopicOf(1), PartitionIndex(0)}, .topic = "b", .epoch = 1, .committed = {}});
  holdings.Gain({.id = {TopicOf(2), PartitionIndex(3)}, .topic = "a", .epoch = 1, .committed = {}});
  const auto names = holdings.names(holdings.all());
  REQUIRE(names.size() == 2);
  CHECK(names[0].topic == "a");
  CHECK(names[1].topic == "b");
  CHECK(holdings.Find("a", PartitionIndex(3)) == TopicPartition{TopicOf(2), PartitionIndex(3)});
  CHECK_FALSE(holdings.Find("a", PartitionIndex(0)).has_value());
}

TEST_CASE("GroupHoldings: only what was finished is due, once", "[client][group]") {
  Fixture f;
  CHECK_FALSE(f.Due().has_value());
  f.Read(Place(10));
  CHECK_FALSE(f.Due().has_value());
  f.holdings.Finish();
  f.Read(Place(20));
  auto due = f.Due();
  REQUIRE(due.has_value());
  CHECK(due->position == Place(10));
  CHECK_FALSE(f.Due().has_value());  // on its way
  f.holdings.Answered(*due, Outcome::kDone);
  CHECK_FALSE(f.Due().has_value());
  CHECK(f.holdings.committed(At(0)) == Place(10));
  f.holdings.Finish();
  due = f.Due();
  REQUIRE(due.has_value());
  CHECK(due->position == Place(20));
}

TEST_CASE("GroupHoldings: a place before any record is committed too, so that it is not forgotten",
          "[client][group]") {
  Fixture f;  // begun at the end of the log, where nothing was committed
  f.ReadAndFinish(Place(42, -1));
  const auto due = f.Due();
  REQUIRE(due.has_value());
  CHECK(due->position == Place(42, -1));
}

TEST_CASE("GroupHoldings: what is committed is not committed again", "[client][group]") {
  Fixture f(Place(10, 2));
  CHECK_FALSE(f.Due().has_value());
  f.ReadAndFinish(Place(10, 2));
  CHECK_FALSE(f.Due().has_value());
}

TEST_CASE("GroupHoldings: nothing below what is committed is due after a seek", "[client][group]") {
  const int epoch = GENERATE(-1, 0);  // of the commit
  Fixture f(Place(100, epoch));
  f.ReadAndFinish(Place(5));
  CHECK_FALSE(f.Due().has_value());
  f.ReadAndFinish(Place(99));
  CHECK_FALSE(f.Due().has_value());
  f.ReadAndFinish(Place(101));
  CHECK(f.Due().has_value());
}

TEST_CASE("GroupHoldings: where a power cut took back what was committed, it goes back with it",
          "[client][group]") {
  Fixture f(Place(100, 3));
  f.ReadAndFinish(Place(60, -1));  // told so, nothing read yet
  CHECK_FALSE(f.Due().has_value());
  f.ReadAndFinish(Place(61, 4));
  const auto due = f.Due();
  REQUIRE(due.has_value());
  f.holdings.Answered(*due, Outcome::kDone);
  CHECK(f.holdings.committed(At(0)) == Place(61, 4));
  CHECK_FALSE(f.Due().has_value());
}

TEST_CASE("GroupHoldings: a commit that was not done is due again, one that was refused is not",
          "[client][group]") {
  Fixture f(Place(1));
  f.ReadAndFinish(Place(10));
  const auto due = f.Due();
  REQUIRE(due.has_value());
  SECTION("not done") {
    f.holdings.Answered(*due, Outcome::kNotDone);
    CHECK(f.Due().has_value());
  }
  SECTION("refused") {
    f.holdings.Answered(*due, Outcome::kRefused);
    CHECK_FALSE(f.Due().has_value());
    f.ReadAndFinish(Place(11));
    CHECK(f.Due().has_value());
  }
  SECTION("not done, but a later one is on its way") {
    f.ReadAndFinish(Place(20));
    REQUIRE(f.Due().has_value());
    f.holdings.Answered(*due, Outcome::kNotDone);
    CHECK_FALSE(f.Due().has_value());
  }
}

TEST_CASE("GroupHoldings: answers out of order do not take a commit back", "[client][group]") {
  Fixture f;
  f.ReadAndFinish(Place(10));
  const auto first = f.Due();
  f.ReadAndFinish(Place(20));
  const auto second = f.Due();
  REQUIRE((first.has_value() && second.has_value()));
  f.holdings.Answered(*second, Outcome::kDone);
  f.holdings.Answered(*first, Outcome::kDone);
  CHECK(f.holdings.committed(At(0)) == Place(20));
}

TEST_CASE("GroupHoldings: a commit on demand counts as processed", "[client][group]") {
  Fixture f;
  f.Read(Place(10, 4));
  const auto commit = f.holdings.TakeCommit(At(0), Place(10, -1));
  REQUIRE(commit.has_value());
  CHECK(commit->position == Place(10, 4));  // the epoch is known there
  CHECK(commit->epoch == 7);
  CHECK_FALSE(f.Due().has_value());
  CHECK(f.holdings.TakeCommit(At(0), Place(8, -1))->position == Place(8, -1));
  CHECK(f.holdings.TakeCommit(At(0), Place(8, 2))->position == Place(8, 2));
  CHECK_FALSE(f.Due().has_value());  // the lower ones change nothing
  CHECK_FALSE(f.holdings.TakeCommit(At(1), Place(8)).has_value());
}

TEST_CASE("GroupHoldings: trimmed records go with the next commit that passes them",
          "[client][group]") {
  Fixture f(Place(10));
  f.Read(Place(50, -1));
  f.holdings.Trim(At(0), Offset(10), Offset(50));
  SECTION("an automatic one") {
    f.holdings.Finish();
    const auto due = f.Due();
    REQUIRE(due.has_value());
    CHECK(due->trimmed == 40);
    SECTION("done: they are told once") {
      f.holdings.Answered(*due, Outcome::kDone);
      f.ReadAndFinish(Place(60));
      CHECK(f.Due()->trimmed == 0);
    }
    SECTION("not done: they are told again") {
      f.holdings.Answered(*due, Outcome::kNotDone);
      f.holdings.Trim(At(0), Offset(50), Offset(52));
      f.ReadAndFinish(Place(52, -1));
      CHECK(f.Due()->trimmed == 42);
    }
  }
  SECTION("one on demand") {
    CHECK(f.holdings.TakeCommit(At(0), Place(50))->trimmed == 40);
    CHECK(f.holdings.TakeCommit(At(0), Place(51))->trimmed == 0);
  }
  SECTION("one below them does not tell of them") {
    CHECK(f.holdings.TakeCommit(At(0), Place(20))->trimmed == 0);
    CHECK(f.holdings.TakeCommit(At(0), Place(50))->trimmed == 40);
  }
}

TEST_CASE("GroupHoldings: only the partitions given up are committed with them",
          "[client][group]") {
  GroupHoldings holdings;
  for (int i = 0; i < 3; ++i) {
    holdings.Gain(Given(i, 1));
    holdings.HandOut(At(i), Place(10 + i));
  }
  holdings.Finish();
  const Commits given_up = holdings.TakeDue({At(1), At(5)});
  REQUIRE(given_up.size() == 1);
  CHECK(given_up[0].position == Place(11));
  CHECK(holdings.TakeDue().size() == 2);
}

TEST_CASE("GroupHoldings: what concerns an earlier holding of a partition changes nothing",
          "[client][group]") {
  Fixture f;
  f.ReadAndFinish(Place(10));
  const auto due = f.Due();
  REQUIRE(due.has_value());
  f.holdings.Release({At(0)});
  f.Read(Place(30));
  f.holdings.Trim(At(0), Offset(30), Offset(33));
  f.holdings.Answered(*due, Outcome::kDone);
  f.holdings.Gain(Given(0, 8, Place(2)));
  f.holdings.Answered(*due, Outcome::kDone);
  CHECK(f.holdings.committed(At(0)) == Place(2));
  f.holdings.Finish();
  CHECK_FALSE(f.holdings.has_due());
}

}  // namespace cairn::client
