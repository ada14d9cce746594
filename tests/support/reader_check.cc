#include "tests/support/reader_check.h"

#include <optional>
#include <string>

#include "absl/strings/str_format.h"

namespace cairn::test {

void CheckKnown(const History& history, std::int32_t partition, std::int64_t offset, Value value,
                std::string_view reader, Findings& findings) {
  const auto producer = static_cast<std::size_t>(ProducerOf(value));
  const auto sequence = static_cast<std::size_t>(SequenceOf(value));
  const auto place = [&](std::string_view what) {
    return absl::StrFormat("%s at %d: %s, read by %s, %s",
                           history.partitions[static_cast<std::size_t>(partition)].name, offset,
                           TextOf(value), reader, what);
  };
  if (producer >= history.sends.size() || sequence >= history.sends[producer].size()) {
    return findings.Add(Anomaly::kForeign, partition, offset,
                        [&] { return place("was never sent"); });
  }
  const SentRecord& sent = history.sends[producer][sequence];
  if (sent.partition != partition) {
    return findings.Add(Anomaly::kForeign, partition, offset,
                        [&] { return place("was sent elsewhere"); });
  }
  if (sent.outcome == SentRecord::Outcome::kRefused) {
    findings.Add(Anomaly::kResurrected, partition, offset,
                 [&] { return place("had been refused"); });
  }
}

ReaderCheck::ReaderCheck(const History& history, const std::vector<FinalLog>& logs,
                         const Reader& reader, Gone& gone, Verdict& verdict)
    : history_(history),
      logs_(logs),
      reader_(reader),
      gone_(gone),
      verdict_(verdict),
      views_(logs.size()) {}

void ReaderCheck::Run() {
  std::size_t failures = 0;
  for (const ReadStep& step : reader_.steps) {
    View& view = views_[static_cast<std::size_t>(step.partition)];
    switch (step.kind) {
      case ReadStep::Kind::kAssigned:
        view = {.expected = step.offset, .believed = {}};
        break;
      case ReadStep::Kind::kReleased:
        view = {};
        break;
      case ReadStep::Kind::kRecord:
        OnRecord(step, view);
        break;
      case ReadStep::Kind::kTrimmed:
      case ReadStep::Kind::kTruncated:
        OnNotice(step, view);
        break;
      case ReadStep::Kind::kFailed: {
        const std::string& why = reader_.failures[failures++];
        verdict_.findings.Add(Anomaly::kReaderFailed, step.partition, step.offset, [&] {
          return absl::StrFormat("%s: %s: %s", reader_.name, LogOf(step.partition).rules().name,
                                 why);
        });
        break;
      }
    }
  }
  for (std::size_t p = 0; p < views_.size(); ++p) {
    CheckBeliefs(static_cast<std::int32_t>(p), views_[p]);
  }
}

void ReaderCheck::OnRecord(const ReadStep& step, View& view) {
  ++verdict_.read;
  const PartitionRules& rules = LogOf(step.partition).rules();
  const bool gaps = rules.keeps == PartitionRules::Keeps::kNewestOfKey;
  if (view.expected >= 0 && step.offset != view.expected &&
      !(gaps && step.offset > view.expected)) {
    const Anomaly anomaly =
        step.offset > view.expected ? Anomaly::kPollSkip : Anomaly::kPollBackward;
    verdict_.findings.Add(anomaly, step.partition, step.offset, [&] {
      return absl::StrFormat("%s: %s gave offset %d where %d was due", reader_.name, rules.name,
                             step.offset, view.expected);
    });
  }
  view.expected = step.offset + 1;
  CheckKnown(history_, step.partition, step.offset, step.value, reader_.name, verdict_.findings);
  if (rules.durability == Durability::kDurable) {
    CheckKept(step);
  } else {
    view.believed.emplace_back(step.offset, step.value);
  }
}

// What a consumer of a durable topic has seen is never unseen.
void ReaderCheck::CheckKept(const ReadStep& step) {
  const FinalLog& log = LogOf(step.partition);
  const std::optional<Value> there = log.ValueAt(step.offset);
  if (there == step.value) return;
  if (there.has_value()) {
    return verdict_.findings.Add(Anomaly::kInconsistent, step.partition, step.offset, [&] {
      return absl::StrFormat("%s at %d: %s read %s, and at the end there is %s", log.rules().name,
                             step.offset, reader_.name, TextOf(step.value), TextOf(*there));
    });
  }
  if (log.MayBeGone(step.offset, step.value)) {
    gone_[static_cast<std::size_t>(step.partition)].emplace_back(step.offset, step.value);
    return;
  }
  verdict_.findings.Add(Anomaly::kTakenBack, step.partition, step.offset, [&] {
    return absl::StrFormat("%s at %d: %s read %s, which is not there at the end", log.rules().name,
                           step.offset, reader_.name, TextOf(step.value));
  });
}

void ReaderCheck::OnNotice(const ReadStep& step, View& view) {
  const PartitionRules& rules = LogOf(step.partition).rules();
  const bool trimmed = step.kind == ReadStep::Kind::kTrimmed;
  ++(trimmed ? verdict_.trimmed_notices : verdict_.truncated_notices);
  const bool allowed = trimmed ? rules.keeps != PartitionRules::Keeps::kAll
                               : rules.durability != Durability::kDurable;
  // What is trimmed is what comes next; what is truncated is what came last.
  const bool fits =
      view.expected < 0 || (trimmed ? step.offset == view.expected
                                    : step.offset <= view.expected && step.to() >= view.expected);
  if (!allowed || !fits || step.to() <= step.offset) {
    verdict_.findings.Add(Anomaly::kUntrueNotice, step.partition, step.offset, [&] {
      return absl::StrFormat("%s: %s: %s %d up to %d, to a reader at %d", reader_.name, rules.name,
                             trimmed ? "trimmed" : "truncated", step.offset, step.to() - 1,
                             view.expected);
    });
  }
  view.expected = trimmed ? step.to() : step.offset;
  while (!trimmed && !view.believed.empty() && view.believed.back().first >= step.offset) {
    view.believed.pop_back();
  }
}

void ReaderCheck::CheckBeliefs(std::int32_t partition, const View& view) {
  const FinalLog& log = LogOf(partition);
  for (const auto& [offset, value] : view.believed) {
    const std::optional<Value> there = log.ValueAt(offset);
    if (there == value || (!there.has_value() && log.MayBeGone(offset, value))) continue;
    verdict_.findings.Add(Anomaly::kNotTold, partition, offset, [&, at = offset, read = value] {
      return absl::StrFormat("%s at %d: %s believes that there is %s, but there is %s",
                             log.rules().name, at, reader_.name, TextOf(read),
                             there.has_value() ? TextOf(*there) : "nothing");
    });
  }
}

}  // namespace cairn::test
