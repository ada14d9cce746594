#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/types.h"
#include "storage/damaged_segments.h"
#include "storage/epoch_history.h"
#include "storage/file.h"
#include "storage/fingerprint.h"
#include "storage/index.h"
#include "storage/log_options.h"
#include "storage/manifest.h"
#include "storage/mapped_file.h"
#include "storage/read_view.h"
#include "storage/removed_files.h"
#include "storage/reserve.h"
#include "storage/verified_ranges.h"

namespace cairn::storage {

class BatchScan;

// What the segments of one log have in common.
struct LogPlace {
  std::filesystem::path directory;
  RemovedFiles& removed_files;
  Reserve& reserve;
  bool uses_reserve = false;  // goes on when the disk is full
  EpochHistory epochs{};      // complete before the first segment is made, then only read
  // Set by any segment that found damage, so that the log looks for it.
  std::atomic<bool> damaged{false};
  // Where they note it for the next start; null: nowhere.
  std::unique_ptr<DamagedSegments> damaged_segments{};
};

// What compaction made of a segment; see ManifestSegment. A cleaned one is sealed for good.
struct SegmentCleaning {
  std::uint32_t generation = 0;
  Offset clean_end;
};

// A run of consecutive offsets in one file. The newest segment of a log may grow at its end; all
// others never change, except that sealing cuts what was reserved behind their true end.
//
// Bytes are served only if they were checked since the segment was opened: those appended in this
// process are; all others become so by Prepare, which also opens the file.
//
// Threads: the owner of the log calls everything under its lock, except what is marked "any
// thread". Those, and the owner, meet at a mutex that is never held while the disk is waited for.
class Segment {
 public:
  struct Damage {
    Offset from;          // the first record that cannot be served
    absl::Status status;  // kPartitionOffline; names file, position, expected, found
  };

  // Creates `<base>.log` with room for a batch of `first_size` bytes, ready to grow. A file of that
  // name is kAlreadyExists. Nothing is synced. On an error no file is left.
  static absl::StatusOr<std::shared_ptr<Segment>> Create(std::shared_ptr<LogPlace> place,
                                                         Offset base, const LogOptions& options,
                                                         std::size_t first_size, Timestamp now);
  // A segment that is on disk, durably. Opens nothing. Of one that is not sealed the fingerprint
  // does not count, and max_timestamp is kUnknownTime if it is not known.
  static std::shared_ptr<Segment> OnDisk(std::shared_ptr<LogPlace> place, Offset base,
                                         const SealedSegment& extent, bool is_sealed,
                                         const LogOptions& options, const BatchMark& first_batch,
                                         SegmentCleaning cleaning = {});
  static constexpr Timestamp kUnknownTime{INT64_MAX};

  // Reads all of it and makes it ready to grow. Requires that it is neither growing nor being
  // sealed. Append times after `now`, of a clock that was wrong, become `now`.
  absl::Status Continue(const LogOptions& options, Timestamp now);

  Offset base() const { return base_; }
  std::uint32_t generation() const { return cleaning_.generation; }  // 0: not cleaned
  // Where what the next cleaning must look at begins.
  Offset clean_end() const { return generation() == 0 ? base_ : cleaning_.clean_end; }
  Offset next_offset() const { return extent_.next_offset; }
  std::int64_t length() const { return extent_.length; }
  const SealedSegment& extent() const { return extent_; }
  const BatchMark& first_batch() const { return first_batch_; }
  bool is_growing() const { return growing_; }
  bool is_sealed() const { return sealed_; }
  // Whether a batch may be appended without rolling.
  bool HasRoomFor(std::size_t size, std::int64_t offsets, std::int64_t segment_bytes) const;

  // Requires is_growing() and HasRoomFor; `batch` is stamped. On an error nothing was appended:
  //   ErrorCode::kStorageFull    trying again may help
  //   ErrorCode::kStorageFailed  and what stands behind the end is unknown
  absl::Status Append(ByteView batch, Offset next_offset, Timestamp max_timestamp, Timestamp now);
  // No more appends.
  void Finish();

  struct Found {
    ReadView view;
    Offset next;                     // one past the last record in `view`
    std::int64_t next_position = 0;  // the byte behind `view`
    bool is_cold = false;            // nothing yet: Prepare(cold_position) first
    std::int64_t cold_position = 0;
  };
  struct Want {
    Offset from;                     // in [base, min(end, next_offset))
    std::int64_t position = -1;      // of the batch that begins with `from`, if known
    Offset end;                      // a batch boundary; may lie past this segment
    std::int64_t end_position = -1;  // where `end` is in this segment, if known
    std::size_t bytes_max = 0;
  };
  //   ErrorCode::kPartitionOffline  `from` lies at or past damage
  absl::StatusOr<Found> Read(const Want& want);

  // Any thread; waits for the disk. Opens the file, loads or rebuilds the index and checks about
  // 1 MiB of batches from `position` on (-1: only opens).
  //   ErrorCode::kPartitionOffline  damage; remembered, see damage()
  //   kAborted                      the log has dropped or replaced it meanwhile: ask the log again
  //   others                        it cannot be read now
  absl::Status Prepare(std::int64_t position);
  std::optional<Damage> damage() const;

