#include "tests/crash/log_life.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/status.h"
#include "tests/support/power_cut.h"

namespace cairn::storage {
namespace {

LogOptions OptionsFor(Keeps keeps) {
  LogOptions options{.segment_bytes = 3000,
                     .segment_ms = 100'000,
                     .index_interval_bytes = 256,
                     .continue_bytes_max = 2500};
  options.compaction.enabled = keeps == Keeps::kNewestOfKey;
  options.compaction.min_dirty_ratio = 0;
  options.compaction.delete_retention_ms = 0;
  return options;
}

LogIdentity Identity() {
  TopicId id;
  id.bytes.fill(7);
  return {.topic = id, .name = "orders", .partition = PartitionIndex(0)};
}

bool IsFull(const absl::Status& status) { return CodeOf(status) == ErrorCode::kStorageFull; }

}  // namespace

LogLife::LogLife(std::filesystem::path path, LogHistory& history)
    : path_(std::move(path)), history_(history), options_(OptionsFor(history.keeps())) {}

void LogLife::Complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = what;
}

void LogLife::Run() {
  if (history_.keeps() == Keeps::kAll) {
    RunScript();
  } else {
    RunCompactedScript();
  }
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
  if (const auto snapshot = log_->TakeProducerSnapshot()) (void)snapshot->Write();
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
  Roll();
  Append();
  Commit();
  Seal();
  Trim(history_.durable_end());
  Append();
  Commit();
  Append();
  Look();
}

// As above, where all that is sealed and durable is cleaned at once: with nothing clean yet, behind
// what is clean already, with segments that become one, after a start, and beside a trim.
void LogLife::RunCompactedScript() {
  if (!Start(LogHistory::Lost::kNothing)) return;
  AppendSome(11);
  Seal();
  Clean();
  StopCleanly();
  if (!Start(LogHistory::Lost::kNothing)) return;
  AppendSome(5);
  Append();
  Seal();
  Clean();
  Look();
  Kill();
  LeaveTornTail();
  if (!Start(LogHistory::Lost::kNothing)) return;
  Roll();
  Append();
  Commit();
  Seal();
  Trim(history_.durable_end() - 20);
  Clean();
  Append();
  Commit();
  Look();
}

void LogLife::RunLongTrim(int segments, const std::function<void()>& before_trim) {
  if (!Start(LogHistory::Lost::kNothing)) return;
  for (int i = 0; i < segments; ++i) {
    Append();
    Roll();
  }
  Append();
  Commit();
  SyncFrontier();
  before_trim();
  Trim(history_.durable_end() - 1);
  Kill();
}

void LogLife::AppendSome(int batches) {
  for (int i = 0; i < batches; ++i) {
    Append();
    if (i % 4 == 3) Commit();
  }
  Commit();
}

void LogLife::Roll() {
  now_ = now_ + options_.segment_ms + 1;
  (void)log_->RollIfOld(now_);
}

void LogLife::RunOnce(LogHistory::Lost lost) {
  if (!Start(lost)) return Complain("no start without faults: " + start_failure_.ToString());
  for (int i = 0; i < 2; ++i) {
    Append();
    Commit();
  }
  if (log_->log_end() != history_.durable_end()) Complain("no commit without faults");
  if (history_.keeps() != Keeps::kAll) CleanEverything();
  Look();
  Kill();
}

// Without faults there is no reason for anything to stay as it was.
void LogLife::CleanEverything() {
  Roll();
  Seal();
  Clean();
  if (log_->CompactionNeed(history_.durable_end(), now_) > 0) Complain("not clean without faults");
  const std::int32_t files = CountLogFiles();
  if (files == log_->segment_count()) return;
  Complain(absl::StrFormat("%d log files of %d segments", files, log_->segment_count()));
}

std::int32_t LogLife::CountLogFiles() const {
  std::int32_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path_ / "orders-0")) {
    count += entry.path().extension() == ".log" ? 1 : 0;
  }
  return count;
}

absl::Status LogLife::Open() {
  report_ = {};
  ASSIGN_OR_RETURN(data_dir_, DataDir::Open(path_));
  absl::StatusOr<std::unique_ptr<Log>> log =
      Log::Open(*data_dir_, Identity(), options_, now_, report_);
  if (!log.ok()) data_dir_.reset();
  RETURN_IF_ERROR(log.status());
  log_ = *std::move(log);
  // A failure leaves it to the next start.
  for (const Leftover& leftover : report_.leftovers) {
    (void)ClearLeftover(*data_dir_, leftover, [] { return false; });
  }
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
  Bytes torn = LifeBatches(history_.keeps()).Make(99'999);
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

// As the partition does it. On a full disk it is tried once more.
void LogLife::Clean() {
  for (int tries = 0; tries < 2; ++tries) {
    const absl::Status cleaned = TryClean();
    if (CodeOf(cleaned) == ErrorCode::kPartitionOffline) {
      Complain("cleaning called it damaged: " + cleaned.ToString());
    }
    if (!IsFull(cleaned)) return;
  }
  stayed_full_ = true;
}

absl::Status LogLife::TryClean() {
  std::optional<CompactionPlan> plan = log_->PlanCompaction(history_.durable_end(), now_);
  if (!plan.has_value()) return absl::OkStatus();
  Compactor compactor(*std::move(plan), {}, now_);
  RETURN_IF_ERROR(compactor.ReadKeys());
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<CleanedSegment> cleaned, compactor.Next());
    if (!cleaned.has_value()) return absl::OkStatus();
    RETURN_IF_ERROR(SwapIn(*cleaned));
  }
}

absl::Status LogLife::SwapIn(const CleanedSegment& cleaned) {
  const absl::StatusOr<Log::Trim> swap = log_->Swap(cleaned);
  if (!swap.ok()) {
    (void)cleaned.segment->Remove();
    return swap.status();
  }
  RETURN_IF_ERROR(log_->FinishTrim(*swap, swap->Sync()));
  ++swaps_;
  for (const auto& segment : swap->dropped) RETURN_IF_ERROR(segment->Remove());
  return absl::OkStatus();
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
    tries = 0;
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
