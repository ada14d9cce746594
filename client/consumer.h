#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "client/cluster.h"
#include "client/options.h"
#include "client/record.h"

namespace cairn::client {

// Where to begin to read a partition.
class StartPosition {
 public:
  static StartPosition Earliest() { return {Kind::kEarliest, 0}; }
  static StartPosition Latest() { return {Kind::kLatest, 0}; }
  static StartPosition At(Offset offset) { return {Kind::kOffset, offset.value()}; }
  // The first record at or after that time; the end if there is none.
  static StartPosition AtTime(Timestamp time) { return {Kind::kTime, time.value()}; }

  enum class Kind { kOffset, kEarliest, kLatest, kTime };
  Kind kind() const { return kind_; }
  std::int64_t value() const { return value_; }

 private:
  StartPosition(Kind kind, std::int64_t value) : kind_(kind), value_(value) {}

  Kind kind_;
  std::int64_t value_;
};

struct Assignment {
  std::string topic;
  PartitionIndex partition;
  StartPosition start = StartPosition::Earliest();
  // Where to end: the present end of the log, or before an offset. Neither: never.
  bool stop_at_present_end = false;
  std::optional<Offset> stop_before = std::nullopt;
};

// Something other than a record that a reader must hear about.
struct ConsumerEvent {
  enum class Kind {
    kEnd,        // a bounded assignment is read to its end
    kTrimmed,    // [from, to) was dropped before it was read; reading goes on at `to` (out_of_range
                 // != kError)
    kTruncated,  // [from, to) was taken back by a power cut on a `written` topic, or by a repair,
                 // though it may have been seen
    kFailed,  // this partition is read no further: status tells why (topic deleted, damage, out of
              // range; of ErrorCode::kTrimmed [from, to) is what was dropped)
  } kind;
  std::string topic;
  PartitionIndex partition;
  Offset from = kNoOffset;
  Offset to = kNoOffset;
  absl::Status status;
};

// What one Poll brings. Records and their bytes live as long as this object (it owns the received
// frames), whatever happens to the consumer; move it where it is needed.
class PolledRecords {
 public:
  PolledRecords();
  PolledRecords(PolledRecords&&) noexcept;
  PolledRecords& operator=(PolledRecords&&) noexcept;
  ~PolledRecords();

  const std::vector<ConsumedRecord>& records() const { return records_; }
  const std::vector<ConsumerEvent>& events() const { return events_; }
  bool empty() const { return records_.empty() && events_.empty(); }

 private:
  friend class Consumer;
  struct Frames;

  std::vector<ConsumedRecord> records_;
  std::vector<ConsumerEvent> events_;
  std::unique_ptr<Frames> frames_;
};

// An offset to commit for the group: the next record to read.
struct OffsetToCommit {
  std::string topic;
  PartitionIndex partition;
  Offset offset;
  // Of the record before `offset` (ConsumedRecord::leader_epoch), so that what a power cut took
  // back is noticed. kNoEpoch: what Poll knows, if it stands there.
  LeaderEpoch leader_epoch = kNoEpoch;
  std::string metadata;  // for people; at most 4,096 bytes
};

// What became of one partition's commit.
struct CommittedPartition {
  std::string topic;
  PartitionIndex partition;
  Offset offset;
  absl::Status status;  // kFailedPrecondition: not held (any more), or below what is committed
};

// Called on the application's thread, within Poll, Commit or Close. A status that is not OK holds
// for all of the partitions.
using OnCommitted =
    std::function<void(const absl::Status& status, const std::vector<CommittedPartition>&)>;

// Reads partitions: those that are assigned by hand, or those that a consumer group gives to this
// member (Subscribe; ConsumerOptions::group). Reads each in offset order, and resumes by itself
// where it was when a connection breaks. The broker sends ahead of Poll, at most prefetch_bytes per
// partition: a slow application slows only itself. Every batch's checksum is verified before a
// record is handed out.
//
// As a member of a group it keeps its session by heartbeats of its own, however long the
// application takes with its records. Which partitions it holds changes only within Poll (see
// on_gained, on_lost); the others are not disturbed by that. Records are delivered at least once: a
// record that Poll handed out counts as processed when Poll is called again, or when the
// application commits it; only what is processed is committed by itself. Nothing is handed out
// once the session may have ended, whatever stopped this process in between, until the broker
// confirms it.
//
// Threads: any one thread at a time; Wake may be called from any.
class Consumer {
 public:
  static absl::StatusOr<std::unique_ptr<Consumer>> Open(std::shared_ptr<Cluster> cluster,
                                                        ConsumerOptions options);
  ~Consumer();

