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

#include "storage/log.h"

namespace cairn::storage {

// What was asked of a log and what came of it, kept over its lives: by this it is judged what may,
// must and must not stand in it.
class LogHistory {
 public:
  enum class Outcome {
    kWritten,  // the append succeeded: survives the death of the process
    kDurable,  // and was acknowledged as durable: survives a power cut
    kRefused,  // not appended, and never to be seen
    kUnknown,  // may be there or not
  };

  // The bytes of the next batch to append; then what became of it.
  Bytes Next();
  void Appended(Offset base);
  void NotAppended(Outcome outcome);
  void BecameDurable(Offset end);
  void StartMayBe(Offset start) { start_max_ = start; }
  void StartIs(Offset start);

  // From now on it is noted by this clock when something was promised; At then gives what had been
  // promised by a time. It never falls.
  using Clock = std::function<std::uint64_t()>;
  void NotePromisesBy(Clock clock) { clock_ = std::move(clock); }
  LogHistory At(std::uint64_t time) const;

  Offset end() const { return end_; }
  Offset durable_end() const { return durable_end_; }

  enum class Lost { kNothing, kUnsynced };
  // Compares with what a log holds, all of it in order: nothing of what must be there is missing,
  // nothing stands there that was refused, twice, or in another place. Empty, or what is wrong.
  [[nodiscard]] std::string Compare(Offset log_start, Offset log_end, ByteView bytes,
                                    Lost lost) const;
  // The same, and what is there now is all there is: what is gone must not come back.
  [[nodiscard]] std::string Settle(Offset log_start, Offset log_end, ByteView bytes, Lost lost);

 private:
  struct Attempt {
    Outcome outcome = Outcome::kUnknown;
    Offset base = kNoOffset;
  };

  struct Promise {
    std::uint64_t time = 0;
    Offset durable_end, start;
  };
  void NotePromise();

  std::vector<Attempt> attempts_;
  Clock clock_;
  std::vector<Promise> promises_;
  Offset start_min_{0};
  Offset start_max_{0};
  Offset end_{0};
  Offset durable_end_{0};
};

// One log from start to start, driven as the broker drives it, by a script that leaves nothing out
// that the storage can do. Every call may fail; what that means is noted in the history, and what
// it must not mean is a `complaint`.
class LogLife {
 public:
  LogLife(std::filesystem::path path, LogHistory& history)
      : path_(std::move(path)), history_(history) {}

  // All of it: several lives with clean stops and kills between them. Ends as with kill -9, at the
  // first start that fails twice.
  void Run();
  // One start, a look at everything, some more records, and kill -9.
  void RunOnce(LogHistory::Lost lost);

  // What should never be; empty.
  const std::string& complaint() const { return complaint_; }
  // Whether an append was refused for want of room and then the next try as well.
  bool stayed_full() const { return stayed_full_; }

  static constexpr std::int32_t kRecords = 3;  // in a batch

 private:
  void RunScript();
  bool Start(LogHistory::Lost lost);
  absl::Status Open();
  void Kill();
  void StopCleanly();
  void LeaveTornTail();
  void Append();
  void Commit();
  void SyncFrontier();
  void Seal();
  void Trim(Offset before);
  void Look();
  bool Settle();
  void Judge(const std::string& wrong);
  std::optional<Bytes> ReadAll();
  void Complain(const std::string& what);

  const std::filesystem::path path_;
  LogHistory& history_;
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
};

}  // namespace cairn::storage
