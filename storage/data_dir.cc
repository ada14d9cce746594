#include "storage/data_dir.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <optional>
#include <set>
#include <string_view>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/directory_lock.h"
#include "storage/format_file.h"
#include "storage/manifest.h"
#include "storage/partition_meta.h"
#include "storage/quarantine.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFrontierName = "frontier";
constexpr std::string_view kDeletedEnding = ".deleted";

// What may stand in a directory that is not yet ours: an interrupted creation leaves the first
// five, and a fresh file system the last.
const std::set<std::string, std::less<>> kHarmless = {kLockFileName,  "reserve",    "frontier",
                                                      "frontier.new", "format.new", "lost+found"};

constexpr std::int64_t kReserveMax = std::int64_t{64} << 20;
constexpr std::int64_t kReserveShare = 20;  // of the disk: one part in so many

bool EndsWith(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

bool IsDirectory(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(fs::symlink_status(path, error));
}

std::string DeletedName(const LogIdentity& identity) {
  return absl::StrFormat("%s-%d%s", ToString(identity.topic), identity.partition.value(),
                         kDeletedEnding);
}

}  // namespace

DataDir::~DataDir() = default;

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::Open(const fs::path& path,
                                                       const DataDirOptions& options) {
  RETURN_IF_ERROR(MakeDirectories(path));
  std::unique_ptr<DataDir> dir(new DataDir());
  dir->path_ = path;
  std::error_code error;
  // Before anything is written: what is not ours is left as it was found.
  if (!fs::exists(path / kFormatFileName, error)) RETURN_IF_ERROR(dir->RefuseStrangers());
  ASSIGN_OR_RETURN(dir->lock_, LockDirectory(path));
  ASSIGN_OR_RETURN(dir->directory_, File::OpenDirectory(path));
  absl::Status format = dir->ReadFormat();
  if (!absl::IsNotFound(format)) RETURN_IF_ERROR(format);
  RETURN_IF_ERROR(dir->OpenReserve(options.reserve_bytes));
  if (absl::IsNotFound(format)) RETURN_IF_ERROR(dir->CreateFormat());
  if (dir->frontier_ == nullptr) RETURN_IF_ERROR(dir->OpenFrontier());
  dir->frontier_->UseReserve(*dir->reserve_);
  return dir;
}

std::optional<Timestamp> DataDir::LastWritten(const fs::path& path) {
  const absl::StatusOr<File> frontier = File::OpenForReading(path / kFrontierName);
  if (!frontier.ok()) return std::nullopt;
  const absl::StatusOr<Timestamp> modified = frontier->ModifiedAt();
  if (!modified.ok()) return std::nullopt;
  return *modified;
}

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::OpenForReading(const fs::path& path) {
  std::unique_ptr<DataDir> dir(new DataDir());
  dir->path_ = path;
  ASSIGN_OR_RETURN(dir->directory_, File::OpenDirectory(path));
  absl::Status format = dir->ReadFormat();
  if (absl::IsNotFound(format)) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s is not a data directory: it has no format file", path.string()));
  }
  RETURN_IF_ERROR(format);
  absl::StatusOr<std::unique_ptr<Frontier>> frontier =
      Frontier::OpenForReading(path, dir->cluster_id_);
  dir->frontier_damage_ = frontier.status();
  dir->frontier_ = frontier.ok() ? *std::move(frontier) : Frontier::Empty();
  return dir;
}

absl::Status DataDir::OpenReserve(const std::optional<std::int64_t>& bytes) {
  ASSIGN_OR_RETURN(const DiskSpace space, Space());
  ASSIGN_OR_RETURN(
      reserve_,
      Reserve::Open(path_, bytes.value_or(std::min(kReserveMax, space.total / kReserveShare))));
  return absl::OkStatus();
}

absl::Status DataDir::ReadFormat() {
  const fs::path path = path_ / kFormatFileName;
  ASSIGN_OR_RETURN(const Bytes file, ReadFile(path, 1 << 20));
  ASSIGN_OR_RETURN(const DataFormat format, DecodeFormat(path.string(), file));
  cluster_id_ = format.cluster_id;
  offsets_partitions_ = format.offsets_partitions;
  return absl::OkStatus();
}

absl::Status DataDir::RefuseStrangers() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> entries, Entries());
  for (const std::string& entry : entries) {
    if (kHarmless.contains(entry)) continue;
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s holds \"%s\" but no format file, so it is not a data directory: give an empty one",
        path_.string(), entry));
  }
  return absl::OkStatus();
}

