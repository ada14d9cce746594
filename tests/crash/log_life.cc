#include "tests/crash/log_life.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/record_batch_builder.h"
#include "protocol/status.h"
#include "tests/support/power_cut.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kValueBytes = 150;

LogOptions Options() {
  return {.segment_bytes = 3000,
          .segment_ms = 100'000,
          .index_interval_bytes = 256,
          .continue_bytes_max = 2500};
}

LogIdentity Identity() {
  TopicId id;
  id.bytes.fill(7);
  return {.topic = id, .name = "orders", .partition = PartitionIndex(0)};
}

// Records that carry the number of the attempt.
Bytes BatchOf(std::size_t number) {
  RecordBatchBuilder builder;
  for (std::int32_t i = 0; i < LogLife::kRecords; ++i) {
    std::string value = absl::StrFormat("%08d.%d.", number, i);
    value.resize(kValueBytes, static_cast<char>('a' + number % 26));
    builder.Add({.timestamp = Timestamp(1'700'000'000'000),
                 .key = std::nullopt,
                 .value = AsBytes(value),
                 .headers = {}});
  }
  absl::StatusOr<Bytes> batch =
      builder.Finish({.codec = Codec::kNone,
                      .producer_id = ProducerId(1),
                      .producer_epoch = ProducerEpoch(0),
                      .base_sequence = static_cast<std::int32_t>(number) * LogLife::kRecords});
  CAIRN_CHECK(batch.ok());
  return *std::move(batch);
}

// The number in a batch whose every byte is as BatchOf made it but for what the log stamps.
std::optional<std::size_t> NumberIn(const RecordBatchView& batch) {
  if (batch.base_sequence() < 0 || batch.base_sequence() % LogLife::kRecords != 0) {
    return std::nullopt;
  }
  const auto number = static_cast<std::size_t>(batch.base_sequence() / LogLife::kRecords);
  Bytes wanted = BatchOf(number);
  StampBatch(MutableBytes(wanted), batch.base_offset(), batch.leader_epoch());
  const bool is_same =
      std::equal(batch.bytes().begin(), batch.bytes().end(), wanted.begin(), wanted.end());
  return is_same ? std::optional(number) : std::nullopt;
}

bool IsFull(const absl::Status& status) { return CodeOf(status) == ErrorCode::kStorageFull; }

}  // namespace

Bytes LogHistory::Next() {
  attempts_.push_back({});
  return BatchOf(attempts_.size() - 1);
}

void LogHistory::Appended(Offset base) {
  attempts_.back() = {.outcome = Outcome::kWritten, .base = base};
  end_ = base + LogLife::kRecords;
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
  std::vector<bool> seen(attempts_.size(), false);
  std::size_t next_number = 0;
  std::optional<Offset> next;
  for (ByteView rest = bytes; !rest.empty();) {
    const absl::StatusOr<RecordBatchView> batch = RecordBatchView::Parse(rest);
    if (!batch.ok()) return "a batch that is none: " + batch.status().ToString();
    const Offset base = batch->base_offset();
    const std::optional<std::size_t> number = NumberIn(*batch);
    if (!number || *number >= attempts_.size()) {
      return absl::StrFormat("a batch at offset %d that nobody sent", base.value());
    }
    if (*number < next_number) {
      return absl::StrFormat("batch %d at offset %d stands after batch %d", *number, base.value(),
                             next_number - 1);
    }
    if (next.has_value() ? base != *next : base > log_start) {
      return absl::StrFormat("a batch at offset %d, expected at %d", base.value(),
                             next.value_or(log_start).value());
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
    seen[*number] = true;
    next_number = *number + 1;
    next = batch->next_offset();
    rest = rest.subspan(batch->size());
  }
  if (next.value_or(log_end) != log_end) {
    return absl::StrFormat("the last batch ends at %d, and the log at %d", next->value(),
                           log_end.value());
  }
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    Attempt& attempt = attempts_[i];
    const bool was_trimmed =
        attempt.base != kNoOffset && attempt.base + LogLife::kRecords <= log_start;
    if (seen[i] || was_trimmed) continue;
    const bool must_be_there = attempt.outcome == Outcome::kDurable ||
                               (attempt.outcome == Outcome::kWritten && lost == Lost::kNothing);
    if (must_be_there) {
      return absl::StrFormat("batch %d, %s at offset %d, is missing; the log is from %d to %d", i,
                             attempt.outcome == Outcome::kDurable ? "durable" : "written",
                             attempt.base.value(), log_start.value(), log_end.value());
    }
    attempt.outcome = Outcome::kRefused;
  }
  start_min_ = log_start;
  end_ = log_end;
  durable_end_ = log_end;
  NotePromise();
  return "";
}

