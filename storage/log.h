#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/record_batch.h"
#include "protocol/types.h"
#include "storage/compactor.h"
#include "storage/data_dir.h"
#include "storage/frontier.h"
#include "storage/log_options.h"
#include "storage/manifest.h"
#include "storage/producer_table.h"
#include "storage/read_view.h"
#include "storage/recovery.h"
#include "storage/retention.h"
#include "storage/segment.h"

namespace cairn::storage {

// Derived: the producer table as of some durable log end.
inline constexpr const char* kProducerSnapshotName = "producers.snapshot";

// Remembers where a sequential reader is, so that its next read needs no look-up. Any cursor is
// right for any offset; a stale one only costs the look-up.
struct ReadCursor {
  Offset next = kNoOffset;
  Offset segment_base = kNoOffset;
  std::int64_t position = 0;
  std::uint32_t generation = 0;  // of that segment: a cleaned one has other positions
};

// What Read found.
struct LogRead {
  ReadView view;  // whole batches, beginning with the one that holds the asked offset
  Offset next;    // one past the last record of them
  // Instead of bytes: these must be checked first (and the file perhaps opened). Call
  // cold->Prepare(cold_position) on a thread that may wait for the disk, then Read again.
  std::shared_ptr<Segment> cold;
  std::int64_t cold_position = 0;
};

// What a group commit must make durable for one log, taken under the owner's lock and carried out
// without it. It keeps the descriptors that wrote the bytes open.
class SyncPlan {
 public:
  bool empty() const { return files_.empty() && directories_.empty() && !manifest_.has_value(); }
  const DurableEnd& durable_end() const { return end_; }  // holds once Sync, or a syncfs, succeeded
  std::int64_t bytes() const { return bytes_; }           // not synced so far, about

  // fdatasync of each file, then fsync of each directory in which a file was created. Stops at the
  // first error, which is final, but for one:
  //   kUnavailable  out of descriptors; what was not synced yet may be later, by another plan
  absl::Status Sync() const;
  // After a syncfs, which knows nothing of single files: OK, or how an earlier sync of one of them
  // failed, by whichever thread (a seal syncs too). The kernel tells of that once, and not to us.
  absl::Status EarlierFailure() const;

 private:
  friend class Log;
  struct Part {
    std::shared_ptr<Segment> segment;
    std::int64_t length = 0;  // what was appended so far
  };
  absl::InlinedVector<Part, 1> files_;  // nearly always the active segment alone
  std::optional<Manifest::Pending> manifest_;
  std::shared_ptr<const File> meta_;
  std::vector<std::filesystem::path> directories_;
  std::uint64_t directory_changes_ = 0;
  DurableEnd end_;
  std::int64_t bytes_ = 0;
};

// One partition's records: a run of segments, the newest of which grows. Offsets are dense, from
// log_start() to log_end(). Nothing is on disk, not even a directory, before the first append.
//
// Quiet: no clock, no thread, no logging. Threads: the owner (broker/partitions/partition) calls
// everything under its lock, except SyncPlan::Sync, Segment::Prepare, SealTask::Run and FindTime,
// which take as long as the disk takes and need no lock. Bytes in a ReadView: see there.
class Log {
 public:
  // Opens what is on disk, or nothing yet. After an unclean stop (data_dir.frontier().was_clean()
  // is false) the tail is scanned, cut and noted in `report` as DESIGN of recovery in FORMAT.md
  // says, and the leader epoch is raised if anything may have been written. Damage is not an error
  // here: the log serves what stands before it, write_state() is the damage, and the report names
  // it. `now` stands in for unknown append times and dates the new epoch.
  //   kFailedPrecondition  the files are another topic's
  //   other                the directory cannot be read
  static absl::StatusOr<std::unique_ptr<Log>> Open(DataDir& data_dir, LogIdentity identity,
                                                   LogOptions options, Timestamp now,
                                                   RecoveryReport& report);
  ~Log();

