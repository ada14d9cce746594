#include "storage/partition_verifier.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/damaged_segments.h"
#include "storage/leftover.h"
#include "storage/list_reach.h"
#include "storage/log.h"
#include "storage/partition_meta.h"
#include "storage/producer_table.h"
#include "storage/segment_name.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSnapshotBytesMax = 256 << 20;

}  // namespace

absl::StatusOr<std::map<SegmentFileName, fs::path>> LogFiles(const fs::path& directory) {
  std::map<SegmentFileName, fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (const auto file = ParseLogFileName(name)) files.emplace(*file, it->path());
  }
  if (error) return ErrnoError("list", directory, error.value());
  return files;
}

KnownOutside KnownOutside::Of(const TopicPartition& partition) const {
  KnownOutside known = *this;
  if (frontier == nullptr) return known;
  known.was_clean = was_clean && frontier->was_clean(partition);
  known.has_frontier = has_frontier && frontier->Knows(partition);
  return known;
}

absl::StatusOr<std::optional<TopicPartition>> PartitionVerifier::Run() {
  ++findings_.summary.partitions;
  CheckMeta();
  ASSIGN_OR_RETURN(const bool has_manifest, ReadManifest());
  if (!has_manifest) return std::optional<TopicPartition>();
  RETURN_IF_ERROR(CheckLog());
  return std::optional<TopicPartition>(manifest_.partition);
}

absl::Status PartitionVerifier::RunOn(Manifest::Contents contents) {
  manifest_ = std::move(contents);
  known_ = known_.Of(manifest_.partition);
  return CheckLog();
}

void PartitionVerifier::BreakAt(const ManifestSegment& segment, std::int64_t position,
                                Offset offset, std::string reason) {
  if (break_.has_value()) return;
  const std::vector<ManifestSegment>& segments = manifest_.state.segments;
  break_ = Break{.segment = static_cast<std::size_t>(&segment - segments.data()),
                 .position = position,
                 .offset = offset,
                 .reason = std::move(reason)};
}

absl::Status PartitionVerifier::CheckLog() {
  epochs_ = EpochHistory(manifest_.state.epochs);
  if (known_.frontier != nullptr) durable_ = known_.frontier->Find(manifest_.partition);
  const std::vector<ManifestSegment>& segments = manifest_.state.segments;
  expected_ = segments.empty() ? manifest_.state.log_start : segments.front().base;
  if (expected_ > manifest_.state.log_start) {
    findings_.Damage(directory_ / kManifestFileName, 0,
                     absl::StrFormat("the log begins at offset %d, its first segment at %d",
                                     manifest_.state.log_start.value(), expected_.value()));
  }
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const bool is_last = i + 1 == segments.size();
    RETURN_IF_ERROR(CheckSegment(
        segments[i], is_last ? std::nullopt : std::optional<Offset>(segments[i + 1].base)));
  }
  CheckEnd();
  CheckSnapshot();
  return CheckNames();
}

void PartitionVerifier::CheckMeta() {
  const fs::path path = directory_ / kPartitionMetaName;
  const absl::StatusOr<LogIdentity> meta = ReadPartitionMeta(directory_);
  if (absl::IsNotFound(meta.status())) {
    findings_.Note(path, 0, "missing; a repair, or the start after a crash, writes it again");
  } else if (std::error_code error; fs::file_size(path, error) == 0 && !error) {
    // Its name came to the disk, its bytes did not: a power cut, on xfs.
    findings_.Note(path, 0, "empty; a repair, or the start after a crash, writes it again");
  } else if (!meta.ok()) {
    findings_.Damage(path, 0, meta.status());
  } else if (PartitionDirectory(*meta) != directory_.filename().string()) {
    findings_.Damage(path, 0, "says that this is " + PartitionDirectory(*meta));
  }
}

absl::StatusOr<bool> PartitionVerifier::ReadManifest() {
  const fs::path path = directory_ / kManifestFileName;
  absl::StatusOr<Manifest::Contents> contents = Manifest::Read(directory_);
  if (absl::IsDataLoss(contents.status())) {
    findings_.Damage(path, 0, contents.status());
    return false;
  }
  if (absl::IsNotFound(contents.status())) {
    ASSIGN_OR_RETURN(const auto files, LogFiles(directory_));
    if (known_.was_clean || !files.empty()) {
      findings_.Damage(path, 0, "missing");
    } else {
      findings_.Note(path, 0, "missing; the partition was being created");
    }
    return false;
  }
  RETURN_IF_ERROR(contents.status());
  manifest_ = *std::move(contents);
  CheckOwner();
  known_ = known_.Of(manifest_.partition);
  const std::optional<DurableEnd> durable =
      known_.has_frontier ? known_.frontier->Find(manifest_.partition) : std::nullopt;
  const absl::Status reaches =
      durable.has_value() ? CheckListReaches(manifest_.state, *durable) : absl::OkStatus();
  if (!reaches.ok()) {
    findings_.Damage(path, manifest_.end, reaches);
  } else if (!manifest_.torn_tail.empty()) {
    std::string reason =
        absl::StrFormat("%d bytes at the end are no entry", manifest_.torn_tail.size());
    if (known_.was_clean || !known_.has_frontier) {
      findings_.Damage(path, manifest_.end, std::move(reason));
    } else {
      findings_.Note(path, manifest_.end, std::move(reason));
    }
  }
  return true;
}

