#include "tests/crash/log_history.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/limits.h"

namespace cairn::storage {

Bytes LogHistory::Next() {
  attempts_.push_back({});
  return batches_.Make(attempts_.size() - 1);
}

void LogHistory::Appended(Offset base) {
  attempts_.back() = {.outcome = Outcome::kWritten, .base = base};
  end_ = base + LifeBatches::kRecords;
}

void LogHistory::NotAppended(Outcome outcome) { attempts_.back().outcome = outcome; }

void LogHistory::BecameDurable(Offset end) {
  durable_end_ = std::max(durable_end_, end);
  for (Attempt& attempt : attempts_) {
    if (attempt.outcome == Outcome::kWritten && attempt.base < end) {
      attempt.outcome = Outcome::kDurable;
    }
  }
  NotePromise();
}

void LogHistory::StartIs(Offset start) {
  start_min_ = start;
  NotePromise();
}

void LogHistory::NotePromise() {
  if (clock_) promises_.push_back({clock_(), durable_end_, start_min_});
}

LogHistory LogHistory::At(std::uint64_t time) const {
  LogHistory then = *this;
  then.clock_ = nullptr;
  then.durable_end_ = then.start_min_ = Offset(0);
  for (const Promise& promise : promises_) {
    if (promise.time > time) break;
    then.durable_end_ = promise.durable_end;
    then.start_min_ = promise.start;
  }
  for (Attempt& attempt : then.attempts_) {
    if (attempt.base == kNoOffset) continue;
    attempt.outcome = attempt.base < then.durable_end_ ? Outcome::kDurable : Outcome::kWritten;
  }
  return then;
}

std::string LogHistory::Compare(Offset log_start, Offset log_end, ByteView bytes, Lost lost) const {
  LogHistory copy = *this;
  return copy.Settle(log_start, log_end, bytes, lost);
}

std::string LogHistory::Settle(Offset log_start, Offset log_end, ByteView bytes, Lost lost) {
  if (log_start < start_min_ || log_start > start_max_) {
    return absl::StrFormat("the log starts at %d, and not from %d to %d", log_start.value(),
                           start_min_.value(), start_max_.value());
  }
  Found found;
  found.batches.resize(attempts_.size(), false);
  for (ByteView rest = bytes; !rest.empty();) {
    const absl::StatusOr<RecordBatchView> batch = RecordBatchView::Parse(rest);
    if (!batch.ok()) return "a batch that is none: " + batch.status().ToString();
    std::string wrong = Take(*batch, log_start, found);
    if (!wrong.empty()) return wrong;
    rest = rest.subspan(batch->size());
  }
  if (found.next.value_or(log_end) != log_end) {
    return absl::StrFormat("the last batch ends at %d, and the log at %d", found.next->value(),
                           log_end.value());
  }
  std::string missing = keeps_ == Keeps::kAll ? FindMissing(log_start, lost, found)
                                              : FindMissingKey(log_start, lost, found);
  if (!missing.empty()) {
    return absl::StrFormat("%s; the log is from %d to %d", missing, log_start.value(),
                           log_end.value());
  }
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    Attempt& attempt = attempts_[i];
    const bool was_trimmed =
        attempt.base != kNoOffset && attempt.base + LifeBatches::kRecords <= log_start;
    if (found.batches[i] || was_trimmed || MustBeThere(attempt, log_start, lost)) continue;
    attempt.outcome = Outcome::kRefused;
  }
  start_min_ = log_start;
  end_ = log_end;
  durable_end_ = log_end;
  NotePromise();
  return "";
}

// The next batch that was found; what is wrong with it.
std::string LogHistory::Take(const RecordBatchView& batch, Offset log_start, Found& found) {
  const Offset base = batch.base_offset();
  const std::optional<std::size_t> number = batches_.NumberOf(batch);
  if (!number || *number >= attempts_.size()) {
    return absl::StrFormat("a batch at offset %d that nobody sent", base.value());
  }
  if (*number < found.next_number) {
    return absl::StrFormat("batch %d at offset %d stands after batch %d", *number, base.value(),
                           found.next_number - 1);
  }
  const bool follows = found.next.has_value() ? base == *found.next : base <= log_start;
  const bool is_behind = base >= found.next.value_or(Offset(0));
  if (keeps_ == Keeps::kAll ? !follows : !is_behind) {
    return absl::StrFormat("a batch at offset %d, expected at %d", base.value(),
                           found.next.value_or(log_start).value());
  }
  Attempt& attempt = attempts_[*number];
  if (attempt.outcome == Outcome::kRefused) {
    return absl::StrFormat("batch %d at offset %d was refused", *number, base.value());
  }
  if (attempt.base != kNoOffset && attempt.base != base) {
    return absl::StrFormat("batch %d is at offset %d, but was told to be at %d", *number,
                           base.value(), attempt.base.value());
  }
  attempt = {.outcome = Outcome::kDurable, .base = base};
  found.batches[*number] = true;
  found.next_number = *number + 1;
  found.next = batch.next_offset();
  RecordReader reader;
  RecordView record;
  const bool has_keys = keeps_ != Keeps::kAll && reader.Open(batch, kDecompressedBytesMax).ok();
  while (has_keys && reader.Next(record)) {
    found.newest[std::string(AsText(record.key.value()))] = record.offset;
  }
  return "";
}

bool LogHistory::MustBeThere(const Attempt& attempt, Offset log_start, Lost lost) const {
  const bool was_trimmed =
      attempt.base != kNoOffset && attempt.base + LifeBatches::kRecords <= log_start;
  return !was_trimmed && (attempt.outcome == Outcome::kDurable ||
                          (attempt.outcome == Outcome::kWritten && lost == Lost::kNothing));
}

std::string LogHistory::FindMissing(Offset log_start, Lost lost, const Found& found) const {
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    const Attempt& attempt = attempts_[i];
    if (found.batches[i] || !MustBeThere(attempt, log_start, lost)) continue;
    return absl::StrFormat("batch %d, %s at offset %d, is missing", i,
                           attempt.outcome == Outcome::kDurable ? "durable" : "written",
                           attempt.base.value());
  }
  return "";
}

// Of all records with a key only the newest must be there, or one that may be newer still; and a
// tombstone may be gone, but not before all that it stands against.
std::string LogHistory::FindMissingKey(Offset log_start, Lost lost, const Found& found) const {
  struct Wanted {
    Offset offset;
    bool is_tombstone;
  };
  std::map<std::string, Wanted> wanted;
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    if (!MustBeThere(attempts_[i], log_start, lost)) continue;
    Offset offset = attempts_[i].base;
    for (const LifeBatches::Record& record : batches_.RecordsOf(i)) {
      if (offset >= log_start) wanted[*record.key] = {offset, !record.value.has_value()};
      offset = offset + 1;
    }
  }
  for (const auto& [key, each] : wanted) {
    const auto newest = found.newest.find(key);
    const bool is_fine =
        newest == found.newest.end() ? each.is_tombstone : newest->second >= each.offset;
    if (is_fine) continue;
    return absl::StrFormat("the newest record of key %s, at offset %d, is missing", key,
                           each.offset.value());
  }
  return "";
}

}  // namespace cairn::storage
