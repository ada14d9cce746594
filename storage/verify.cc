#include "storage/verify.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/data_dir.h"
#include "storage/epoch_history.h"
#include "storage/fingerprint.h"
#include "storage/frontier.h"
#include "storage/index.h"
#include "storage/log.h"
#include "storage/manifest.h"
#include "storage/partition_meta.h"
#include "storage/producer_table.h"
#include "storage/segment_name.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSnapshotBytesMax = 256 << 20;

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

// Collects and counts.
class Findings {
 public:
  explicit Findings(const OnFinding& on_finding) : on_finding_(on_finding) {}

  void Damage(const fs::path& file, std::int64_t position, std::string reason) {
    ++summary.damages;
    on_finding_({Finding::Severity::kDamage, file, position, std::move(reason)});
  }
  void Damage(const fs::path& file, std::int64_t position, const absl::Status& status) {
    Damage(file, position, std::string(status.message()));
  }
  void Note(const fs::path& file, std::int64_t position, std::string reason) {
    ++summary.notes;
    on_finding_({Finding::Severity::kNote, file, position, std::move(reason)});
  }

  VerifySummary summary;

 private:
  const OnFinding& on_finding_;
};

// What is known from outside the partition's directory.
struct Known {
  bool was_clean = false;  // nothing is open, nothing was left unfinished
  bool has_frontier = false;
  const Frontier* frontier = nullptr;
};

class PartitionVerifier {
 public:
  PartitionVerifier(fs::path directory, const Known& known, Findings& findings)
      : directory_(std::move(directory)), known_(known), findings_(findings) {}

  // Gives the partition it turned out to be.
  absl::StatusOr<std::optional<TopicPartition>> Run();

 private:
  // How far a segment is to be read, and how it must end.
  struct Reach {
    std::int64_t end = 0;
    std::optional<Offset> next;  // must end before this offset, at `end`; nothing: anywhere
    bool zeros_end = false;
    bool is_damage = true;  // an invalid batch is: otherwise it may be a torn tail
  };

  fs::path PathOf(const ManifestSegment& segment) const {
    return directory_ / LogFileName(segment.base, segment.generation);
  }
  absl::StatusOr<bool> ReadManifest();
  void CheckMeta();
  absl::Status CheckSegment(const ManifestSegment& segment, std::optional<Offset> next);
  std::optional<Reach> ReachOf(const ManifestSegment& segment, std::optional<Offset> next,
                               std::int64_t size);
  void CheckSize(const ManifestSegment& segment, bool is_last, std::int64_t size);
  void CheckIndex(const Index& built, const ManifestSegment& segment);
  void CheckEnd();
  void CheckSnapshot();
  absl::Status CheckNames();

  const fs::path directory_;
  Known known_;
  Findings& findings_;
  Manifest::Contents manifest_;
  EpochHistory epochs_;
  std::optional<DurableEnd> durable_;
  Offset expected_;
};

absl::StatusOr<std::optional<TopicPartition>> PartitionVerifier::Run() {
  ++findings_.summary.partitions;
  CheckMeta();
  ASSIGN_OR_RETURN(const bool has_manifest, ReadManifest());
  if (!has_manifest) return std::optional<TopicPartition>();
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
  RETURN_IF_ERROR(CheckNames());
  return std::optional<TopicPartition>(manifest_.partition);
}

