#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"
#include "storage/compactor.h"
#include "storage/log.h"
#include "storage/retention.h"

namespace cairn::broker {

class Flusher;
class HelperPool;
class Janitor;
class OpenFiles;
struct Metrics;

// What every partition is built upon; all of it outlives them.
struct PartitionServices {
  Flusher& flusher;
  HelperPool& helpers;
  Janitor& janitor;
  OpenFiles& open_files;
  Metrics& metrics;
};

// One acknowledgement that had to wait for a group commit.
struct Ack {
  std::uint64_t correlation = 0;
  Offset base_offset;
  bool duplicate = false;
  // kDurable, or the error of the sync (ErrorCode::kOutcomeUnknown).
  absl::Status status;
};

// Whoever waits for acknowledgements: a connection, a state topic. Called by the flusher's thread,
// once per group commit with all that is due (or by whoever deletes the topic), without a lock
// held; must hand over quickly and not call back.
class AckSink {
 public:
  virtual ~AckSink() = default;
  virtual void Acknowledge(std::span<const Ack> acks) = 0;
};

// Whoever waits for more records. Called once per Watch, from any thread, without a lock held; must
// hand over quickly.
class EndWatcher {
 public:
  virtual ~EndWatcher() = default;
  virtual void OnEndMoved() = 0;
};

// What becomes of old records: dropped by age and size, thinned out to the newest of each key, or
// both.
enum class CleanupPolicy : int { kDelete, kCompact, kCompactAndDelete };

struct PartitionOptions {
  storage::LogOptions log;
  CleanupPolicy cleanup = CleanupPolicy::kDelete;
  storage::RetentionPolicy retention;  // does not apply where records are only compacted
  Durability durability = Durability::kDurable;
  std::int64_t flush_ms = 1000;
};

// One partition while the broker runs: the log, who waits for it, and the three ends:
//
//   log start <= durable end <= log end;   committed end = what consumers see:
//   the durable end on a `durable` topic, the log end on a `written` one.
//
// The only writer of its Log. Every method locks the one short mutex, never during a sync, and may
// be called from any thread. Shared ownership: the map, connections and helper threads hold it.
class Partition : public std::enable_shared_from_this<Partition> {
 public:
  // How to answer one Produce.
  struct AppendRequest {
    MutableBytes batch;  // one whole, validated batch; offset and epoch are stamped into it
    Durability wait_for =
        Durability::kDurable;       // kNone and kWritten are answered by the return value
    std::shared_ptr<AckSink> sink;  // with kDurable: who hears about it …
    std::uint64_t correlation = 0;  // … and under which number
    Timestamp now;
  };
  struct Appended {
    Offset base_offset;
    Durability durability = Durability::kWritten;  // reached now
    bool duplicate = false;
    bool pending = false;  // the sink will be told; the fields above are those of now
  };
  struct Ends {
    Offset log_start, log_end, durable_end, committed_end;
    LeaderEpoch leader_epoch;
  };
  struct State {  // for people
    Ends ends;
    std::int64_t bytes = 0;
    std::int32_t segments = 0;
    absl::Status write_state;
  };

  // Requires that what `log` holds is durable, as it is after Log::Open.
  Partition(std::unique_ptr<storage::Log> log, TopicPartition id, std::string topic_name,
            PartitionOptions options, PartitionServices services);
  // A partition that is there but cannot be served: every request is answered with `offline`.
  Partition(absl::Status offline, TopicPartition id, std::string topic_name,
            PartitionOptions options, PartitionServices services);

  const TopicPartition& id() const { return id_; }
  const std::string& topic_name() const { return topic_name_; }

  // Errors are those of ProducerTable::Check and Log::Append; ErrorCode::kUnknownTopic once
  // deleted; ErrorCode::kTooManyInFlight when too many files are open, which passes;
  // ErrorCode::kOutcomeUnknown for the repeat of a batch whose sync failed.
  absl::StatusOr<Appended> Append(AppendRequest request);