  Offset log_start() const;
  Offset log_end() const;
  LeaderEpoch leader_epoch() const;
  // The epoch of the record before `offset` (kNoEpoch: none), and where that epoch ended: for
  // readers that may have seen what a power cut took back.
  LeaderEpoch EpochBefore(Offset offset) const;
  // The end of `epoch`: the first offset of a later one, or log_end().
  Offset EndOfEpoch(LeaderEpoch epoch) const;
  std::int64_t bytes() const;
  std::int32_t segment_count() const;
  // OK, or why nothing can be appended any more until the broker restarts.
  const absl::Status& write_state() const;
  const ProducerTable& producers() const;
  void set_options(const LogOptions& options);

  // Stamps offset and epoch into `batch` (verified by the caller, one whole batch) and appends it,
  // rolling first where the segment is full or older than segment_ms. On return the bytes are in
  // the page cache and readers may see them; the producer table knows them. Gives the base offset.
  //   ErrorCode::kStorageFull    nothing was appended; trying again may help
  //   ErrorCode::kStorageFailed  final, write_state() says so from now on
  absl::StatusOr<Offset> Append(MutableBytes batch, Timestamp now);

  // All that is not durable yet; nothing once a sync has failed, for another try would only seem to
  // succeed, and nothing of a log in which recovery found damage. The owner calls exactly one of
  // the two below when it knows.
  SyncPlan TakeUnsynced();
  void MarkSynced(const SyncPlan& plan);
  // Final: write_state() is kStorageFailed from now on; the descriptors stay open.
  void MarkSyncFailed(const SyncPlan& plan, const absl::Status& why);

  // What a helper thread met on a segment: an I/O error is final for the log, as everywhere.
  void NoteOutcome(const absl::Status& outcome) { (void)Judge(outcome); }

  // Whole batches from the one that holds `from`, below `end` (a batch boundary: a log end or
  // durable end of now or earlier), about bytes_max but never less than one batch. `cursor` is
  // updated.
  //   ErrorCode::kOffsetOutOfRange  `from` is not in [log_start, end); names both
  //   ErrorCode::kPartitionOffline  `from` lies at or past damage
  absl::StatusOr<LogRead> Read(Offset from, Offset end, std::size_t bytes_max, ReadCursor& cursor);

  // Threads without the lock find damage in segments; here the log learns of it, as it does with
  // every append and read.
  void NoticeDamage();

  // A look at the segments that a thread may search without the lock.
  std::vector<std::shared_ptr<Segment>> Segments() const;

  // The first record at or after `time`, below `end`.
  using TimeMatch = Segment::TimeMatch;
  // Waits for the disk. nothing: no such record.
  static absl::StatusOr<std::optional<TimeMatch>> FindTime(
      const std::vector<std::shared_ptr<Segment>>& segments, Timestamp time, Offset start,
      Offset end);

  // Moves log_start() up to `before` and takes the segments that lie wholly below it out of the
  // log, the active one too. Then, in this order: Trim::Sync on a thread that may wait, FinishTrim
  // with its outcome, and, if that is OK, Segment::Remove of each dropped segment.
  //   ErrorCode::kOffsetOutOfRange  `before` is beyond log_end
  struct Trim {
    absl::Status Sync() const;  // waits for the disk; without the lock

    std::vector<std::shared_ptr<Segment>> dropped;
    std::optional<Manifest::Pending> manifest;
  };
  absl::StatusOr<Trim> TrimTo(Offset before);
  // Where the policy wants the log to begin, at a segment's end not above `end_max`; log_start() if
  // nothing is to go. Decides only: TrimTo drops.
  Offset RetentionStart(const RetentionPolicy& policy, const RetentionTime& time,
                        Offset end_max) const;
  absl::Status FinishTrim(const Trim& trim, const absl::Status& outcome);

  // Background work on one segment that is complete but not sealed: sync, read and fingerprint, cut
  // to true size, write its index. nothing: no such segment.
  class SealTask {
   public:
    absl::Status Run();  // waits for the disk; without the lock

   private:
    friend class Log;
    std::shared_ptr<Segment> segment_;
    absl::Status opened_;
    std::optional<SealedSegment> sealed_;
  };
  std::optional<SealTask> TakeSealTask();
  absl::Status FinishSeal(SealTask task, const absl::Status& outcome);
  // Rolls the last segment, growing or left by the run before, if it has records and is older than
  // segment_ms, or than compaction may wait for it.
  absl::Status RollIfOld(Timestamp now);

