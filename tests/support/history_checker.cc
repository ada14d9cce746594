#include "tests/support/history_checker.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"

#include "tests/support/final_log.h"
#include "tests/support/reader_check.h"

namespace cairn::test {
namespace {

using Outcome = SentRecord::Outcome;

class Checker {
 public:
  explicit Checker(const History& history) : history_(history) {
    for (std::size_t p = 0; p < history.partitions.size(); ++p) {
      logs_.emplace_back(history.partitions[p], history.final_read[p], history.keys_per_producer);
    }
    survivors_.resize(logs_.size());
    gone_.resize(logs_.size());
  }

  Verdict Run() {
    for (std::size_t p = 0; p < logs_.size(); ++p) CheckFinalRead(static_cast<std::int32_t>(p));
    for (std::size_t producer = 0; producer < history_.sends.size(); ++producer) {
      const auto& sends = history_.sends[producer];
      for (std::size_t i = 0; i < sends.size(); ++i) {
        CheckSend(MakeValue(static_cast<int>(producer), static_cast<std::int64_t>(i)), sends[i]);
      }
    }
    for (const Reader& reader : history_.readers) {
      ReaderCheck(history_, logs_, reader, gone_, verdict_).Run();
    }
    for (std::size_t p = 0; p < logs_.size(); ++p) {
      CheckGone(static_cast<std::int32_t>(p));
      CheckRealTime(static_cast<std::int32_t>(p));
    }
    CheckEndReads();
    return std::move(verdict_);
  }

 private:
  const std::string& NameOf(std::int32_t partition) const {
    return history_.partitions[static_cast<std::size_t>(partition)].name;
  }

  // ---- what is there at the end ----

  void CheckFinalRead(std::int32_t partition) {
    const FinalLog& log = logs_[static_cast<std::size_t>(partition)];
    const FinalRead& read = history_.final_read[static_cast<std::size_t>(partition)];
    verdict_.final_records += std::ssize(read.records);
    const bool dense = log.rules().keeps != PartitionRules::Keeps::kNewestOfKey;
    std::int64_t expected = read.log_start;
    std::map<int, std::int64_t> last;  // producer -> sequence
    for (const FinalRead::Record& record : read.records) {
      if (dense ? record.offset != expected : record.offset < expected) {
        verdict_.findings.Add(Anomaly::kNotDense, partition, record.offset, [&] {
          return absl::StrFormat("%s: offset %d where %d was due", NameOf(partition), record.offset,
                                 expected);
        });
      }
      expected = record.offset + 1;
      CheckKnown(history_, partition, record.offset, record.value, "the final read",
                 verdict_.findings);
      const auto [entry, first] =
          last.try_emplace(ProducerOf(record.value), SequenceOf(record.value));
      if (!first && SequenceOf(record.value) < entry->second) {
        verdict_.findings.Add(Anomaly::kReordered, partition, record.offset, [&] {
          return absl::StrFormat("%s at %d: %s stands behind that producer's number %d",
                                 NameOf(partition), record.offset, TextOf(record.value),
                                 entry->second);
        });
      }
      entry->second = SequenceOf(record.value);
    }
    log.ForEachDuplicate([&](std::int64_t first, std::int64_t second, Value value) {
      verdict_.findings.Add(Anomaly::kDuplicated, partition, second, [&] {
        return absl::StrFormat("%s: %s stands at %d and at %d", NameOf(partition), TextOf(value),
                               first, second);
      });
    });
  }

  // ---- what was sent ----

  void CheckSend(Value value, const SentRecord& sent) {
    const FinalLog& log = logs_[static_cast<std::size_t>(sent.partition)];
    const std::optional<std::int64_t> present = log.OffsetOf(value);
    if (sent.outcome == Outcome::kRefused) {
      ++verdict_.refused;
      return;  // that it is nowhere is seen where it would be read
    }
    if (present.has_value()) {
      survivors_[static_cast<std::size_t>(sent.partition)].push_back(
          {sent.invoked, sent.returned, *present, value, sent.outcome == Outcome::kAppended});
    }
    if (sent.outcome == Outcome::kUnknown) {
      ++verdict_.unknown;
      if (present.has_value()) ++verdict_.unknown_present;
      return;
    }
    ++(sent.promised == Durability::kDurable ? verdict_.acked_durable : verdict_.acked_written);
    CheckAppended(log, value, sent, present);
  }