void PartitionVerifier::CheckMeta() {
  const fs::path path = directory_ / kPartitionMetaName;
  const absl::StatusOr<LogIdentity> meta = ReadPartitionMeta(directory_);
  if (absl::IsNotFound(meta.status())) {
    findings_.Note(path, 0, "missing; it is written again at the next start");
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
  // Its entry was lost with an earlier frontier.
  if (known_.frontier != nullptr && !known_.frontier->Knows(manifest_.partition)) {
    known_.has_frontier = false;
  }
  const absl::StatusOr<LogIdentity> meta = ReadPartitionMeta(directory_);
  if (meta.ok() && TopicPartition{meta->topic, meta->partition} != manifest_.partition) {
    findings_.Damage(path, 0, "belongs to another partition than partition.meta says");
  }
  if (!manifest_.torn_tail.empty()) {
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

// Nothing: not to be read at all.
std::optional<PartitionVerifier::Reach> PartitionVerifier::ReachOf(const ManifestSegment& segment,
                                                                   std::optional<Offset> next,
                                                                   std::int64_t size) {
  if (segment.sealed.has_value()) return Reach{segment.sealed->length, segment.sealed->next_offset};
  const bool is_active = durable_.has_value() && durable_->segment_base == segment.base;
  if (known_.was_clean) {
    if (next.has_value()) return Reach{size, next};
    return Reach{size, durable_.has_value() ? std::optional<Offset>(durable_->end) : std::nullopt};
  }
  if (!known_.has_frontier) return Reach{size, std::nullopt, true, false};
  if (is_active) return Reach{durable_->position, durable_->end};
  if (durable_.has_value() && segment.base < durable_->segment_base) return Reach{size, next, true};
  return std::nullopt;
}

void PartitionVerifier::CheckSize(const ManifestSegment& segment, bool is_last, std::int64_t size) {
  if (!segment.sealed.has_value() || size == segment.sealed->length) return;
  const fs::path path = PathOf(segment);
  const std::string reason =
      absl::StrFormat("expected %d bytes, found %d", segment.sealed->length, size);
  if (is_last && !known_.was_clean && segment.generation == 0 && size > segment.sealed->length) {
    findings_.Note(path, segment.sealed->length, reason + ": it was being continued");
  } else {
    findings_.Damage(path, std::min(size, segment.sealed->length), reason);
  }
}

absl::Status PartitionVerifier::CheckSegment(const ManifestSegment& segment,
                                             std::optional<Offset> next) {
  ++findings_.summary.segments;
  const fs::path path = PathOf(segment);
  if (segment.base != expected_) {
    findings_.Damage(path, 0, absl::StrFormat("expected to begin at offset %d", expected_.value()));
  }
  expected_ = segment.base;
  const absl::StatusOr<File> file = File::OpenForReading(path);
  if (absl::IsNotFound(file.status())) {
    if (!segment.sealed && !known_.was_clean && known_.has_frontier &&
        (!durable_ || durable_->end <= segment.base)) {
      findings_.Note(path, 0, "missing; nothing in it was durable");
    } else {
      findings_.Damage(path, 0, "missing");
    }
    if (next.has_value()) expected_ = *next;
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(file.status());
  ASSIGN_OR_RETURN(const std::int64_t size, file->Size());
  CheckSize(segment, !next.has_value(), size);
  const std::optional<Reach> reach = ReachOf(segment, next, size);
  if (!reach.has_value()) {
    findings_.Note(path, 0, "not looked at: nothing in it is known to be durable");
    if (next.has_value()) expected_ = *next;
    return absl::OkStatus();
  }
  Index index(segment.base);
  Fingerprint fingerprint;
  BatchScan scan(*file, {.end = reach->end,
                         .next_offset = segment.base,
                         .epochs = &epochs_,
                         .zeros_end = reach->zeros_end,
                         .cleaned = segment.generation > 0});
  while (scan.Next()) {
    const RecordBatchView& batch = scan.batch();
    fingerprint.Add(batch.bytes());
    index.Note(batch.base_offset(), batch.next_offset(), static_cast<std::int64_t>(batch.size()),
               batch.max_timestamp());
    ++findings_.summary.batches;
  }
  findings_.summary.bytes += scan.position();
  expected_ = scan.next_offset();
  if (!scan.status().ok() && !absl::IsDataLoss(scan.status())) return scan.status();
  if (!scan.status().ok() && reach->is_damage) {
    findings_.Damage(path, scan.position(), scan.status());
  } else if (!scan.status().ok()) {
    findings_.Note(path, scan.position(),
                   "without a frontier this may be a torn tail or damage: " +
                       std::string(scan.status().message()));
  } else if (reach->next.has_value() && *reach->next != scan.next_offset()) {
    findings_.Damage(path, scan.position(),
                     absl::StrFormat("expected to end before offset %d, found %d",
                                     reach->next->value(), scan.next_offset().value()));
  } else if (segment.sealed && fingerprint.value() != segment.sealed->fingerprint) {
    findings_.Damage(path, 0,
                     absl::StrFormat("expected the fingerprint %016x, found %016x",
                                     segment.sealed->fingerprint, fingerprint.value()));
  } else if (segment.sealed && index.max_timestamp() != segment.sealed->max_timestamp) {
    findings_.Damage(
        path, 0,
        absl::StrFormat("expected the greatest timestamp %d, found %d",
                        segment.sealed->max_timestamp.value(), index.max_timestamp().value()));
  } else if (segment.sealed.has_value() || known_.was_clean) {
    CheckIndex(index, segment);
  }
  if (reach->next.has_value()) expected_ = *reach->next;  // one finding a segment
  return absl::OkStatus();
}

void PartitionVerifier::CheckIndex(const Index& built, const ManifestSegment& segment) {
  const fs::path path = directory_ / IndexFileName(segment.base, segment.generation);
  const absl::StatusOr<Index> loaded = Index::Load(path, built.base(), built.log_length());
  if (absl::IsNotFound(loaded.status())) {
    if (segment.sealed.has_value())
      findings_.Note(path, 0, "missing; it is rebuilt when it is needed");
    return;
  }
  if (!loaded.ok()) {
    findings_.Note(path, 0, std::string(loaded.status().message()) + "; it will be rebuilt");
    return;
  }
  // The interval may have been another; what counts is that every entry is true.
  for (const Index::Entry& entry : loaded->entries()) {
    const Offset offset = built.base() + entry.offset_delta;
    const Index::Place place = built.FindPosition(entry.position);
    if (place.position == entry.position && place.offset != offset) {
      findings_.Note(path, 0,
                     absl::StrFormat("position %d is said to hold offset %d, found %d",
                                     entry.position, offset.value(), place.offset.value()));
      return;
    }
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
    findings_.Damage(directory_, 0,
                     absl::StrFormat("expected offsets up to %d, found them up to %d",
                                     durable_->end.value(), end.value()));
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
  const absl::Status status =
      bytes.ok() ? ProducerTable::FromSnapshot(*bytes, manifest_.partition).status()
                 : bytes.status();
  if (!status.ok()) findings_.Note(path, 0, std::string(status.message()) + "; it will be rebuilt");
}

absl::Status PartitionVerifier::CheckNames() {
  std::set<std::string> known{kManifestFileName, kPartitionMetaName, kProducerSnapshotName};
  for (const ManifestSegment& segment : manifest_.state.segments) {
    known.insert(LogFileName(segment.base, segment.generation));
    known.insert(IndexFileName(segment.base, segment.generation));
  }
  std::error_code error;
  for (fs::directory_iterator it(directory_, error), end; !error && it != end;
       it.increment(error)) {
    if (known.contains(it->path().filename().string())) continue;
    findings_.Note(it->path(), 0, "not in the manifest");
  }
  return error ? ErrnoError("list", directory_, error.value()) : absl::OkStatus();
}

absl::Status VerifyPartitions(const DataDir& data, const std::optional<std::string>& only,
                              const Known& known, Findings& findings) {
  ASSIGN_OR_RETURN(const std::vector<DataDir::Found> found, data.ListPartitions());
  std::set<TopicPartition> seen;
  for (const DataDir::Found& partition : found) {
    if (only.has_value() && partition.directory != *only) continue;
    if (partition.partition < PartitionIndex(0)) {
      findings.Note(data.path() / partition.directory, 0, "not a partition's directory");
      continue;
    }
    PartitionVerifier verifier(data.path() / partition.directory, known, findings);
    ASSIGN_OR_RETURN(const std::optional<TopicPartition> id, verifier.Run());
    if (id.has_value()) seen.insert(*id);
    if (partition.meta.ok()) seen.insert({partition.topic, partition.partition});
  }
  if (only.has_value() || known.frontier == nullptr) return absl::OkStatus();
  for (const DurableEnd& end : known.frontier->All()) {
    if (end.end > Offset(0) && !seen.contains(end.partition)) {
      findings.Damage(data.path(), 0,
                      absl::StrFormat("no directory for partition %d of topic %s, expected offsets "
                                      "up to %d",
                                      end.partition.partition.value(),
                                      ToString(end.partition.topic), end.end.value()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<VerifySummary> VerifyDataDirectory(const fs::path& path,
                                                  const OnFinding& on_finding) {
  Findings findings(on_finding);
  fs::path root = fs::absolute(path).lexically_normal();
  if (!root.has_filename()) root = root.parent_path();
  std::optional<std::string> only;
  std::error_code error;
  if (fs::exists(root.parent_path() / "format", error) && !fs::exists(root / "format", error)) {
    if (!fs::is_directory(root, error)) {
      return absl::NotFoundError(root.string() + ": there is no such directory");
    }
    only = root.filename().string();
    root = root.parent_path();
  }
  absl::StatusOr<std::unique_ptr<DataDir>> data = DataDir::OpenForReading(root);
  if (absl::IsDataLoss(data.status())) {
    findings.Damage(root / "format", 0, data.status());
    return findings.summary;
  }
  RETURN_IF_ERROR(data.status());
  const absl::Status& frontier_damage = (*data)->frontier_damage();
  if (!frontier_damage.ok()) findings.Damage(root / "frontier", 0, frontier_damage);
  const Known known{.was_clean = frontier_damage.ok() && (*data)->frontier().was_clean(),
                    .has_frontier = frontier_damage.ok(),
                    .frontier = frontier_damage.ok() ? &(*data)->frontier() : nullptr};
  RETURN_IF_ERROR(VerifyPartitions(**data, only, known, findings));
  return findings.summary;
}

absl::Status WalkBatches(const fs::path& partition_directory,
                         const std::function<bool(const fs::path& file, std::int64_t position,
                                                  const RecordBatchView& batch)>& visit) {
  ASSIGN_OR_RETURN(const auto files, LogFiles(partition_directory));
  Offset next;
  for (auto it = files.begin(); it != files.end(); ++it) {
    const auto& [name, path] = *it;
    const auto after = std::next(it);
    // Of a swap that was interrupted both sides are there: the newest of a base holds what the
    // others do, and so it may be with files that it reaches over.
    if (name.base < next || (after != files.end() && after->first.base == name.base)) continue;
    ASSIGN_OR_RETURN(const File file, File::OpenForReading(path));
    ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
    BatchScan scan(
        file,
        {.end = size, .next_offset = name.base, .zeros_end = true, .cleaned = name.generation > 0});
    while (scan.Next()) {
      if (!visit(path, scan.batch_position(), scan.batch())) return absl::OkStatus();
    }
    RETURN_IF_ERROR(scan.status());
    next = scan.next_offset();
  }
  return absl::OkStatus();
}

}  // namespace cairn::storage