void LogLife::Complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = what;
}

void LogLife::Run() {
  RunScript();
  Kill();
}

void LogLife::RunScript() {
  if (!Start(LogHistory::Lost::kNothing)) return;
  for (int i = 0; i < 3; ++i) Append();
  Commit();
  for (int i = 0; i < 12; ++i) {
    Append();
    if (i % 3 == 0) Commit();
  }
  Seal();
  Look();
  (void)log_->WriteProducerSnapshot();
  Commit();
  SyncFrontier();
  Trim(history_.durable_end() - 20);
  Append();
  StopCleanly();
  if (!Start(LogHistory::Lost::kNothing)) return;
  (void)log_->CloseIdle();
  Look();
  for (int i = 0; i < 4; ++i) Append();
  Commit();
  Append();
  Kill();
  LeaveTornTail();
  if (!Start(LogHistory::Lost::kNothing)) return;
  for (int i = 0; i < 9; ++i) Append();
  now_ = now_ + Options().segment_ms + 1;
  (void)log_->RollIfOld(now_);
  Append();
  Commit();
  Seal();
  Trim(history_.durable_end());
  Append();
  Commit();
  Append();
  Look();
}

void LogLife::RunOnce(LogHistory::Lost lost) {
  if (!Start(lost)) return Complain("no start without faults: " + start_failure_.ToString());
  for (int i = 0; i < 2; ++i) {
    Append();
    Commit();
  }
  if (log_->log_end() != history_.durable_end()) Complain("no commit without faults");
  Look();
  Kill();
}

absl::Status LogLife::Open() {
  report_ = {};
  ASSIGN_OR_RETURN(data_dir_, DataDir::Open(path_));
  absl::StatusOr<std::unique_ptr<Log>> log =
      Log::Open(*data_dir_, Identity(), Options(), now_, report_);
  if (!log.ok()) data_dir_.reset();
  RETURN_IF_ERROR(log.status());
  log_ = *std::move(log);
  return absl::OkStatus();
}

// The operator tries again, once.
bool LogLife::Start(LogHistory::Lost lost) {
  absl::Status opened = Open();
  if (!opened.ok()) opened = Open();
  if (!opened.ok()) {
    start_failure_ = opened;
    return false;
  }
  // What a failed sync was to write may be gone, whatever was read meanwhile.
  const bool sync_failed = faults::PowerCut::Get().sync_failed();
  if (lost == LogHistory::Lost::kUnsynced || sync_failed) lost_ = LogHistory::Lost::kUnsynced;
  synced_.clear();
  frontier_status_ = absl::OkStatus();
  failed_ = false;
  if (!report_.damage.ok()) {
    Complain("called damaged: " + report_.damage.ToString());
    return false;
  }
  return Settle();
}

void LogLife::Kill() {
  synced_.clear();
  log_.reset();
  data_dir_.reset();
}

void LogLife::StopCleanly() {
  Commit();
  const absl::StatusOr<std::optional<DurableEnd>> end = log_->CloseClean();
  const bool is_clean = end.ok() && synced_.empty() && frontier_status_.ok();
  if (is_clean && (!end->has_value() || data_dir_->frontier().Note({&**end, 1}).ok())) {
    (void)data_dir_->frontier().CloseClean();
  }
  Kill();
}

// What a power cut in the midst of an append leaves: the first half of the next batch.
void LogLife::LeaveTornTail() {
  const std::filesystem::path directory = path_ / "orders-0";
  std::error_code error;
  std::filesystem::path last;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".log") last = std::max(last, entry.path());
  }
  if (last.empty()) return;
  std::ifstream file(last, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto batch = RecordBatchView::ParseHeader(AsBytes(bytes).subspan(at));
    if (!batch.ok()) break;
    at += batch->size();
  }
  Bytes torn = BatchOf(99'999);
  StampBatch(MutableBytes(torn), history_.end(), LeaderEpoch(1));
  std::fstream out(last, std::ios::binary | std::ios::in | std::ios::out);
  out.seekp(static_cast<std::streamoff>(at));
  out.write(reinterpret_cast<const char*>(torn.data()),
            static_cast<std::streamsize>(torn.size() / 2));
}