  // Replaces what is read. Topics are resolved here.
  //   kNotFound          no such topic or partition
  //   kDeadlineExceeded  the broker did not answer in time
  absl::Status Assign(std::vector<Assignment> assignments, Duration timeout);

  // Joins the group, in the background, or changes what this member reads: names of topics, and
  // patterns in which * stands for any characters and ? for one. Topics and partitions that appear
  // later are taken in. What the broker has against it is told by Poll.
  //   kFailedPrecondition  no group in the options; partitions are assigned by hand; closed
  //   kInvalidArgument     no topics, or too many
  absl::Status Subscribe(std::vector<std::string> topics);

  // Records and events as they are there; waits up to `timeout` for the first. At most records_max
  // records. Empty after the timeout, after Wake, or when every assignment has ended (see
  // finished).
  //   kDataLoss            a received batch is damaged; names topic, partition and offset
  //   kFailedPrecondition  of a member: another one has the same instance_id (FENCED_INSTANCE, by
  //                        CodeOf). This one is finished, as after every other error that the
  //                        broker has against it.
  absl::StatusOr<PolledRecords> Poll(Duration timeout, std::size_t records_max = 10'000);

  // Goes on elsewhere in an assigned partition, also one that has failed; records of before are not
  // handed out any more. To an offset up to Position: if a power cut or a repair has taken back
  // what was seen before it, that is told (kTruncated).
  //   kNotFound  not assigned, or not held
  absl::Status Seek(std::string_view topic, PartitionIndex partition, StartPosition start);

  // Stops and restarts handing out (and, once the prefetch is full, receiving) a partition's
  // records.
  absl::Status Pause(std::string_view topic, PartitionIndex partition);
  absl::Status Resume(std::string_view topic, PartitionIndex partition);

  // The offset of the next record that Poll would hand out; nothing while the start is not known
  // yet.
  absl::StatusOr<std::optional<Offset>> Position(std::string_view topic,
                                                 PartitionIndex partition) const;

  // The committed end as last heard from the broker; nothing before that.
  absl::StatusOr<std::optional<Offset>> CommittedEnd(std::string_view topic,
                                                     PartitionIndex partition) const;

  // What is read at the moment: held of the group, or assigned; by name.
  std::vector<GroupPartition> assignment() const;

  // ---- of a member; kFailedPrecondition for others ----

  // Commits what Poll handed out so far, and waits until it is durable at the broker. Positions
  // below what is committed (after a Seek) are left out.
  //   kFailedPrecondition  the session had ended, or a partition is held anew: others process it
  //   kDeadlineExceeded    not answered in time; it may still be done
  absl::Status Commit(Duration timeout);
  // Commits these. One that is refused does not keep the others from being done; the first error is
  // returned.
  //   kFailedPrecondition  not held (STALE_ASSIGNMENT), or below what is committed (COMMIT_BEHIND)
  absl::Status Commit(const std::vector<OffsetToCommit>& offsets, Duration timeout);
  // The same without waiting; they take effect in the order of the calls.
  absl::Status CommitAsync(OnCommitted done);
  absl::Status CommitAsync(const std::vector<OffsetToCommit>& offsets, OnCommitted done);

  // The group's committed offset of a partition that is held, by what was given with it and what
  // this member has committed since (nobody else can). Nothing: there is none.
  //   kNotFound  not held
  absl::StatusOr<std::optional<Offset>> Committed(std::string_view topic,
                                                  PartitionIndex partition) const;

  // Commits what is processed (with auto_commit), leaves the group, so that others go on at once,
  // and reads no more. What the last Poll handed out is not processed yet, unless it was committed.
  // Without a group it only stops reading. The destructor does the same, but calls nobody and waits
  // for nothing: what it sends arrives only if the Cluster lives on for a moment.
  //   kDeadlineExceeded  not confirmed in time; others go on when the session times out
  absl::Status Close(Duration timeout);

  // True when every assignment is bounded and has been handed out to its end, or failed.
  // Never true of a member.
  bool finished() const;

  // Makes a waiting or the next Poll return at once.
  void Wake();

 private:
  class State;
  Consumer(std::shared_ptr<Cluster> cluster, std::shared_ptr<State> state);

  std::shared_ptr<Cluster> cluster_;
  std::shared_ptr<State> state_;
};

}  // namespace cairn::client
