#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

#include "storage/compactor.h"
#include "storage/log.h"
#include "tests/crash/log_history.h"

namespace cairn::storage {

// One log from start to start, driven as the broker drives it, by a script that leaves nothing out
// that the storage can do. Every call may fail; what that means is noted in the history, and what
// it must not mean is a `complaint`.
class LogLife {
 public:
  // A log that keeps what the history says.
  LogLife(std::filesystem::path path, LogHistory& history);

  // All of it: several lives with clean stops and kills between them. Ends as with kill -9, at the
  // first start that fails twice.
  void Run();
  // A log of `segments` segments, all of them durable, and one trim that drops almost all;
  // `before_trim` is called in between.
  void RunLongTrim(int segments, const std::function<void()>& before_trim);
  // One start, a look at everything, some more records, and kill -9.
  void RunOnce(LogHistory::Lost lost);

  // What should never be; empty.
  const std::string& complaint() const { return complaint_; }
  // Whether an append or a cleaning found no room and then the next try none as well.
  bool stayed_full() const { return stayed_full_; }
  // How often a cleaned segment took the place of others.
  int swaps() const { return swaps_; }

 private:
  void RunScript();
  void RunCompactedScript();
  bool Start(LogHistory::Lost lost);
  absl::Status Open();
  void Kill();
  void StopCleanly();
  void LeaveTornTail();
  void Append();
  void AppendSome(int batches);
  void Commit();
  void SyncFrontier();
  void Seal();
  void Roll();
  void Trim(Offset before);
  void Clean();
  absl::Status TryClean();
  absl::Status SwapIn(const CleanedSegment& cleaned);
  void CleanEverything();
  std::int32_t CountLogFiles() const;
  void Look();
  bool Settle();
  void Judge(const std::string& wrong);
  std::optional<Bytes> ReadAll();
  void Complain(const std::string& what);

  const std::filesystem::path path_;
  LogHistory& history_;
  const LogOptions options_;
  std::unique_ptr<DataDir> data_dir_;
  std::unique_ptr<Log> log_;
  RecoveryReport report_;
  absl::Status start_failure_;
  std::vector<SyncPlan> synced_;  // what the frontier has not been told of yet
  absl::Status frontier_status_;
  LogHistory::Lost lost_ = LogHistory::Lost::kNothing;  // what the life before may have
  bool failed_ = false;                                 // an append said so
  Timestamp now_{1'700'000'000'000};
  std::string complaint_;
  bool stayed_full_ = false;
  int swaps_ = 0;
};

}  // namespace cairn::storage