  // Any thread; waits for the disk. Reads a sealed segment again, past the page cache where nobody
  // has it mapped, and compares it with its checksums and with what the manifest says.
  // `on_scrubbed` hears of about each MiB; if it gives false that is kCancelled.
  //   ErrorCode::kPartitionOffline  damage; remembered, see damage()
  //   others                        it cannot be read now
  using OnScrubbed = std::function<bool(std::int64_t bytes)>;
  absl::Status Scrub(const OnScrubbed& on_scrubbed);
  // The same of any segment that does not grow.
  absl::Status ReadAgain(const OnScrubbed& on_scrubbed);

  // The first record at or after `time` in [start, end), or nothing. Any thread; waits for the
  // disk.
  struct TimeMatch {
    Offset offset;
    Timestamp timestamp;
    LeaderEpoch leader_epoch;
  };
  absl::StatusOr<std::optional<TimeMatch>> FindTime(Timestamp time, Offset start, Offset end);

  // Any thread: fdatasync through the descriptor that wrote.
  absl::Status Sync() const;
  // Any thread: see File::SyncFailure.
  absl::Status SyncFailure() const;
  std::int64_t unsynced() const { return extent_.length - synced_length_; }
  void MarkSynced(std::int64_t length);

  // Any thread; waits for the disk: syncs, reads and checks what this process did not write itself,
  // cuts the file to its true size, writes the index. Requires BeginSeal(). Gives what the manifest
  // is to say.
  absl::StatusOr<SealedSegment> Seal();
  bool is_sealing() const { return sealing_; }
  // Opens the file, which then stays open: without the lock another topic's may have its name.
  absl::Status BeginSeal();
  void EndSeal(const std::optional<SealedSegment>& sealed);
  void MarkReopened();  // the manifest says that it is not sealed any more

  // The file is cut to its true size, durably, and the index is written if it is known. Requires
  // that nothing is unsynced; no appends afterwards.
  absl::Status CloseClean();

  // Gives how many descriptors were freed: none while something is not synced, or while it is
  // sealed.
  int CloseIdle();
  int open_files() const;

  // Removes the files. Any thread that may wait for the disk; open views stay valid, within the
  // rule of RemovedFiles. Requires that the log forgot the segment. From then on a file that is not
  // there is no damage.
  absl::Status Remove();

  // For whoever reads it in another way than through it: what stands at `from` is damaged, which
  // is noted on disk for the next start. Any thread; waits for the disk. Gives what Read will say.
  absl::Status NoteDamage(Offset from, const absl::Status& what);

  std::filesystem::path LogPath() const;
  std::filesystem::path IndexPath() const;

 private:
  Segment(std::shared_ptr<LogPlace> place, Offset base, const LogOptions& options,
          SegmentCleaning cleaning);
  // Where a batch begins, once it is found among checked bytes.
  struct Walk {
    Index::Place place;
    bool is_cold = false;  // place.position must be checked first
  };
  absl::Status ReserveFor(const File& file, std::size_t size);
  absl::Status RollBack(const File& file, const absl::Status& why);
  std::shared_ptr<const File> OpenFile() const;  // null: closed
  absl::StatusOr<std::shared_ptr<File>> Descriptor();
  bool IsSealed() const;  // on any thread
  absl::Status CheckIsTheRightFile(const File& file);
  absl::StatusOr<Index> BuildIndex(const File& file, std::int64_t length,
                                   absl::Status& damage) const;
  absl::StatusOr<std::shared_ptr<File>> Open();
  absl::Status Check(const File& file, std::int64_t position);
  absl::Status CheckLength(const File& file);
  absl::StatusOr<bool> RenewIndex(const File& file);
  // Of a scan to the end that came out at another offset.
  absl::Status NoteWrongEnd(const BatchScan& scan, Offset expected);
  absl::StatusOr<SealedSegment> ReadWhole(const File& file, Index& index);
  absl::StatusOr<SealedSegment> Summarize(const File& file, Index& index);
  bool IsRemoved() const;
  absl::StatusOr<bool> MapLocked();
  Found FindLocked(const Want& want) const;
  Found DistrustLocked(const Want& want);
  Walk WalkLocked(Offset to) const;
  Walk EndLocked(const Want& want) const;
  Index::Place StopLocked(Index::Place begin, Index::Place end, std::size_t bytes_max) const;
  SealedSegment Extent() const;  // under mutex_

  const std::shared_ptr<LogPlace> place_;
  const Offset base_;
  const SegmentCleaning cleaning_;
  const std::int64_t index_interval_;

  // Of the owner's lock alone.
  std::int64_t synced_length_ = 0;
  std::int64_t reserved_ = 0;  // the size of the file, while growing
  bool sealing_ = false;
  // Of all that was appended; null: not known, since it was not all appended by this object or it
  // was idle meanwhile. Also of Seal, which runs while nothing is appended.
  std::unique_ptr<Fingerprint> fingerprint_;

  mutable std::mutex mutex_;
  // Written under both locks, so that the owner reads them without mutex_.
  SealedSegment extent_;
  BatchMark first_batch_;
  std::int64_t capacity_ = 0;  // how far the mapping reaches
  bool growing_ = false;
  bool sealed_ = false;
  // Under mutex_.
  std::shared_ptr<File> file_;
  std::shared_ptr<const MappedFile> mapping_;
  RemovedFiles::Mappings mappings_;  // all that may still be read
  std::unique_ptr<Index> index_;
  VerifiedRanges verified_;
  std::unique_ptr<Damage> damage_;
  bool removed_ = false;
};

}  // namespace cairn::storage