  // Up to the committed end; see Log::Read. An empty view with no cold segment: nothing there yet.
  absl::StatusOr<storage::LogRead> Read(Offset from, std::size_t bytes_max,
                                        storage::ReadCursor& cursor);
  // Checks what Read called cold on a helper thread, then calls `done` there.
  void Prepare(const storage::LogRead& cold, absl::AnyInvocable<void(absl::Status)> done);

  // Calls the watcher once when the committed end is, or gets, above `seen`, when records are
  // trimmed, or when the partition is deleted or goes offline. At once (false) if that is so
  // already.
  bool WatchEnd(Offset seen, std::shared_ptr<EndWatcher> watcher);
  void Unwatch(const EndWatcher* watcher);

  Ends ends() const;
  State state() const;
  absl::Status write_state() const;
  bool deleted() const;

  // ErrorCode::kTruncated if a reader whose last record was of `epoch` and that wants `offset` next
  // has seen records that a power cut took back; gives the lost range.
  struct Lost {
    Offset from, to;
  };
  std::optional<Lost> CheckEpoch(LeaderEpoch epoch, Offset offset) const;

  // On a helper thread: the first record at or after `time` below the committed end. Here and below
  // `done` is called at once with ErrorCode::kStopping or kTooManyInFlight if no helper takes it.
  using OnTime = absl::AnyInvocable<void(absl::StatusOr<std::optional<storage::Log::TimeMatch>>)>;
  void FindTime(Timestamp time, OnTime done);
  // On a helper thread: drops records before `before`, waiting until they are durable; gives the
  // new log start. ErrorCode::kOffsetOutOfRange beyond the committed end.
  using OnTrimmed = absl::AnyInvocable<void(absl::StatusOr<Offset>)>;
  void TrimTo(Offset before, Timestamp now, OnTrimmed done);

  void SetOptions(const PartitionOptions& options);
  // From now on every request is answered with kUnknownTopic; watchers and waiters are told. No
  // segment's file is removed by its name any more, so the directory may be renamed.
  void MarkDeleted();

  // ---- for the flusher ----
  // Whether it is in the flusher's queue, and for when.
  enum class Queued : int { kNo = 0, kLater = 1, kNow = 2 };
  void BeginFlush() { queued_.store(Queued::kNo); }  // taken out of the queue
  storage::SyncPlan TakeUnsynced();
  // Advances the durable end, and moves the acknowledgements that became due into `due`.
  struct Due {
    std::shared_ptr<AckSink> sink;
    Ack ack;
  };
  void FinishSync(const storage::SyncPlan& plan, const absl::Status& outcome,
                  std::vector<Due>& due);

  // ---- for the janitor, on its thread ----
  // Taken out of the janitor's queue; whether it was appended to since the last visit.
  bool BeginVisit();
  std::optional<storage::Log::SealTask> TakeSealTask();
  absl::Status FinishSeal(storage::Log::SealTask task, const absl::Status& outcome);
  absl::Status RollIfOld(Timestamp now);
  absl::Status WriteProducerSnapshot();  // or takes it for the next time; see TakeProducerSnapshot
  bool IsProducerSnapshotDue() const;
  void ExpireProducers(Timestamp before);
  std::int64_t segment_ms() const;
  // Drops the segments that the topic's retention does not keep, of durable records only, and waits
  // until that is durable. `by_time`: whether age may be judged now.
  struct Dropped {
    Offset from, to;  // what is not kept any more; empty if nothing was dropped
  };
  absl::StatusOr<Dropped> Retain(const storage::RetentionTime& time, bool by_time);

  // ---- for the cleaner, on its thread ----
  // How much this partition wants compaction, of 1; 0: not now.
  double CompactionNeed(const storage::CompactionTime& time) const;
  // One cleaning, as far as the key map reaches: cleans and swaps segment by segment, waiting for
  // the disk. What was swapped before an error stays. Nothing wanted: a summary of zeros. Errors
  // are those of Compactor and Log::Swap; ErrorCode::kUnknownTopic once deleted. `options.names` is
  // this method's own.
  absl::StatusOr<storage::Compactor::Summary> Compact(storage::Compactor::Options options,
                                                      const storage::CompactionTime& time);

