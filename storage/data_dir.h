#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/types.h"
#include "storage/file.h"
#include "storage/frontier.h"
#include "storage/log_options.h"
#include "storage/removed_files.h"
#include "storage/reserve.h"

namespace cairn::storage {

struct DataDirOptions {
  // What is kept for the broker itself when the disk is full; nothing: the smaller of 64 MiB and 5
  // % of the disk.
  std::optional<std::int64_t> reserve_bytes = 0;
};

// The directory that one daemon owns: its lock, its format, its frontier, and the partitions' own
// directories, which are made, moved to quarantine and removed here. FORMAT.md lists the files.
//
// Threads: any; the methods that change names are called by one thread at a time per partition.
class DataDir {
 public:
  // Creates it if need be, takes the lock and reads format and frontier.
  //   kFailedPrecondition  another process holds the lock (names its pid), or the format is newer
  //   than
  //                        this program, or the directory is not empty and not one of ours
  //   kResourceExhausted   the disk is full
  //   kPermissionDenied    not readable or not writable
  //   kDataLoss            the format file is damaged
  static absl::StatusOr<std::unique_ptr<DataDir>> Open(const std::filesystem::path& path,
                                                       const DataDirOptions& options = {});
  // For tools: no lock is taken and nothing is written.
  static absl::StatusOr<std::unique_ptr<DataDir>> OpenForReading(const std::filesystem::path& path);
  // When the frontier, which every group commit and every stop writes, was last written, by the
  // wall clock of then; nothing if there is none. For before Open, which writes it.
  static std::optional<Timestamp> LastWritten(const std::filesystem::path& path);
  ~DataDir();

  const std::filesystem::path& path() const { return path_; }
  const TopicId& cluster_id() const { return cluster_id_; }
  std::int32_t offsets_partitions() const { return offsets_partitions_; }
  Frontier& frontier() { return *frontier_; }
  Reserve& reserve() { return *reserve_; }
  const Reserve& reserve() const { return *reserve_; }
  RemovedFiles& removed_files() { return removed_files_; }
  // Not OK: the frontier found at start could not be read, and a new one was begun (the old one is
  // in quarantine/). Logs then open by the careful rule of FORMAT.md; Frontier::Knows says which of
  // them still do at later starts.
  const absl::Status& frontier_damage() const { return frontier_damage_; }

  // A partition directory as found: what its name and its partition.meta say.
  struct Found {
    std::string directory;  // its name, "orders-0"
    std::string name;
    TopicId topic;
    PartitionIndex partition;
    absl::Status meta;  // not OK: partition.meta is missing or damaged, and `topic` is not known
  };
  absl::StatusOr<std::vector<Found>> ListPartitions() const;
  // The same in two steps, for many at a time: the names of directories that may be partitions',
  // and what is known of one.
  absl::StatusOr<std::vector<std::string>> PartitionDirectories() const;
  Found Describe(const std::string& directory) const;

  std::filesystem::path PartitionPath(const LogIdentity& identity) const;
  // Makes the directory with its partition.meta, which it gives: synced by the first group commit's
  // SyncPlan. Where they are already, it is checked that they are this partition's, and a missing
  // or damaged partition.meta is written again.
  //   kFailedPrecondition  the directory is another topic's
  absl::StatusOr<File> CreatePartition(const LogIdentity& identity);

  // Moves something out of the way into quarantine/, under a name that says what it was and never
  // overwrites; gives the new path.
  absl::StatusOr<std::filesystem::path> Quarantine(const std::string& entry);
  // Saves bytes that are about to be cut from a file into quarantine/.
  absl::StatusOr<std::filesystem::path> QuarantineBytes(const std::string& label, ByteView bytes);

  // Renames a deleted topic's partition to `<topic id>-<partition>.deleted`, durably, and has the
  // frontier forget it. OK if there is no such directory: nothing was ever written.
  absl::Status MarkDeleted(const LogIdentity& identity);
  // Directories that wait to be removed, and the removal of one: what it held may still wait in
  // removed_files() to be freed.
  std::vector<std::string> Deleted() const;
  absl::Status RemoveDeleted(const std::string& directory);

  // syncfs of the file system that holds the data; through a descriptor opened at Open.
  absl::Status SyncFileSystem();
  // The same at once for all that an unclean stop left, before the first log is opened: then no log
  // needs to sync its own files before it judges them, which pays when there are many.
  absl::Status SyncLeftovers();
  bool leftovers_synced() const { return leftovers_synced_; }

  struct DiskSpace {
    std::int64_t free = 0;
    std::int64_t total = 0;
  };
  absl::StatusOr<DiskSpace> Space() const;

 private:
  DataDir() = default;
  absl::Status ReadFormat();
  absl::Status RefuseStrangers() const;
  absl::Status CreateFormat();
  absl::Status OpenReserve(const std::optional<std::int64_t>& bytes);
  absl::Status OpenFrontier();
  absl::StatusOr<FrontierBeginning> AfterLostFrontier() const;
  absl::StatusOr<std::vector<std::string>> Entries() const;

  std::filesystem::path path_;
  TopicId cluster_id_;
  std::int32_t offsets_partitions_ = 0;
  std::unique_ptr<Reserve> reserve_;  // null: for reading
  RemovedFiles removed_files_;
  std::unique_ptr<Frontier> frontier_;
  absl::Status frontier_damage_;
  bool leftovers_synced_ = false;
  File lock_;       // not open: for reading
  File directory_;  // for syncfs and for syncing names
};

}  // namespace cairn::storage
