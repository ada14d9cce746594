#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"
#include "storage/batch_filter.h"
#include "storage/key_map.h"
#include "storage/log_options.h"
#include "storage/producer_table.h"
#include "storage/segment.h"
#include "storage/segment_writer.h"

namespace cairn::storage {

// The time by which a cleaning goes.
struct CompactionTime {
  CompactionTime(Timestamp time, bool are_ages_trusted = true)
      : now(time), ages_trusted(are_ages_trusted) {}

  Timestamp now;
  // Whether anything may be called old by it. Otherwise no lag has passed, and no tombstone has
  // stayed its time.
  bool ages_trusted;

  bool HasPassed(Timestamp since, std::int64_t ms) const {
    return ages_trusted && now - since >= ms;
  }
};

// What is to be cleaned, as Log::PlanCompaction saw it. Offsets, times and bytes as everywhere.
struct CompactionPlan {
  std::shared_ptr<LogPlace> place;
  LogOptions options;
  // All sealed, from the log's first to the last that may be cleaned.
  std::vector<std::shared_ptr<Segment>> segments;
  Offset clean_end;  // records before it need not be asked for their keys
  ProducerTable producers;
};

// A cleaned segment, durable under its name, and those whose place it is to take.
struct CleanedSegment {
  std::shared_ptr<Segment> segment;
  std::vector<std::shared_ptr<Segment>> replaced;
};

// Cleans the sealed segments of one log: of all records with one key only the newest stays. What
// stays keeps its offset, its place and its bytes.
//
// First the keys of the part that was not cleaned yet are noted with their newest offsets, as many
// as the map has room for: from there on cleaning ends, and another one goes on. Then every segment
// up to that end is written again without what a newer record stands against, small neighbours into
// one. A tombstone (a null value) stays until delete_retention_ms after the first cleaning that
// left nothing before it. Records without a key stay, as does what cannot be unpacked.
//
//   Compactor compactor(*plan, options, now);
//   RETURN_IF_ERROR(compactor.ReadKeys());
//   while (true) {
//     ASSIGN_OR_RETURN(std::optional<CleanedSegment> cleaned, compactor.Next());
//     if (!cleaned) break;
//     … Log::Swap …
//   }
//
// Quiet, and needs no lock. Threads: one at a time. Waits for the disk. Nothing is taken from any
// file; an error leaves nothing behind but what was swapped before. Every error but those below is
// of a file that cannot be read or written now (ErrorCode::kStorageFull: trying again may help).
//   ErrorCode::kPartitionOffline  a segment is damaged; it was noted there
//   kAborted                      a segment was dropped from the log meanwhile
//   what pace or names gave       they stopped it
class Compactor {
 public:
  struct Options {
    std::int64_t map_bytes = 64 << 20;
    std::uint64_t hash_seed = 0;  // random, where keys come from strangers
    // Called after so many bytes were read or written: may wait, and an error stops the cleaning.
    std::function<absl::Status(std::int64_t bytes)> pace;
    // Runs what gives files their names, or finds them by these: while it is certain that the
    // directory is still this log's. Not set: at once.
    std::function<absl::Status(const std::function<absl::Status()>& step)> names;
  };
  struct Summary {
    std::int64_t bytes_read = 0;
    std::int64_t bytes_written = 0;
    std::int64_t records_read = 0;  // while cleaning
    std::int64_t records_kept = 0;
    std::int64_t keys = 0;
  };

  Compactor(CompactionPlan plan, Options options, CompactionTime time);

  absl::Status ReadKeys();
  // The next segments in order, cleaned; nothing: that was all. One that a crash or an error keeps
  // from being swapped is to be removed (Segment::Remove).
  absl::StatusOr<std::optional<CleanedSegment>> Next();

  // Where this cleaning ends.
  Offset end() const { return end_; }
  const Summary& summary() const { return summary_; }

 private:
  absl::Status Pace(std::int64_t bytes);
  absl::Status WithNames(const std::function<absl::Status()>& step) const;
  absl::StatusOr<File> Open(Segment& segment) const;
  static absl::Status NoteDamage(Segment& segment, Offset from, const absl::Status& what);
  absl::Status ReadKeysOf(Segment& segment, bool& full);
  bool NoteKeys(const RecordBatchView& batch);
  absl::StatusOr<SegmentWriter> Begin(const Segment& first) const;
  bool JoinsWith(const SegmentWriter& writer, Offset base, const Segment& next) const;
  absl::Status CleanInto(Segment& segment, SegmentWriter& writer, bool& changed);
  absl::Status CleanBatch(const RecordBatchView& batch, bool is_last, SegmentWriter& writer,
                          bool& changed);
  BatchFilter::Fate Judge(const RecordBatchView& batch, const RecordView& record) const;
  absl::StatusOr<CleanedSegment> Finish(SegmentWriter& writer,
                                        std::vector<std::shared_ptr<Segment>> replaced);

  const CompactionPlan plan_;
  const Options options_;
  const CompactionTime time_;
  KeyMap keys_;
  Offset end_;
  std::size_t next_ = 0;  // of plan_.segments
  BatchFilter filter_;
  RecordReader reader_;
  Bytes batch_;
  Bytes tail_;  // the last batch, without its records, in case it must hold the last offset
  std::int64_t unpaced_ = 0;
  Summary summary_;
};

}  // namespace cairn::storage