  // ---- for the scrubber, on its thread ----
  // Those that are sealed now, oldest first.
  std::vector<std::shared_ptr<storage::Segment>> SealedSegments() const;
  // Damage was found in `segment`: from there on the partition is offline, which watchers are told.
  // False: it is not part of the log any more, and nothing happened.
  bool NoticeDamage(const storage::Segment& segment);

  // ---- for open_files ----
  std::uint64_t last_used() const { return last_used_.load(std::memory_order_relaxed); }
  // Closes what no unsynced write needs; gives how many files stay open. With none it is not active
  // any more: its next use is noted as its first.
  int CloseIdle();
  int open_files() const;

  // ---- at a clean stop ----
  // See Log::CloseClean; kPartitionOffline, too, where there is no log. Requires that everything is
  // durable and nobody appends any more.
  absl::StatusOr<std::optional<storage::DurableEnd>> CloseClean();

 private:
  struct Waiting {
    Offset end;  // due once the durable end has reached it
    std::shared_ptr<AckSink> sink;
    Ack ack;
  };
  struct Watching {
    Offset seen;
    std::shared_ptr<EndWatcher> watcher;
  };
  using Watchers = std::vector<std::shared_ptr<EndWatcher>>;

  // With mutex_ held.
  absl::Status Usable() const;
  Offset committed_end() const;
  absl::StatusOr<Appended> AppendLocked(AppendRequest& request, const RecordBatchView& batch);
  void AddWaiting(Waiting waiting);
  void WaitForDurable(AppendRequest& request, Offset end, Appended& appended);
  bool NoteRoll();
  absl::StatusOr<Appended> Repeat(AppendRequest& request,
                                  const storage::ProducerTable::Verdict& verdict);
  void Use();
  void TakeWatchers(Watchers& out, bool all);
  void TakeDue(std::vector<Due>& due);
  void FailWaiting(const absl::Status& why, std::vector<Due>& due);
  void LogFailureOnce();
  absl::Status Unknown(const absl::Status& why) const;
  // Without it.
  bool HasChanged(const std::vector<std::shared_ptr<storage::Segment>>& segments) const;
  void MarkDirty(std::chrono::milliseconds delay);
  static void Tell(const Watchers& watchers);
  void AfterDiskWork(const absl::Status& outcome);
  bool TrimLater(Offset before, Timestamp now, OnTrimmed& done);
  absl::StatusOr<Offset> TrimNow(Offset before);
  absl::Status WithNames(const std::function<absl::Status()>& step);
  absl::Status SwapIn(const storage::CleanedSegment& cleaned);

  const TopicPartition id_;
  const std::string topic_name_;
  PartitionServices services_;
  std::atomic<Queued> queued_{Queued::kNo};
  std::atomic<std::uint64_t> last_used_{0};

  // Held while files of dropped segments are removed, one at a time, and to become deleted: from
  // then on a new topic's files may stand under the same names. Taken before mutex_.
  std::mutex names_mutex_;

  mutable std::mutex mutex_;  // guards all below
  std::unique_ptr<storage::Log> log_;
  absl::Status offline_;  // not OK: log_ is null
  PartitionOptions options_;
  Offset durable_end_;
  Offset shown_end_;              // committed once, whatever the options say now
  std::vector<Waiting> waiting_;  // by end
  std::vector<Watching> watching_;
  std::int32_t segments_ = 0;  // at the last look: more of them mean that the log rolled
  bool active_ = false;        // known to open_files
  bool visit_queued_ = false;  // known to the janitor
  bool appended_ = false;      // since the janitor's last visit
  bool deleted_ = false;
  bool closed_ = false;
  bool told_failed_ = false;  // the broker's own log says so
};

}  // namespace cairn::broker