// The format file comes last: where it is, everything else is.
absl::Status DataDir::CreateFormat() {
  RETURN_IF_ERROR(RemoveFile(path_ / kFrontierName));
  const DataFormat format{.cluster_id = NewTopicId()};
  cluster_id_ = format.cluster_id;
  offsets_partitions_ = format.offsets_partitions;
  ASSIGN_OR_RETURN(frontier_, Frontier::Open(path_, cluster_id_));
  return ReplaceFile(path_ / kFormatFileName, EncodeFormat(format));
}

absl::Status DataDir::OpenFrontier() {
  std::error_code error;
  const fs::path path = path_ / kFrontierName;
  const bool exists = fs::exists(path, error);
  // A disk that cannot tell is no reason to begin a new one.
  if (error) return ErrnoError("look for", path, error.value());
  if (!exists) {
    frontier_damage_ = absl::DataLossError(absl::StrFormat("%s is missing", path.string()));
  } else {
    absl::StatusOr<std::unique_ptr<Frontier>> frontier;
    (void)reserve_->Through([&] {
      frontier = Frontier::Open(path_, cluster_id_);
      return frontier.status();
    });
    if (frontier.ok()) {
      frontier_ = *std::move(frontier);
      return absl::OkStatus();
    }
    // A bad disk is no reason to set files aside.
    if (!absl::IsDataLoss(frontier.status())) return frontier.status();
    frontier_damage_ = frontier.status();
    RETURN_IF_ERROR(Quarantine(kFrontierName).status());
  }
  ASSIGN_OR_RETURN(const FrontierBeginning beginning, AfterLostFrontier());
  return reserve_->Through([&]() -> absl::Status {
    ASSIGN_OR_RETURN(frontier_, Frontier::Open(path_, cluster_id_, beginning));
    return absl::OkStatus();
  });
}

// With the frontier the number of starts is gone, and where each partition was durable.
absl::StatusOr<FrontierBeginning> DataDir::AfterLostFrontier() const {
  FrontierBeginning beginning;
  ASSIGN_OR_RETURN(const std::vector<Found> partitions, ListPartitions());
  LeaderEpoch highest(0);
  for (const Found& found : partitions) {
    const absl::StatusOr<Manifest::Contents> manifest = Manifest::Read(path_ / found.directory);
    // A bad disk is no reason to count anew.
    const absl::Status& status = manifest.status();
    if (!status.ok() && !absl::IsNotFound(status) && !absl::IsDataLoss(status)) return status;
    if (manifest.ok()) {
      beginning.unknown.push_back(manifest->partition);
      if (!manifest->state.epochs.empty()) {
        highest = std::max(highest, manifest->state.epochs.back().epoch);
      }
    } else if (found.meta.ok()) {
      beginning.unknown.push_back({found.topic, found.partition});
    }
  }
  beginning.start = StartAfterLostFrontier(highest);
  return beginning;
}

