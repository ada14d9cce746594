#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"
#include "tests/crash/life_batches.h"

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

  explicit LogHistory(Keeps keeps = Keeps::kAll) : keeps_(keeps), batches_(keeps) {}
  Keeps keeps() const { return keeps_; }

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
  // of a compacted log no newest record of a key; nothing stands there that was refused, twice, or
  // in another place. Empty, or what is wrong.
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

  // What was found in a log so far.
  struct Found {
    std::vector<bool> batches;
    std::size_t next_number = 0;
    std::optional<Offset> next;
    std::map<std::string, Offset> newest;  // of each key
  };
  std::string Take(const RecordBatchView& batch, Offset log_start, Found& found);
  bool MustBeThere(const Attempt& attempt, Offset log_start, Lost lost) const;
  std::string FindMissing(Offset log_start, Lost lost, const Found& found) const;
  std::string FindMissingKey(Offset log_start, Lost lost, const Found& found) const;

  Keeps keeps_;
  LifeBatches batches_;
  std::vector<Attempt> attempts_;
  Clock clock_;
  std::vector<Promise> promises_;
  Offset start_min_{0};
  Offset start_max_{0};
  Offset end_{0};
  Offset durable_end_{0};
};

}  // namespace cairn::storage
