// The files of a partition's directory, at a start: which there are, and what becomes of those that
// the manifest does not list. A part of LogRecovery.

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/damaged_segments.h"
#include "storage/log_recovery.h"
#include "storage/partition_meta.h"
#include "storage/segment_name.h"

namespace cairn::storage {
namespace fs = std::filesystem;

absl::Status LogRecovery::ListFiles() {
  std::error_code error;
  for (fs::directory_iterator it(log_.place_->directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (const auto file = ParseLogFileName(name)) files_.insert(*file);
    has_damaged_list_ |= name == kDamagedSegmentsName;
    if (!name.ends_with(kReplacementEnding)) continue;
    const auto file = ParseLogFileName(name.substr(0, name.size() - kReplacementEnding.size()));
    if (file.has_value()) unfinished_.insert(*file);
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return ErrnoError("list", log_.place_->directory, error.value());
  }
  return absl::OkStatus();
}

// partition.meta is of no use to the log, but a lost catalog is rebuilt from it.
absl::Status LogRecovery::MendMeta() {
  if (was_clean_) return absl::OkStatus();
  const absl::Status present = ReadPartitionMeta(log_.place_->directory).status();
  const bool is_lost = absl::IsNotFound(present) || absl::IsDataLoss(present);
  if (!is_lost && !NeedsSync()) return absl::OkStatus();
  const absl::StatusOr<File> meta = log_.data_dir_.CreatePartition(log_.identity_);
  // Another partition's, or there is no room for it: the log can do without.
  if (!meta.ok()) {
    report_.notes.push_back(std::string(meta.status().message()));
    return absl::OkStatus();
  }
  if (is_lost) {
    report_.notes.push_back(meta->path().string() + " was lost and is written again");
    changed_ = true;
  }
  return meta->Sync();
}

// Files that the manifest does not list. Those that it once listed were dropped or replaced, and
// their removal was interrupted: they may go once they were looked at. Of any other nobody can tell
// whose it is: one that was being created, the new side of a swap that was not noted, or a file
// that was put here by hand.
absl::Status LogRecovery::ClearStrays() {
  for (const SegmentFileName& file : unfinished_) {
    RETURN_IF_ERROR(RemoveFile(
        log_.place_->directory /
        absl::StrFormat("%s%s", LogFileName(file.base, file.generation), kReplacementEnding)));
  }
  const std::vector<ManifestSegment> dropped = log_.manifest_->TakeDropped();
  const std::vector<ManifestSegment>& listed = log_.manifest_->state().segments;
  for (const SegmentFileName& file : files_) {
    const bool is_listed =
        std::any_of(listed.begin(), listed.end(), [&](const ManifestSegment& segment) {
          return file == SegmentFileName{segment.base, segment.generation};
        });
    if (is_listed) continue;
    ASSIGN_OR_RETURN(const bool was_ours, IsLeftover(file, dropped));
    if (was_ours) continue;
    ASSIGN_OR_RETURN(const fs::path saved, log_.data_dir_.Quarantine(FileName(file)));
    report_.notes.push_back(
        absl::StrFormat("%s is not in the manifest; moved to %s", FileName(file), saved.string()));
  }
  return absl::OkStatus();
}

// As far as name and length tell. Of one that was dropped unsealed nothing more is known.
absl::StatusOr<bool> LogRecovery::IsLeftover(const SegmentFileName& name,
                                             const std::vector<ManifestSegment>& dropped) {
  ASSIGN_OR_RETURN(const File file, File::OpenForReading(log_.data_dir_.path() / FileName(name)));
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  for (const ManifestSegment& segment : dropped) {
    if (name != SegmentFileName{segment.base, segment.generation}) continue;
    if (!segment.sealed.has_value() || segment.sealed->length != size) continue;
    const std::string index = IndexFileName(name.base, name.generation);
    report_.leftovers.push_back(
        {.entry = FileName(name),
         .index_entry = (log_.place_->directory.filename() / index).string(),
         .sealed = *segment.sealed});
    return true;
  }
  return false;
}

}  // namespace cairn::storage