  // For a quick start, and derived: who has produced up to `end`, of durable records only.
  struct ProducerSnapshot {
    std::filesystem::path path;
    Bytes bytes;
    Offset end;

    absl::Status Write() const;  // any thread; waits for the disk
  };
  // Nothing: it is taken, and can be had here once the records before it are durable.
  std::optional<ProducerSnapshot> TakeProducerSnapshot();
  // Enough was appended since the last one, or one can be had now.
  bool IsProducerSnapshotDue() const;
  void ExpireProducers(Timestamp before);

  // Compaction: how much the log wants it, of 1; 0: not at all. By the rules of CompactionOptions,
  // and only of what lies below `below`, a durable end. While room is short, users' logs wait.
  double CompactionNeed(Offset below, const CompactionTime& time) const;
  // What a Compactor is to clean; nothing: not wanted.
  std::optional<CompactionPlan> PlanCompaction(Offset below, const CompactionTime& time) const;
  // Puts a cleaned segment in the place of those that it was made of; then as with TrimTo.
  //   kAborted  they are no longer all in the log; the cleaned one is to be removed
  absl::StatusOr<Trim> Swap(const CleanedSegment& cleaned);

  // Closes descriptors and maps that no unsynced write needs. The log stays usable: they are opened
  // again when needed. Gives how many descriptors were freed.
  int CloseIdle();
  int open_files() const;

  // A clean stop: everything is durable (the caller has seen to it), the active segment is cut to
  // its true size, derived files are written. Nothing may be appended afterwards. Gives the entry
  // for the frontier; nothing if there is nothing on disk.
  //   ErrorCode::kPartitionOffline  it is damaged and left as it is: not closed, by the frontier
  absl::StatusOr<std::optional<DurableEnd>> CloseClean();

 private:
  friend class LogRecovery;

  Log(DataDir& data_dir, LogIdentity identity, const LogOptions& options);
  TopicPartition id() const { return {identity_.topic, identity_.partition}; }

  absl::Status Judge(const absl::Status& status);
  std::int64_t SegmentBytes() const;
  std::size_t Compactable(Offset below, const CompactionTime& time) const;
  absl::Status MakeRoom(ByteView batch, std::int64_t offsets, Timestamp now);
  absl::Status NoteFirst(ByteView batch);
  absl::Status BeginSegment(ByteView batch, Timestamp now);
  absl::Status TryBeginSegment(ByteView batch, Timestamp now);
  absl::Status ContinueLast(Timestamp now);
  bool MayContinue(const Segment& last, Timestamp now) const;
  absl::Status Note(const ManifestEntry& entry);
  const std::shared_ptr<Segment>& SegmentOf(Offset offset) const;
  DurableEnd End() const;
  ProducerSnapshot MakeProducerSnapshot();
  bool HasUnsynced() const;

  DataDir& data_dir_;
  const LogIdentity identity_;
  LogOptions options_;
  std::shared_ptr<LogPlace> place_;
  std::unique_ptr<Manifest> manifest_;  // null: nothing is on disk
  std::shared_ptr<const File> meta_;    // partition.meta, until it is synced
  std::vector<std::shared_ptr<Segment>> segments_;
  Offset log_start_;
  Offset log_end_;
  // Raised by recovery; noted in the manifest before the first append under it, or at a clean stop.
  std::optional<EpochStart> pending_epoch_;
  // Whether the last segment, found at start, may grow on.
  bool may_continue_ = true;
  ProducerTable producers_;
  std::unique_ptr<ProducerSnapshot> waiting_snapshot_;  // until its end is durable
  std::int64_t bytes_since_snapshot_ = 0;
  absl::Status write_state_;
  bool sync_failed_ = false;
  absl::Status damage_;
  Offset offline_from_ = kNoOffset;
  // Recovery stopped at damage: log_end_ is only how far it came, which nobody may note as durable.
  bool ends_at_damage_ = false;
  DurableEnd synced_;  // as of the last MarkSynced
  std::uint64_t directory_changes_ = 0;
  std::uint64_t directory_changes_synced_ = 0;
};

}  // namespace cairn::storage