// The manifest is this partition's, as far as the directory and partition.meta can tell.
void PartitionVerifier::CheckOwner() {
  const fs::path path = directory_ / kManifestFileName;
  const std::optional<PartitionName> name = ParsePartitionDirectory(directory_.filename().string());
  const absl::StatusOr<LogIdentity> meta = ReadPartitionMeta(directory_);
  if (name.has_value() && name->partition != manifest_.partition.partition) {
    findings_.Damage(
        path, 0,
        absl::StrFormat("expected the manifest of partition %d, found that of %d",
                        name->partition.value(), manifest_.partition.partition.value()));
  } else if (meta.ok() && meta->topic != manifest_.partition.topic) {
    findings_.Damage(path, 0,
                     absl::StrFormat("expected the manifest of topic %s, as partition.meta says, "
                                     "found that of %s",
                                     ToString(meta->topic), ToString(manifest_.partition.topic)));
  }
}

void PartitionVerifier::CheckEnd() {
  if (!durable_.has_value()) {
    const bool has_unsealed =
        !manifest_.state.segments.empty() && !manifest_.state.segments.back().sealed;
    if (known_.was_clean && has_unsealed) {
      findings_.Damage(directory_, 0, "the frontier does not know how far this log goes");
    }
    return;
  }
  const ManifestState& state = manifest_.state;
  const Offset end = std::max(expected_, state.log_start);
  if (end < durable_->end) {
    const std::string reason = absl::StrFormat("expected offsets up to %d, found them up to %d",
                                               durable_->end.value(), end.value());
    findings_.Damage(directory_, 0, reason);
    if (!break_.has_value()) break_ = Break{state.segments.size(), 0, end, reason};
  }
  const bool is_last =
      !state.segments.empty() && state.segments.back().base == durable_->segment_base;
  if (!known_.was_clean || !is_last || state.segments.back().sealed) return;
  std::error_code error;
  const fs::path path = directory_ / LogFileName(durable_->segment_base);
  const auto size = fs::file_size(path, error);
  if (!error && static_cast<std::int64_t>(size) != durable_->position) {
    findings_.Damage(path, std::min(static_cast<std::int64_t>(size), durable_->position),
                     absl::StrFormat("expected %d bytes, found %d", durable_->position, size));
  }
}

void PartitionVerifier::CheckSnapshot() {
  const fs::path path = directory_ / kProducerSnapshotName;
  const absl::StatusOr<Bytes> bytes = ReadFile(path, kSnapshotBytesMax);
  if (absl::IsNotFound(bytes.status())) return;
  const absl::StatusOr<std::pair<ProducerTable, DurableEnd>> snapshot =
      bytes.ok() ? ProducerTable::FromSnapshot(*bytes, manifest_.partition) : bytes.status();
  if (snapshot.ok()) return CheckFrontier(kProducerSnapshotName, snapshot->second.end);
  findings_.Note(path, 0, std::string(snapshot.status().message()) + "; it will be rebuilt");
}

// What was written only once it was durable tells of a frontier that has lost its end: a journal
// that is cut between two entries looks whole.
void PartitionVerifier::CheckFrontier(const char* derived, Offset end) {
  if (!known_.has_frontier) return;
  const Offset durable = durable_.has_value() ? durable_->end : Offset(0);
  if (end <= durable) return;
  frontier_is_short_ = true;
  findings_.Damage(
      directory_.parent_path() / "frontier", 0,
      absl::StrFormat("expected %s up to offset %d, of which %s tells, found %d",
                      directory_.filename().string(), end.value(), derived, durable.value()));
}

// Of an interrupted trim or swap, or begun when the machine stopped.
absl::StatusOr<bool> PartitionVerifier::MayBeLeftOver(const SegmentFileName& file) const {
  for (const ManifestSegment& segment : manifest_.dropped) {
    if (file != SegmentFileName{segment.base, segment.generation}) continue;
    if (!segment.sealed.has_value()) return true;
    ASSIGN_OR_RETURN(const bool is_it,
                     IsSegment(PathOf(segment), *segment.sealed, [] { return false; }));
    if (is_it) return true;
  }
  if (file.generation > 0) return true;
  const ManifestState& state = manifest_.state;
  return !known_.was_clean &&
         file.base >= (state.segments.empty() ? state.log_start : state.segments.front().base);
}

absl::Status PartitionVerifier::CheckNames() {
  std::set<std::string> known{kManifestFileName, kPartitionMetaName, kProducerSnapshotName,
                              kDamagedSegmentsName};
  for (const ManifestSegment& segment : manifest_.state.segments) {
    known.insert(LogFileName(segment.base, segment.generation));
    known.insert(IndexFileName(segment.base, segment.generation));
  }
  std::error_code error;
  for (fs::directory_iterator it(directory_, error), end; !error && it != end;
       it.increment(error)) {
    const std::string found = it->path().filename().string();
    if (known.contains(found)) continue;
    bool is_harmless = true;
    if (const auto log = ParseLogFileName(found)) {
      ASSIGN_OR_RETURN(is_harmless, MayBeLeftOver(*log));
      if (!is_harmless) strangers_.push_back(*log);
    }
    if (is_harmless) {
      findings_.Note(it->path(), 0, "not in the manifest");
    } else {
      findings_.Damage(it->path(), 0, "a segment's file that the manifest does not list");
    }
  }
  return error ? ErrnoError("list", directory_, error.value()) : absl::OkStatus();
}

}  // namespace cairn::storage
