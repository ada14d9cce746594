#include "client/partition_queue.h"

#include <catch2/catch.hpp>

#include "protocol/error_code.h"

namespace cairn::client {
namespace {

using namespace std::chrono_literals;
using TimePoint = PartitionQueue::TimePoint;
using Outcome = Delivery::Outcome;

constexpr ProducerIdentity kFirst{ProducerId(7), ProducerEpoch(0)};
constexpr ProducerIdentity kSecond{ProducerId(7), ProducerEpoch(1)};

// A queue and what has been put on the wire.
struct Fixture {
  explicit Fixture(PartitionQueue::Options options = {}) : queue(options) {
    if (!options.idempotent) return;
    Push(1);
    REQUIRE(queue.needs_identity());
    queue.OnIdentity(kFirst);
    REQUIRE(Send().size() == 1);
    Appended(0, 100);
    REQUIRE(Outcomes() == std::vector{Outcome::kAppended});
    wire.clear();
  }

  void Push(std::int32_t records) {
    auto batch = std::make_unique<Batch>();
    batch->record_count = records;
    batch->deadline = now + 1000ms;
    queue.Push(std::move(batch));
  }
  // The base sequences of what goes out now.
  std::vector<std::int32_t> Send() {
    std::vector<std::int32_t> sequences;
    while (const auto to_send = queue.NextToSend(now)) {
      wire.push_back(*to_send);
      sequences.push_back(to_send->base_sequence);
    }
    return sequences;
  }
  void Appended(std::size_t nth, std::int64_t offset) {
    queue.OnAnswer(wire[nth].serial,
                   {.status = absl::OkStatus(),
                    .base_offset = Offset(offset),
                    .durability = Durability::kDurable},
                   now);
  }
  void Refused(std::size_t nth, ErrorCode code) {
    queue.OnAnswer(wire[nth].serial, {.status = MakeError(code, "refused")}, now);
  }
  std::vector<Outcome> Outcomes() {
    std::vector<Outcome> outcomes;
    for (const auto& settled : queue.TakeSettled()) outcomes.push_back(settled.outcome);
    return outcomes;
  }

