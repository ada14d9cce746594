#include "tests/support/history_checker.h"

#include <vector>

#include <catch2/catch.hpp>

namespace cairn::test {
namespace {

using Keeps = PartitionRules::Keeps;
using Kind = ReadStep::Kind;
using Outcome = SentRecord::Outcome;

// A run as it might have been: one producer's records, by number, in one partition. Every step
// takes its own moment, one after the other.
class Story {
 public:
  explicit Story(Durability durability = Durability::kDurable, Keeps keeps = Keeps::kAll) {
    history.partitions.push_back({"topic:0", durability, keeps});
    history.sends.resize(2);
    history.final_read.resize(1);
    history.readers.push_back({"reader", {}, {}});
  }

  // Sends the producer's next record and hears of it at once.
  Story& Sent(std::int64_t offset, int producer = 0) {
    return Send(producer, Outcome::kAppended, offset, history.partitions[0].durability);
  }
  Story& SentWritten(std::int64_t offset) {
    return Send(0, Outcome::kAppended, offset, Durability::kWritten);
  }
  Story& Refused() { return Send(0, Outcome::kRefused, -1, Durability::kNone); }
  Story& Unknown() { return Send(0, Outcome::kUnknown, -1, Durability::kNone); }
  Story& Read(std::int64_t offset, std::int64_t number, int producer = 0) {
    return Step(Kind::kRecord, offset, MakeValue(producer, number));
  }
  Story& Told(Kind kind, std::int64_t from, std::int64_t to) {
    return Step(kind, from, static_cast<Value>(to));
  }
  Story& AskedForEnd(std::int64_t end) {
    history.end_reads.push_back({.invoked = ++now, .end = end, .partition = 0});
    return *this;
  }
  Story& PowerCut() {
    history.faults.push_back({Fault::Kind::kPowerCut, ++now});
    return *this;
  }
  Story& Kill() {
    history.faults.push_back({Fault::Kind::kKill, ++now});
    return *this;
  }
  Story& Finally(std::int64_t offset, std::int64_t number, int producer = 0) {
    auto& read = history.final_read[0];
    if (read.records.empty()) read.log_start = offset;
    read.records.push_back({offset, MakeValue(producer, number)});
    return *this;
  }

  Verdict Check() const { return CheckHistory(history); }
  // The anomaly is found, as often as said, and none other.
  void Shows(Anomaly anomaly, std::int64_t times = 1) const {
    const Verdict verdict = Check();
    INFO(verdict.findings.Text());
    CHECK(verdict.findings.count(anomaly) == times);
    std::int64_t all = 0;
    for (std::size_t i = 0; i < kAnomalies; ++i) {
      all += verdict.findings.count(static_cast<Anomaly>(i));
    }
    CHECK(all == times);
  }
  void IsClean() const {
    const Verdict verdict = Check();
    INFO(verdict.findings.Text());
    CHECK(verdict.findings.clean());
  }

  History history;
  std::int64_t now = 0;