  void CheckAppended(const FinalLog& log, Value value, const SentRecord& sent,
                     std::optional<std::int64_t> present) {
    if (present.has_value()) {
      if (log.ValueAt(sent.offset) != value) {
        verdict_.findings.Add(Anomaly::kInconsistent, sent.partition, *present, [&] {
          return absl::StrFormat("%s: %s was acknowledged at %d and stands at %d", log.rules().name,
                                 TextOf(value), sent.offset, *present);
        });
      }
      return;
    }
    const std::optional<std::size_t> cut =
        sent.promised == Durability::kDurable ? std::nullopt : PowerCutAfter(sent);
    if (log.MayBeGone(sent.offset, value)) {
      // Where a power cut may have taken it, another may have had the offset afterwards.
      if (cut.has_value()) return;
      gone_[static_cast<std::size_t>(sent.partition)].push_back({sent.offset, value});
      return;
    }
    if (cut.has_value()) return CountLoss(sent, *cut);
    const std::optional<Value> there = log.ValueAt(sent.offset);
    if (there.has_value()) {
      verdict_.findings.Add(Anomaly::kInconsistent, sent.partition, sent.offset, [&] {
        return absl::StrFormat("%s at %d: %s was acknowledged there, and there is %s",
                               log.rules().name, sent.offset, TextOf(value), TextOf(*there));
      });
    }
    verdict_.findings.Add(Anomaly::kLost, sent.partition, sent.offset, [&] {
      return absl::StrFormat("%s: %s, acknowledged as %s at %d, is not there; at that offset: %s",
                             log.rules().name, TextOf(value), ToString(sent.promised), sent.offset,
                             there.has_value() ? TextOf(*there) : "nothing");
    });
  }

  // The first power cut that may have taken it if it was only written; a fault's place.
  std::optional<std::size_t> PowerCutAfter(const SentRecord& sent) const {
    for (std::size_t i = 0; i < history_.faults.size(); ++i) {
      const Fault& fault = history_.faults[i];
      if (fault.kind == Fault::Kind::kPowerCut && fault.over >= sent.invoked) return i;
    }
    return std::nullopt;
  }

  void CountLoss(const SentRecord& sent, std::size_t cut) {
    auto& losses = verdict_.written_losses;
    auto loss = std::find_if(losses.begin(), losses.end(),
                             [&](const Verdict::LossInCut& l) { return l.fault == cut; });
    if (loss == losses.end()) loss = losses.insert(losses.end(), {.fault = cut});
    ++loss->records;
    const auto age = static_cast<double>(history_.faults[cut].over - sent.returned) / 1e6;
    loss->oldest_ms = std::max(loss->oldest_ms, age);
  }

  // Retention and compaction take records away, but never make one offset mean two of them.
  void CheckGone(std::int32_t partition) {
    auto& gone = gone_[static_cast<std::size_t>(partition)];
    std::sort(gone.begin(), gone.end());
    for (std::size_t i = 1; i < gone.size(); ++i) {
      if (gone[i].first != gone[i - 1].first || gone[i].second == gone[i - 1].second) continue;
      verdict_.findings.Add(Anomaly::kInconsistent, partition, gone[i].first, [&] {
        return absl::StrFormat("%s at %d: both %s and %s", NameOf(partition), gone[i].first,
                               TextOf(gone[i - 1].second), TextOf(gone[i].second));
      });
    }
  }

  // ---- what happened before what ----

  struct Survivor {
    std::int64_t invoked, returned, offset;
    Value value;
    bool acknowledged;
  };