void LogLife::Append() {
  for (int tries = 0; tries < 2; ++tries) {
    Bytes batch = history_.Next();
    const absl::StatusOr<Offset> base = log_->Append(MutableBytes(batch), now_);
    if (base.ok()) {
      if (failed_) Complain("an append after one that failed for good");
      history_.Appended(*base);
      return;
    }
    if (!IsFull(base.status())) {
      if (log_->write_state().ok()) Complain("failed, yet writable: " + base.status().ToString());
      failed_ = true;
      history_.NotAppended(LogHistory::Outcome::kUnknown);
      return;
    }
    if (failed_) Complain("failed for good, then only full");
    history_.NotAppended(LogHistory::Outcome::kRefused);
  }
  stayed_full_ = true;
}

// As the flusher does it: sync, note in the frontier, and only then tell.
void LogLife::Commit() {
  SyncPlan plan = log_->TakeUnsynced();
  if (!plan.empty()) {
    const absl::Status outcome = plan.Sync();
    if (outcome.ok()) {
      synced_.push_back(std::move(plan));
    } else {
      failed_ = true;
      log_->MarkSyncFailed(plan, outcome);
    }
  }
  if (synced_.empty()) return;
  const DurableEnd end = synced_.back().durable_end();
  absl::Status noted = frontier_status_;
  for (int tries = 0; tries < 2 && frontier_status_.ok(); ++tries) {
    noted = data_dir_->frontier().Note({&end, 1});
    if (!IsFull(noted)) break;
  }
  if (IsFull(noted)) return;  // the next commit tries again
  frontier_status_ = noted;
  for (const SyncPlan& each : synced_) {
    if (noted.ok()) {
      log_->MarkSynced(each);
    } else {
      failed_ = true;
      log_->MarkSyncFailed(each, noted);
    }
  }
  synced_.clear();
  if (noted.ok()) history_.BecameDurable(end.end);
}

void LogLife::SyncFrontier() {
  if (frontier_status_.ok()) frontier_status_ = data_dir_->frontier().Sync();
}

void LogLife::Seal() {
  for (int i = 0; i < 10; ++i) {
    std::optional<Log::SealTask> task = log_->TakeSealTask();
    if (!task.has_value()) return;
    const absl::Status outcome = task->Run();
    const absl::Status finished = log_->FinishSeal(*std::move(task), outcome);
    if (!finished.ok()) return;
  }
}

void LogLife::Trim(Offset before) {
  before = std::max(before, Offset(0));
  history_.StartMayBe(before);
  const absl::StatusOr<Log::Trim> trim = log_->TrimTo(before);
  if (!trim.ok()) return;
  if (!log_->FinishTrim(*trim, trim->Sync()).ok()) return;
  history_.StartIs(log_->log_start());
  for (const auto& segment : trim->dropped) (void)segment->Remove();
}

std::optional<Bytes> LogLife::ReadAll() {
  Bytes all;
  ReadCursor cursor;
  Offset from = log_->log_start();
  int tries = 0;
  while (from < log_->log_end()) {
    const absl::StatusOr<LogRead> read = log_->Read(from, log_->log_end(), 1 << 20, cursor);
    if (!read.ok() || ++tries > 100) return std::nullopt;
    if (read->cold != nullptr) {
      if (!read->cold->Prepare(read->cold_position).ok()) return std::nullopt;
      continue;
    }
    AppendBytes(all, read->view.bytes);
    from = read->next;
  }
  return all;
}

void LogLife::Look() {
  const std::optional<Bytes> bytes = ReadAll();
  if (!bytes.has_value()) return;
  Judge(history_.Compare(log_->log_start(), log_->log_end(), *bytes, lost_));
}

// Finds out what the life before has left. False: the disk would not tell, even when asked again.
bool LogLife::Settle() {
  std::optional<Bytes> bytes = ReadAll();
  if (!bytes.has_value()) bytes = ReadAll();
  if (!bytes.has_value()) {
    start_failure_ = absl::UnavailableError("what is there cannot be read");
    return false;
  }
  Judge(history_.Settle(log_->log_start(), log_->log_end(), *bytes, lost_));
  lost_ = LogHistory::Lost::kNothing;
  return true;
}

void LogLife::Judge(const std::string& wrong) {
  if (!wrong.empty()) Complain(wrong);
}

}  // namespace cairn::storage