 private:
  Story& Step(Kind kind, std::int64_t offset, Value value) {
    history.readers[0].steps.push_back(
        {.time = ++now, .offset = offset, .value = value, .partition = 0, .kind = kind});
    return *this;
  }
  Story& Send(int producer, Outcome outcome, std::int64_t offset, Durability promised) {
    SentRecord sent{.invoked = ++now, .outcome = outcome, .promised = promised};
    sent.offset = offset;
    sent.returned = ++now;
    history.sends[static_cast<std::size_t>(producer)].push_back(sent);
    return *this;
  }
};

}  // namespace

TEST_CASE("Checker: a run without a fault is clean, and counted", "[checker]") {
  Story story;
  story.Sent(0).Sent(1).AskedForEnd(2).Refused().Unknown().Unknown().Kill().Sent(3, 1);
  story.Told(Kind::kAssigned, 0, 0).Read(0, 0).Read(1, 1).Read(2, 4).Read(3, 0, 1);
  story.Told(Kind::kReleased, 0, 0).Told(Kind::kAssigned, 1, 0).Read(1, 1);
  story.Finally(0, 0).Finally(1, 1).Finally(2, 4).Finally(3, 0, 1);
  story.IsClean();
  const Verdict verdict = story.Check();
  CHECK(verdict.acked_durable == 3);
  CHECK(verdict.refused == 1);
  CHECK(verdict.unknown == 2);
  CHECK(verdict.unknown_present == 1);
  CHECK(verdict.read == 5);
  CHECK(verdict.final_records == 4);
}

TEST_CASE("Checker: an acknowledged record that is not there is lost", "[checker]") {
  Story().Sent(0).Sent(1).Finally(0, 0).Shows(Anomaly::kLost);
  // A power cut is no excuse for what was promised to be durable …
  Story().Sent(0).Sent(1).PowerCut().Finally(0, 0).Shows(Anomaly::kLost);
  // … a kill is none for what was written, and neither is an earlier power cut.
  Story(Durability::kWritten).Sent(0).Sent(1).Kill().Finally(0, 0).Shows(Anomaly::kLost);
  Story(Durability::kWritten).PowerCut().Sent(0).Sent(1).Finally(0, 0).Shows(Anomaly::kLost);
}

TEST_CASE("Checker: what a power cut may take is counted and no anomaly", "[checker]") {
  Story story(Durability::kWritten);
  story.Sent(0).Sent(1).PowerCut().Sent(1).Finally(0, 0).Finally(1, 2);
  story.IsClean();
  const Verdict verdict = story.Check();
  REQUIRE(verdict.written_losses.size() == 1);
  CHECK(verdict.written_losses[0].records == 1);
  CHECK(verdict.written_losses[0].fault == 0);
  Story().Sent(0).SentWritten(1).PowerCut().Finally(0, 0).IsClean();
}

TEST_CASE("Checker: what retention took is not lost, what it may not take is", "[checker]") {
  Story(Durability::kDurable, Keeps::kFromLogStart).Sent(0).Sent(1).Finally(1, 1).IsClean();
  Story(Durability::kDurable, Keeps::kFromLogStart)
      .Sent(0)
      .Sent(1)
      .Sent(2)
      .Finally(1, 1)
      .Shows(Anomaly::kLost);
}

TEST_CASE("Checker: an offset may mean another record where a power cut took the first",
          "[checker]") {
  Story story(Durability::kDurable, Keeps::kFromLogStart);
  story.SentWritten(0).PowerCut().Sent(0).Sent(1).Finally(1, 2).IsClean();
  Story both(Durability::kDurable, Keeps::kFromLogStart);
  both.SentWritten(0).Kill().Sent(0).Sent(1).Finally(1, 2).Shows(Anomaly::kInconsistent);
}

TEST_CASE("Checker: compaction keeps the newest record of each key", "[checker]") {
  Story story(Durability::kDurable, Keeps::kNewestOfKey);
  story.history.keys_per_producer = 2;
  story.Sent(0).Sent(1).Sent(2).Sent(3);  // keys 0, 1, 0, 1
  Story lost = story;
  story.Finally(0, 0).Finally(2, 2).Finally(3, 3).IsClean();
  lost.Finally(0, 0).Finally(1, 1).Finally(2, 2).Shows(Anomaly::kLost);
}

TEST_CASE("Checker: a record that was read on a durable topic must stay", "[checker]") {
  Story().Unknown().Read(0, 0).Shows(Anomaly::kTakenBack);
}

TEST_CASE("Checker: a record that stands twice is duplicated", "[checker]") {
  Story().Sent(0).Finally(0, 0).Finally(1, 0).Shows(Anomaly::kDuplicated);
}

TEST_CASE("Checker: a producer's records stand in the order in which they were sent", "[checker]") {
  Story story;
  story.Unknown().Unknown().Finally(0, 1).Finally(1, 0).Shows(Anomaly::kReordered);
}

TEST_CASE("Checker: nothing that is sent later stands before what was acknowledged", "[checker]") {
  Story story;
  story.Sent(1, 0).Sent(0, 1).Finally(0, 0, 1).Finally(1, 0, 0).Shows(Anomaly::kOvertaken);
}

TEST_CASE("Checker: a refused record must not be read", "[checker]") {
  Story().Refused().Finally(0, 0).Shows(Anomaly::kResurrected);
  Story().Refused().Read(0, 0).Finally(0, 0).Shows(Anomaly::kResurrected, 2);
}

TEST_CASE("Checker: a record that nobody sent there must not be read", "[checker]") {
  Story().Finally(0, 7).Shows(Anomaly::kForeign);
  Story().Finally(0, 0, 9).Shows(Anomaly::kForeign);
}

TEST_CASE("Checker: an offset means one record", "[checker]") {
  // Acknowledged elsewhere than where it stands.
  Story().Sent(1).Finally(0, 0).Shows(Anomaly::kInconsistent);
  // Read as another one than it is.
  Story().Sent(0).Unknown().Read(0, 1).Finally(0, 0).Shows(Anomaly::kInconsistent);
  // Of what retention has taken, too.
  Story(Durability::kDurable, Keeps::kFromLogStart)
      .Sent(0)
      .Unknown()
      .Read(0, 1)
      .Sent(1)
      .Finally(1, 2)
      .Shows(Anomaly::kInconsistent);
}

TEST_CASE("Checker: offsets are dense", "[checker]") {
  Story().Sent(0).Sent(2).Finally(0, 0).Finally(2, 1).Shows(Anomaly::kNotDense);
}

TEST_CASE("Checker: a reader is not led past an offset without a word", "[checker]") {
  Story story;
  story.Sent(0).Sent(1).Sent(2).Finally(0, 0).Finally(1, 1).Finally(2, 2);
  Story from_start = story;
  story.Read(0, 0).Read(2, 2).Shows(Anomaly::kPollSkip);
  from_start.Told(Kind::kAssigned, 0, 0).Read(1, 1).Shows(Anomaly::kPollSkip);

  Story trimmed(Durability::kDurable, Keeps::kFromLogStart);
  trimmed.Sent(0).Sent(1).Sent(2).Finally(2, 2);
  trimmed.Read(0, 0).Told(Kind::kTrimmed, 1, 2).Read(2, 2).IsClean();
}

TEST_CASE("Checker: a reader is not given an offset again", "[checker]") {
  Story().Sent(0).Finally(0, 0).Read(0, 0).Read(0, 0).Shows(Anomaly::kPollBackward);
}

TEST_CASE("Checker: a notice is true", "[checker]") {
  Story story(Durability::kDurable, Keeps::kFromLogStart);
  story.Sent(0).Sent(1).Sent(2).Finally(2, 2);
  story.Read(0, 0).Told(Kind::kTrimmed, 0, 2).Read(2, 2).Shows(Anomaly::kUntrueNotice);
  // No power cut takes anything from a durable topic.
  Story().Unknown().Told(Kind::kTruncated, 0, 1).Shows(Anomaly::kUntrueNotice);
}

TEST_CASE("Checker: whoever saw what a power cut took back is told", "[checker]") {
  Story story(Durability::kWritten);
  story.Sent(0).Sent(1).Read(0, 0).Read(1, 1).PowerCut().Sent(1).Finally(0, 0).Finally(1, 2);
  Story told = story;
  Story left = story;
  story.Shows(Anomaly::kNotTold);
  told.Told(Kind::kTruncated, 1, 2).Read(1, 2).IsClean();
  // Whoever does not read any more cannot be told.
  left.Told(Kind::kReleased, 0, 0).IsClean();
}

TEST_CASE("Checker: the end is behind every record that was acknowledged before", "[checker]") {
  Story().Sent(0).Sent(1).AskedForEnd(1).Finally(0, 0).Finally(1, 1).Shows(Anomaly::kEndMisses);
  Story().AskedForEnd(0).Sent(0).AskedForEnd(1).Finally(0, 0).IsClean();
  // What is only written is not visible on a durable topic yet.
  Story().SentWritten(0).AskedForEnd(0).Finally(0, 0).IsClean();
}

TEST_CASE("Checker: a partition that a reader cannot read is an anomaly", "[checker]") {
  Story story;
  story.Told(Kind::kFailed, 3, 0);
  story.history.readers[0].failures.push_back("damaged");
  story.Shows(Anomaly::kReaderFailed);
}

TEST_CASE("Checker: eight examples of each anomaly are kept, the smallest", "[checker]") {
  Story story;
  for (int i = 0; i < 20; ++i) story.Sent(i);
  const Verdict verdict = story.Check();
  CHECK(verdict.findings.count(Anomaly::kLost) == 20);
  const std::string text = verdict.findings.Text();
  CHECK(text.find("lost: 20") == 0);
  CHECK(text.find("number 7,") != std::string::npos);
  CHECK(text.find("number 8,") == std::string::npos);
}

}  // namespace cairn::test
