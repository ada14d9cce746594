#include "storage/verify.h"

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/data_dir.h"
#include "storage/findings.h"
#include "storage/frontier.h"
#include "storage/named_directory.h"
#include "storage/partition_verifier.h"
#include "storage/rebuild_request.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCatalogDirectory = "__catalog-0";

// What lies in a data directory beside the partitions.
absl::Status CheckRoot(const fs::path& root, Findings& findings) {
  const std::set<std::string, std::less<>> ours{"cairn.lock", "format",          "frontier",
                                                "quarantine", "rebuild-catalog", "reserve",
                                                "scrub",      "lost+found"};
  std::error_code error;
  for (fs::directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (ours.contains(name)) continue;
    if (it->is_directory(error)) {
      if (name.ends_with(".deleted")) findings.Note(it->path(), 0, "waits to be removed");
    } else if (name.ends_with(".new")) {
      findings.Note(it->path(), 0, "a replacement that was not finished");
    } else {
      findings.Note(it->path(), 0, "not a file of ours");
    }
  }
  if (error) return ErrnoError("list", root, error.value());
  const auto request = ReadRebuildRequest(root);
  if (absl::IsDataLoss(request.status())) {
    findings.Damage(root / kRebuildRequestName, 0, request.status());
    return absl::OkStatus();
  }
  return request.status();
}

absl::Status VerifyPartitions(const DataDir& data, const std::optional<std::string>& only,
                              const KnownOutside& known, Findings& findings) {
  ASSIGN_OR_RETURN(const std::vector<DataDir::Found> found, data.ListPartitions());
  std::map<TopicPartition, std::string> seen;
  bool has_catalog = false;
  for (const DataDir::Found& partition : found) {
    has_catalog |= partition.directory == kCatalogDirectory;
    if (only.has_value() && partition.directory != *only) continue;
    if (partition.partition < PartitionIndex(0)) {
      findings.Note(data.path() / partition.directory, 0, "not a partition's directory");
      continue;
    }
    PartitionVerifier verifier(data.path() / partition.directory, known, findings);
    ASSIGN_OR_RETURN(const std::optional<TopicPartition> id, verifier.Run());
    if (id.has_value()) {
      const auto [first, is_new] = seen.emplace(*id, partition.directory);
      if (!is_new) {
        findings.Damage(data.path() / partition.directory, 0,
                        absl::StrFormat("it is the same partition as %s", first->second));
      }
    } else if (partition.meta.ok()) {
      seen.emplace(TopicPartition{partition.topic, partition.partition}, partition.directory);
    }
  }
  if (only.has_value()) return absl::OkStatus();
  if (known.frontier == nullptr) {
    if (!has_catalog && !found.empty()) {
      findings.Damage(data.path() / kCatalogDirectory, 0,
                      "missing: without the catalog nothing says which topics there are");
    }
    return absl::OkStatus();
  }
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

absl::StatusOr<VerifySummary> VerifyDataDirectory(const fs::path& path, const OnFinding& on_finding,
                                                  const OnProgress& on_progress) {
  Findings findings(on_finding, on_progress);
  ASSIGN_OR_RETURN(fs::path root, NamedDirectory(path));
  std::optional<std::string> only;
  std::error_code error;
  if (fs::exists(root.parent_path() / "format", error) && !fs::exists(root / "format", error)) {
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
  const KnownOutside known{.was_clean = frontier_damage.ok() && (*data)->frontier().was_clean(),
                           .has_frontier = frontier_damage.ok(),
                           .frontier = frontier_damage.ok() ? &(*data)->frontier() : nullptr};
  if (!only.has_value()) RETURN_IF_ERROR(CheckRoot(root, findings));
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