  PartitionQueue queue;
  TimePoint now{};
  std::vector<PartitionQueue::ToSend> wire;
};

using Sequences = std::vector<std::int32_t>;
using Outcomes = std::vector<Outcome>;

}  // namespace

TEST_CASE("PartitionQueue: at most in_flight_max batches are numbered at a time",
          "[client][partition_queue]") {
  Fixture f({.in_flight_max = 2});
  for (int i = 0; i < 3; ++i) f.Push(10);
  CHECK(f.Send() == Sequences{1, 11});
  f.Appended(1, 111);
  CHECK(f.Send().empty());  // the first is still without an answer, and must stay recognisable
  CHECK(f.Outcomes().empty());
  f.Appended(0, 101);
  CHECK(f.Outcomes() == Outcomes{Outcome::kAppended, Outcome::kAppended});
  CHECK(f.Send() == Sequences{21});
}

TEST_CASE("PartitionQueue: after a broken connection all unanswered batches go again, in order",
          "[client][partition_queue]") {
  Fixture f;
  for (int i = 0; i < 3; ++i) f.Push(2);
  CHECK(f.Send() == Sequences{1, 3, 5});
  f.Appended(0, 101);
  f.queue.OnDisconnected();
  f.Push(2);
  f.wire.clear();
  CHECK(f.Send() == Sequences{3, 5, 7});
}

TEST_CASE("PartitionQueue: a transient refusal is retried in order after a while",
          "[client][partition_queue]") {
  Fixture f;
  for (int i = 0; i < 3; ++i) f.Push(1);
  f.Send();
  // Answers come in any order: the later ones are refused because the first was.
  f.Refused(1, ErrorCode::kOutOfOrderSequence);
  CHECK(f.Send().empty());
  f.Refused(0, ErrorCode::kStorageFull);
  CHECK(f.Send().empty());
  f.Refused(2, ErrorCode::kOutOfOrderSequence);
  REQUIRE(f.queue.retry_at().has_value());
  CHECK(f.Send().empty());
  f.now = *f.queue.retry_at();
  CHECK(f.Send() == Sequences{1, 2, 3});
  CHECK(f.Outcomes().empty());
}

TEST_CASE(
    "PartitionQueue: a batch refused for its own fault ends the identity, the rest goes again",
    "[client][partition_queue]") {
  Fixture f;
  for (int i = 0; i < 3; ++i) f.Push(1);
  f.Send();
  f.Refused(0, ErrorCode::kTooLarge);
  CHECK(f.Outcomes() == Outcomes{Outcome::kRefused});
  CHECK_FALSE(f.queue.needs_identity());  // two are still on the wire
  f.Refused(1, ErrorCode::kOutOfOrderSequence);
  f.Refused(2, ErrorCode::kOutOfOrderSequence);
  REQUIRE(f.queue.needs_identity());
  CHECK(f.Send().empty());
  f.queue.OnIdentity(kSecond);
  f.wire.clear();
  CHECK(f.Send() == Sequences{0, 1});
  CHECK(f.wire[0].identity == kSecond);
  CHECK(f.wire[0].first_time);  // it is to be stamped anew
}

TEST_CASE("PartitionQueue: what stood behind a gap was not appended, though its answer was lost",
          "[client][partition_queue]") {
  Fixture f;
  for (int i = 0; i < 2; ++i) f.Push(1);
  f.Send();
  f.Refused(0, ErrorCode::kTooLarge);
  f.queue.OnDisconnected();
  REQUIRE(f.queue.needs_identity());
  f.queue.OnIdentity(kSecond);
  CHECK(f.Outcomes() == Outcomes{Outcome::kRefused});
  CHECK(f.Send() == Sequences{0});
}

TEST_CASE("PartitionQueue: the last numbered batch, once refused, leaves no gap",
          "[client][partition_queue]") {
  Fixture f;
  f.Push(3);
  f.Send();
  f.Refused(0, ErrorCode::kTooLarge);
  f.Push(1);
  CHECK_FALSE(f.queue.needs_identity());
  CHECK(f.Send() == Sequences{1});
}

TEST_CASE("PartitionQueue: what may have been appended is unknown under a new identity",
          "[client][partition_queue]") {
  Fixture f;
  f.Push(1);
  f.Send();
  f.queue.OnDisconnected();
  f.wire.clear();
  f.Send();
  f.Refused(0, ErrorCode::kUnknownProducer);  // the broker has forgotten
  REQUIRE(f.queue.needs_identity());
  f.queue.OnIdentity(kSecond);
  CHECK(f.Outcomes() == Outcomes{Outcome::kUnknown});
  CHECK(f.queue.idle());
}

TEST_CASE("PartitionQueue: an unexplained refusal of the sequence begins a new identity",
          "[client][partition_queue]") {
  const auto code = GENERATE(ErrorCode::kOutOfOrderSequence, ErrorCode::kUnknownProducer,
                             ErrorCode::kStaleProducerEpoch);
  Fixture f;
  f.Push(1);
  f.Send();
  f.Refused(0, code);
  REQUIRE(f.queue.needs_identity());
  f.queue.OnIdentity(kSecond);
  CHECK(f.Send() == Sequences{0});
  CHECK(f.Outcomes().empty());
}

TEST_CASE("PartitionQueue: an expired batch is refused or unknown, as its attempts tell",
          "[client][partition_queue]") {
  Fixture f;
  f.Push(1);
  f.Send();
  SECTION("unanswered: unknown") {
    f.now += 2000ms;
    f.queue.Expire(f.now);
    CHECK(f.Outcomes() == Outcomes{Outcome::kUnknown});
    f.Appended(0, 101);  // too late, and ignored
    CHECK(f.Outcomes().empty());
  }
  SECTION("refused every time: refused") {
    f.Refused(0, ErrorCode::kStorageFull);
    f.now += 2000ms;
    f.queue.Expire(f.now);
    CHECK(f.Outcomes() == Outcomes{Outcome::kRefused});
  }
  SECTION("told to try again by a broker that goes down: unknown") {
    f.Refused(0, ErrorCode::kStopping);
    f.now += 2000ms;
    f.queue.Expire(f.now);
    CHECK(f.Outcomes() == Outcomes{Outcome::kUnknown});
  }
  SECTION("never sent: refused") {
    f.queue.OnDisconnected();
    f.queue.TakeSettled();
    f.Push(1);
    f.now += 2000ms;
    f.queue.Expire(f.now);
    CHECK(f.Outcomes() == Outcomes{Outcome::kUnknown, Outcome::kRefused});
  }
  CHECK(f.queue.idle());
}

TEST_CASE("PartitionQueue: an expired batch names the refusal, not the gap that it left behind it",
          "[client][partition_queue]") {
  Fixture f;
  f.Push(1);
  f.Push(1);
  f.Send();
  f.Refused(0, ErrorCode::kStorageFull);
  f.queue.OnAnswer(f.wire[1].serial, {.status = MakeError(ErrorCode::kOutOfOrderSequence, "a gap")},
                   f.now);
  f.now += 2000ms;
  f.queue.Expire(f.now);
  const auto settled = f.queue.TakeSettled();
  REQUIRE(settled.size() == 2);
  for (const auto& each : settled) {
    CHECK(std::string(each.status.message()) ==
          "not delivered in time; the last error was: refused");
  }
}

TEST_CASE("PartitionQueue: an outcome that the broker does not know is passed on and not retried",
          "[client][partition_queue]") {
  Fixture f;
  f.Push(1);
  f.Push(1);
  f.Send();
  f.Refused(0, ErrorCode::kOutcomeUnknown);
  CHECK(f.Outcomes() == Outcomes{Outcome::kUnknown});
  CHECK_FALSE(f.queue.needs_identity());
  f.Appended(1, 102);
  CHECK(f.Outcomes() == Outcomes{Outcome::kAppended});
}

TEST_CASE("PartitionQueue: closing tells of every batch what is known",
          "[client][partition_queue]") {
  Fixture f({.in_flight_max = 2});
  for (int i = 0; i < 3; ++i) f.Push(1);
  f.Send();
  f.Appended(1, 102);
  f.queue.FailAll(absl::CancelledError("closed"), true);
  CHECK(f.Outcomes() == Outcomes{Outcome::kUnknown, Outcome::kAppended, Outcome::kRefused});
  CHECK(f.queue.idle());
}

TEST_CASE("PartitionQueue: without sequences nothing is sent twice", "[client][partition_queue]") {
  Fixture f({.idempotent = false});
  f.Push(1);
  f.Push(1);
  CHECK_FALSE(f.queue.needs_identity());
  CHECK(f.Send() == Sequences{-1, -1});
  f.Appended(0, -1);
  f.queue.OnDisconnected();
  CHECK(f.Outcomes() == Outcomes{Outcome::kAppended, Outcome::kUnknown});
  f.Push(1);
  CHECK(f.Send() == Sequences{-1});
}

}  // namespace cairn::client
