#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/types.h"
#include "storage/file.h"
#include "storage/reserve.h"

namespace cairn::storage {

// How far one partition is durable, and where in its files that is.
struct DurableEnd {
  TopicPartition partition;
  Offset end;                 // one past the last durable record
  Offset segment_base;        // the segment that was active
  std::int64_t position = 0;  // the byte in it where `end` would be appended

  bool operator==(const DurableEnd&) const = default;
};

// What a new frontier begins with. Where one was lost: a number of starts beyond all that may have
// been used, and the partitions of which nothing is known any more.
struct FrontierBeginning {
  std::int32_t start = 0;
  std::vector<TopicPartition> unknown = {};
};

// With the frontier the number of starts is gone. It is made up for by a leap from the highest
// epoch that a manifest knows: no more starts than that can have been without a single group commit
// that made their epoch durable.
std::int32_t StartAfterLostFrontier(LeaderEpoch highest);

// The durable ends of all partitions of a data directory: a journal, one checksummed entry for each
// partition of each group commit, rewritten (new file, rename, directory sync) when it has grown
// long. FORMAT.md has the bytes.
//
// Truth: below a durable end an invalid batch is damage, at or above it a torn tail. Entries
// survive kill -9 when Note returns, and a power cut when Sync returned; a clean stop is noted in
// it.
//
// Threads: Note, Forget and Sync from any, one at a time (they lock).
class Frontier {
 public:
  // Reads DATA/frontier, or creates it. What a crash left unfinished at the end is cut, and it is
  // noted, durably, that the directory is in use, for the start()th time. `cluster_id` is what the
  // file must belong to.
  //   kDataLoss  it cannot be read; recovery then has no frontier (see recovery.h)
  static absl::StatusOr<std::unique_ptr<Frontier>> Open(const std::filesystem::path& data_dir,
                                                        const TopicId& cluster_id = {},
                                                        const FrontierBeginning& if_new = {});
  // The same without writing anything, for tools. kNotFound if there is none.
  static absl::StatusOr<std::unique_ptr<Frontier>> OpenForReading(
      const std::filesystem::path& data_dir, const TopicId& cluster_id = {});
  // The bytes of a whole file, as of an unclean stop of that start.
  static Bytes Encode(const TopicId& cluster_id, std::int32_t start,
                      std::span<const TopicPartition> unknown, std::span<const DurableEnd> ends);
  // The data directory that the file says it belongs to, if its header can be read.
  static std::optional<TopicId> ClusterIdOf(const std::filesystem::path& data_dir);
  // One that knows nothing and is never written: for tools, in place of an unreadable one.
  static std::unique_ptr<Frontier> Empty();

  // The last that was noted, in this run or before; nothing for a partition that never had a group
  // commit.
  std::optional<DurableEnd> Find(const TopicPartition& partition) const;
  // False: there was an entry, but it was lost with an earlier file, and no end was noted since.
  bool Knows(const TopicPartition& partition) const;
  // Whether the last run stopped cleanly: then every log ends exactly where its entry says.
  bool was_clean() const { return was_clean_; }
  // The same of one partition: its log was closed, too.
  bool was_clean(const TopicPartition& partition) const {
    return was_clean_ && !not_closed_.contains(partition);
  }
  // How many starts of this directory there were before this one. Durable when Open returns, so no
  // two starts have the same number, whatever a power cut takes back: leader epochs are made of it.
  std::int32_t start() const { return start_; }

  // From now on what is noted goes on when the disk is full, as far as the reserve reaches.
  void UseReserve(Reserve& reserve) { reserve_ = &reserve; }

  // Errors: as ErrnoError. kStorageFull leaves everything as it was, and trying again may help; a
  // failed sync is final for all of them.
  absl::Status Note(std::span<const DurableEnd> ends);
  // A deleted partition. A group commit that was under way may still note its end: that is left
  // out.
  absl::Status Forget(const TopicPartition& partition);
  absl::Status Sync();
  // Notes a clean stop, durably. Requires that every log is closed and durable, but those of
  // `not_closed`: what was noted of them holds, and the next start looks at them as after a crash.
  absl::Status CloseClean(std::span<const TopicPartition> not_closed = {});

  // All partitions, in no order.
  std::vector<DurableEnd> All() const;
  // Those that it does not know, in no order.
  std::vector<TopicPartition> Unknown() const;

 private:
  struct Entry;
  enum class Access { kRead, kWrite };

  Frontier() = default;
  static absl::StatusOr<std::unique_ptr<Frontier>> Load(const std::filesystem::path& path,
                                                        const TopicId& cluster_id, Access access);
  static absl::StatusOr<std::unique_ptr<Frontier>> Create(const std::filesystem::path& path,
                                                          const TopicId& cluster_id,
                                                          const FrontierBeginning& beginning);
  absl::Status Parse(ByteView file);
  absl::Status Begin();
  absl::Status WriteLocked(ByteView entries);
  absl::Status WriteWhereReserved(ByteView entries);
  absl::Status SyncLocked();
  absl::Status RewriteLocked();
  bool WantsRewrite() const;

  mutable std::mutex mutex_;
  std::filesystem::path path_;
  TopicId cluster_id_;
  File file_;
  Reserve* reserve_ = nullptr;
  std::int64_t end_ = 0;           // of the last whole entry
  std::int64_t synced_end_ = 0;    // up to here the file is durable
  std::int64_t noted_synced_ = 0;  // what the last such note in the file says
  std::int64_t reserved_end_ = 0;
  std::int64_t rewrite_at_ = 0;  // not before the file is this long
  bool has_hole_ = false;        // unsynced entries were lost in the middle
  bool was_clean_ = false;
  std::int32_t start_ = 0;
  absl::Status failure_;  // of a sync: final
  Bytes noting_;          // Note's; keeps its memory
  absl::flat_hash_map<TopicPartition, DurableEnd> ends_;
  absl::flat_hash_set<TopicPartition> unknown_;
  absl::flat_hash_set<TopicPartition> not_closed_;  // by the run before
  absl::flat_hash_set<TopicPartition> forgotten_;   // in this run
};

}  // namespace cairn::storage
