#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/types.h"
#include "storage/batch_mark.h"
#include "storage/file.h"
#include "storage/log_options.h"
#include "storage/reserve.h"

namespace cairn::storage {

inline constexpr const char* kManifestFileName = "manifest";

// What is known of a segment that is complete and will not change.
struct SealedSegment {
  Offset next_offset;       // one past its last record
  std::int64_t length = 0;  // of the .log file
  Timestamp first_append_time;
  Timestamp last_append_time;
  Timestamp max_timestamp;        // the greatest in its records
  std::uint64_t fingerprint = 0;  // XXH3 of the .log file

  friend bool operator==(const SealedSegment&, const SealedSegment&) = default;
};

// One segment of the list. Not sealed: it grows, or is complete but not yet sealed (any but the
// last).
struct ManifestSegment {
  Offset base;
  Timestamp first_append_time;
  std::optional<SealedSegment> sealed = std::nullopt;
  // 0: as it was appended. From 1 on: cleaned by compaction, so often; then it is sealed, its
  // offsets have gaps, and its files' names carry the number.
  std::uint32_t generation = 0;
  // Of a cleaned one: its records below are each the newest of their key up to there.
  Offset clean_end{};
  // By which its file is known again.
  BatchMark first_batch = {};

  friend bool operator==(const ManifestSegment&, const ManifestSegment&) = default;
};

// Records from first_offset on were appended under `epoch`, up to where the next epoch begins.
struct EpochStart {
  LeaderEpoch epoch;
  Offset first_offset;

  friend bool operator==(const EpochStart&, const EpochStart&) = default;
};

// All that a manifest says.
struct ManifestState {
  std::vector<ManifestSegment> segments;  // by base, rising
  Offset log_start;
  std::vector<EpochStart> epochs;  // by epoch, rising; offsets do not fall

  friend bool operator==(const ManifestState&, const ManifestState&) = default;
};

// The entries. The numbers of their kinds on disk are their places in ManifestEntry, from 1.
struct SegmentOpened {  // a new last segment is begun (or one that never got a record, again)
  Offset base;
  Timestamp first_append_time;
  BatchMark first_batch = {};
};
struct SegmentSealed {
  Offset base;
  SealedSegment sealed;
};
struct SegmentReopened {  // the last segment, though sealed, is continued
  Offset base;
};
struct SegmentDropped {  // its files are not needed any more, and may be gone already
  Offset base;
};
struct LogStartMoved {
  Offset log_start;
};
struct LeaderEpochRaised {
  LeaderEpoch epoch;
  Offset first_offset;
};
// A cleaned segment takes the place of all listed ones whose base is in [base, next_offset): their
// files are not needed any more, and may be gone already.
struct SegmentSwapped {
  Offset base;
  std::uint32_t generation = 0;  // above those of the replaced
  Offset clean_end;
  SealedSegment sealed;
  BatchMark first_batch = {};
};
// When it was appended the file's bytes before `end` were durable. Append sees to it.
struct ManifestSynced {
  std::int64_t end = 0;
};
using ManifestEntry =
    std::variant<SegmentOpened, SegmentSealed, SegmentReopened, SegmentDropped, LogStartMoved,
                 LeaderEpochRaised, SegmentSwapped, ManifestSynced>;

// A partition's list of segments with what belongs to it: a journal of checksummed entries, in
// DATA/<topic>-<partition>/manifest. FORMAT.md has the bytes.
//
// Truth. Append writes without a sync; the descriptor stays open until somebody synced what it
// wrote, and is closed otherwise, so that idle partitions hold none.
//
// Threads: the owner's lock guards everything; Pending::file may be synced without it.
class Manifest {
 public:
  // What a file holds, as far as it can be read. For tools; Open does the same.
  struct Contents {
    TopicPartition partition;
    ManifestState state;
    // As they were last: what the entries dropped or replaced. Their files may still be there.
    std::vector<ManifestSegment> dropped;
    std::int64_t end = 0;  // the byte behind the last whole entry
    Bytes torn_tail;       // what follows there: entries that never became durable as a whole
  };
  //   kNotFound  no file, or a file that ends within its header or holds only zeros: it was being
  //              created when the machine stopped, and was never durable
  //   kDataLoss  damaged: names file, position, expected and found; also an unknown version or kind
  static absl::StatusOr<Contents> Read(const std::filesystem::path& partition_directory);