absl::StatusOr<std::vector<std::string>> DataDir::Entries() const {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(path_, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return ErrnoError("list", path_, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::vector<DataDir::Found>> DataDir::ListPartitions() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> directories, PartitionDirectories());
  std::vector<Found> found;
  found.reserve(directories.size());
  for (const std::string& directory : directories) found.push_back(Describe(directory));
  return found;
}

absl::StatusOr<std::vector<std::string>> DataDir::PartitionDirectories() const {
  ASSIGN_OR_RETURN(std::vector<std::string> entries, Entries());
  std::erase_if(entries, [&](const std::string& entry) {
    return entry == kQuarantineName || entry == "lost+found" || EndsWith(entry, kDeletedEnding) ||
           !IsDirectory(path_ / entry);
  });
  return entries;
}

DataDir::Found DataDir::Describe(const std::string& directory) const {
  Found found{.directory = directory,
              .name = directory,
              .topic = {},
              .partition = PartitionIndex(-1),
              .meta = absl::OkStatus()};
  const std::optional<PartitionName> name = ParsePartitionDirectory(directory);
  if (!name) {
    found.meta = absl::DataLossError(absl::StrFormat("%s: not the name of a partition's directory",
                                                     (path_ / directory).string()));
    return found;
  }
  found.name = name->topic_name;
  found.partition = name->partition;
  const absl::StatusOr<LogIdentity> meta = ReadPartitionMeta(path_ / directory);
  if (!meta.ok()) {
    found.meta = meta.status();
  } else if (meta->name != found.name || meta->partition != found.partition) {
    found.meta = absl::DataLossError(
        absl::StrFormat("%s: its %s says %s-%d", (path_ / directory).string(), kPartitionMetaName,
                        meta->name, meta->partition.value()));
  } else {
    found.topic = meta->topic;
  }
  return found;
}

fs::path DataDir::PartitionPath(const LogIdentity& identity) const {
  return path_ / PartitionDirectory(identity);
}

absl::StatusOr<File> DataDir::CreatePartition(const LogIdentity& identity) {
  const fs::path path = PartitionPath(identity);
  const absl::Status made = MakeDirectory(path);
  if (!made.ok() && !absl::IsAlreadyExists(made)) return made;
  if (absl::IsAlreadyExists(made)) {
    const absl::StatusOr<LogIdentity> present = ReadPartitionMeta(path);
    if (present.ok() && present->topic == identity.topic &&
        present->partition == identity.partition && present->name == identity.name) {
      return File::OpenForWriting(path / kPartitionMetaName);
    }
    if (present.ok()) {
      return absl::FailedPreconditionError(absl::StrFormat("%s is of topic %s, and not of %s",
                                                           path.string(), ToString(present->topic),
                                                           ToString(identity.topic)));
    }
    if (!absl::IsNotFound(present.status()) && !absl::IsDataLoss(present.status())) {
      return present.status();
    }
  }
  RETURN_IF_ERROR(ReplaceFileUnsynced(path / kPartitionMetaName, EncodePartitionMeta(identity)));
  return File::OpenForWriting(path / kPartitionMetaName);
}

absl::StatusOr<fs::path> DataDir::Quarantine(const std::string& entry) {
  return MoveToQuarantine(path_, entry);
}

absl::StatusOr<fs::path> DataDir::QuarantineBytes(const std::string& label, ByteView bytes) {
  std::filesystem::path saved;
  RETURN_IF_ERROR(reserve_->Through([&]() -> absl::Status {
    ASSIGN_OR_RETURN(saved, SaveToQuarantine(path_, label, bytes));
    return absl::OkStatus();
  }));
  return saved;
}

absl::Status DataDir::MarkDeleted(const LogIdentity& identity) {
  const absl::Status moved = reserve_->Through(
      [&] { return MoveDurably(PartitionPath(identity), path_ / DeletedName(identity)); });
  if (!moved.ok() && !absl::IsNotFound(moved)) return moved;
  return frontier_->Forget({identity.topic, identity.partition});
}

std::vector<std::string> DataDir::Deleted() const {
  std::vector<std::string> names;
  const absl::StatusOr<std::vector<std::string>> entries = Entries();
  if (!entries.ok()) return names;
  for (const std::string& entry : *entries) {
    if (EndsWith(entry, kDeletedEnding) && IsDirectory(path_ / entry)) names.push_back(entry);
  }
  return names;
}

absl::Status DataDir::RemoveDeleted(const std::string& directory) {
  if (!EndsWith(directory, kDeletedEnding) || directory.find('/') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrFormat("\"%s\" is not a deleted partition's directory", directory));
  }
  const fs::path path = path_ / directory;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    RETURN_IF_ERROR(fs::is_regular_file(it->symlink_status())
                        ? removed_files_.Remove(it->path(), std::nullopt)
                        : RemoveFile(it->path()));
  }
  if (error) return ErrnoError("list", path, error.value());
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError("remove directory", path, errno);
  }
  return directory_.Sync();
}

absl::Status DataDir::SyncFileSystem() {
  if (::syncfs(directory_.descriptor()) == 0) return absl::OkStatus();
  return MakeError(ErrorCode::kStorageFailed,
                   std::string(ErrnoError("sync the file system of", path_, errno).message()));
}

absl::Status DataDir::SyncLeftovers() {
  RETURN_IF_ERROR(SyncFileSystem());
  leftovers_synced_ = true;
  return absl::OkStatus();
}

absl::StatusOr<DataDir::DiskSpace> DataDir::Space() const {
  struct statvfs info;
  if (::fstatvfs(directory_.descriptor(), &info) != 0) {
    return ErrnoError("ask for the free space of", path_, errno);
  }
  const auto block = static_cast<std::int64_t>(info.f_frsize);
  return DiskSpace{.free = static_cast<std::int64_t>(info.f_bavail) * block,
                   .total = static_cast<std::int64_t>(info.f_blocks) * block};
}

}  // namespace cairn::storage