  // Whatever is sent after an acknowledgement came stands behind the record that it is for.
  void CheckRealTime(std::int32_t partition) {
    auto& survivors = survivors_[static_cast<std::size_t>(partition)];
    std::vector<const Survivor*> returned;
    for (const Survivor& survivor : survivors) {
      if (survivor.acknowledged) returned.push_back(&survivor);
    }
    std::sort(returned.begin(), returned.end(),
              [](const Survivor* a, const Survivor* b) { return a->returned < b->returned; });
    std::vector<const Survivor*> invoked;
    for (const Survivor& survivor : survivors) invoked.push_back(&survivor);
    std::sort(invoked.begin(), invoked.end(),
              [](const Survivor* a, const Survivor* b) { return a->invoked < b->invoked; });
    const Survivor* furthest = nullptr;
    auto next = returned.begin();
    for (const Survivor* later : invoked) {
      for (; next != returned.end() && (*next)->returned < later->invoked; ++next) {
        if (furthest == nullptr || (*next)->offset > furthest->offset) furthest = *next;
      }
      if (furthest == nullptr || later->offset > furthest->offset) continue;
      verdict_.findings.Add(Anomaly::kOvertaken, partition, later->offset, [&] {
        return absl::StrFormat("%s at %d: %s was sent after %s was acknowledged at %d",
                               NameOf(partition), later->offset, TextOf(later->value),
                               TextOf(furthest->value), furthest->offset);
      });
    }
  }

  void CheckEndReads() {
    std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> visible(logs_.size());
    for (std::size_t producer = 0; producer < history_.sends.size(); ++producer) {
      for (std::size_t i = 0; i < history_.sends[producer].size(); ++i) {
        const SentRecord& sent = history_.sends[producer][i];
        const auto p = static_cast<std::size_t>(sent.partition);
        if (sent.outcome != Outcome::kAppended) continue;
        const Value value = MakeValue(static_cast<int>(producer), static_cast<std::int64_t>(i));
        // On a durable topic a record that is only written is not visible yet.
        if (sent.promised < logs_[p].rules().durability) continue;
        // What a power cut took back was visible once.
        if (!logs_[p].OffsetOf(value) && !logs_[p].MayBeGone(sent.offset, value)) continue;
        visible[p].emplace_back(sent.returned, sent.offset);
      }
    }
    for (auto& partition : visible) {
      std::sort(partition.begin(), partition.end());
      std::int64_t furthest = -1;
      for (auto& [returned, offset] : partition) offset = furthest = std::max(furthest, offset);
    }
    for (const EndRead& read : history_.end_reads) {
      const auto& sends = visible[static_cast<std::size_t>(read.partition)];
      auto after = std::lower_bound(sends.begin(), sends.end(), std::pair(read.invoked, INT64_MIN));
      if (after == sends.begin() || std::prev(after)->second < read.end) continue;
      verdict_.findings.Add(Anomaly::kEndMisses, read.partition, read.end, [&] {
        return absl::StrFormat("%s: the end was %d after offset %d had been acknowledged",
                               NameOf(read.partition), read.end, std::prev(after)->second);
      });
    }
  }

  const History& history_;
  std::vector<FinalLog> logs_;
  std::vector<std::vector<Survivor>> survivors_;
  std::vector<std::vector<std::pair<std::int64_t, Value>>> gone_;  // (offset, value)
  Verdict verdict_;
};

}  // namespace

Verdict CheckHistory(const History& history) { return Checker(history).Run(); }

std::string CountsText(const Verdict& v) {
  std::string text = absl::StrFormat(
      "acknowledged durable %d, written %d; refused %d; unknown %d (in the log: %d)\n"
      "read %d; in the log at the end %d; notices: trimmed %d, truncated %d\n"
      "lost %d, duplicated %d, reordered %d\n",
      v.acked_durable, v.acked_written, v.refused, v.unknown, v.unknown_present, v.read,
      v.final_records, v.trimmed_notices, v.truncated_notices, v.findings.count(Anomaly::kLost),
      v.findings.count(Anomaly::kDuplicated),
      v.findings.count(Anomaly::kReordered) + v.findings.count(Anomaly::kOvertaken));
  std::int64_t records = 0;
  double oldest_ms = 0;
  for (const Verdict::LossInCut& loss : v.written_losses) {
    records += loss.records;
    oldest_ms = std::max(oldest_ms, loss.oldest_ms);
  }
  if (!v.written_losses.empty()) {
    text += absl::StrFormat(
        "taken back by power cuts, as written acknowledgements allow: %d records in %d cuts, at "
        "most %.0f ms after the acknowledgement\n",
        records, v.written_losses.size(), oldest_ms);
  }
  return text;
}

}  // namespace cairn::test