  // What can be read of a damaged one: the entries before the damage, or nothing.
  static ManifestState Salvage(const std::filesystem::path& partition_directory);
  // What a file of these bytes says; as Read, with `name` in its errors.
  static absl::StatusOr<Contents> Decode(const std::string& name, ByteView file);
  // The bytes of a manifest that gives this state with the fewest entries.
  static Bytes Encode(const TopicPartition& partition, const ManifestState& state);

  // Writes a new manifest without entries, not synced. kAlreadyExists if there is one that Read
  // does not call kNotFound.
  static absl::StatusOr<std::unique_ptr<Manifest>> Create(
      const std::filesystem::path& partition_directory, const LogIdentity& identity);
  // Reads what is there. After a clean stop (`was_clean`) a torn tail is kDataLoss; otherwise it is
  // left to be looked at: see torn_tail().
  //   kNotFound, kDataLoss  as Read
  //   kFailedPrecondition   the manifest of another topic or partition
  static absl::StatusOr<std::unique_ptr<Manifest>> Open(
      const std::filesystem::path& partition_directory, const LogIdentity& identity,
      bool was_clean);

  const ManifestState& state() const { return state_; }
  // Contents::dropped, once.
  std::vector<ManifestSegment> TakeDropped() { return std::exchange(dropped_, {}); }

  // From now on Append goes on when the disk is full, as far as the reserve reaches.
  void UseReserve(Reserve& reserve) { reserve_ = &reserve; }

  // From the first bytes that are no entry on: what a crash left of writes that were not synced.
  // Save them if you like, then CutTornTail (durable when it returns); Append requires that there
  // are none.
  ByteView torn_tail() const { return torn_tail_; }
  absl::Status CutTornTail();

  // After an unclean stop: what a killed process wrote is there to be read, but perhaps not on the
  // disk yet. A failure is final, as in Append.
  absl::Status SyncLeftovers();

  // Applies the entries to state() and writes them with one pwrite, in front of them what was
  // synced meanwhile. They survive kill -9 from then on, a power cut once synced. An entry that
  // does not fit the state is a broken invariant.
  //   ErrorCode::kStorageFull    nothing was written, state() is unchanged; trying again may help
  //   ErrorCode::kStorageFailed  likewise, but final: every later Append says the same
  absl::Status Append(std::span<const ManifestEntry> entries);
  absl::Status Append(const ManifestEntry& entry) { return Append({&entry, 1}); }

  // What was appended and is not synced. nothing: all is durable. Sync pending.file without the
  // lock if you like, then MarkSynced.
  struct Pending {
    std::shared_ptr<const File> file;
    std::int64_t end = 0;
  };
  std::optional<Pending> TakeUnsynced() const;
  void MarkSynced(const Pending& pending);

  // Makes all of it durable at once, for when nobody else waits for the owner's lock. A failed sync
  // is final, as in Append.
  absl::Status Sync();
  // Writes the file anew, durably, where it has grown long with dead entries: seldom, for then it
  // has more than 12 KiB of them. What was dropped is not known by the new one, so its files should
  // be gone.
  absl::Status RewriteIfLong();

  bool is_open() const { return file_ != nullptr; }  // holds a descriptor

 private:
  Manifest(std::filesystem::path path, TopicPartition partition)
      : path_(std::move(path)), partition_(partition) {}
  absl::Status Reopen();
  absl::Status Write(ByteView entries);
  absl::Status Rewrite();
  bool WantsRewrite() const;

  std::filesystem::path path_;
  Reserve* reserve_ = nullptr;
  TopicPartition partition_;
  ManifestState state_;
  std::vector<ManifestSegment> dropped_;
  Bytes torn_tail_;
  std::shared_ptr<File> file_;  // while something is not synced
  std::int64_t end_ = 0;
  std::int64_t synced_end_ = 0;
  std::int64_t vouched_end_ = 0;  // as noted in the file, or not worth noting
  absl::Status failure_;
};

}  // namespace cairn::storage
