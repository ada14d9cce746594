#include "storage/repair_plan.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/file.h"
#include "storage/format_file.h"
#include "storage/internal_topics.h"
#include "storage/manifest.h"
#include "storage/partition_meta.h"
#include "storage/rebuild_request.h"
#include "storage/segment_name.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFrontierName = "frontier";
constexpr std::int64_t kFormatBytesMax = 1 << 20;

RepairStep Write(std::string entry, Bytes contents, std::string why) {
  const auto bytes = static_cast<std::int64_t>(contents.size());
  return {.kind = RepairStep::Kind::kWrite,
          .entry = std::move(entry),
          .bytes = bytes,
          .contents = std::move(contents),
          .why = std::move(why)};
}

}  // namespace

RepairPlanner::RepairPlanner(fs::path data_dir, std::string only, const OnProgress& on_progress)
    : data_dir_(std::move(data_dir)),
      only_(std::move(only)),
      findings_([](const Finding&) {}, on_progress) {}

absl::StatusOr<RepairPlan> RepairPlanner::Run() {
  RETURN_IF_ERROR(PlanFormat());
  OpenFrontier();
  RETURN_IF_ERROR(FindPartitions());
  const RepairPlan before = plan_;
  RETURN_IF_ERROR(PlanPartitions());
  if (!frontier_damage_.ok() && frontier_ != nullptr) {
    // It turned out to have lost its end: what it says is of no use.
    frontier_.reset();
    plan_ = before;
    gathered_ = {};
    RETURN_IF_ERROR(PlanPartitions());
  }
  if (only_.empty()) PlanMissing();
  PlanCatalog();
  PlanFrontier();
  return std::move(plan_);
}

absl::Status RepairPlanner::PlanFormat() {
  const fs::path path = data_dir_ / kFormatFileName;
  const absl::StatusOr<Bytes> file = ReadFile(path, kFormatBytesMax);
  absl::StatusOr<DataFormat> format =
      file.ok() ? DecodeFormat(path.string(), *file) : file.status();
  if (format.ok()) {
    cluster_id_ = format->cluster_id;
    return absl::OkStatus();
  }
  if (!absl::IsNotFound(format.status()) && !absl::IsDataLoss(format.status())) {
    return format.status();
  }
  DataFormat made;
  const std::optional<TopicId> known = Frontier::ClusterIdOf(data_dir_);
  made.cluster_id = cluster_id_ = known.has_value() ? *known : NewTopicId();
  plan_.remarks.push_back(known.has_value()
                              ? "format: the cluster id is taken from the frontier"
                              : "format: the cluster id is lost; the directory gets a new one");
  plan_.steps.push_back(
      Write(kFormatFileName, EncodeFormat(made), std::string(format.status().message())));
  return absl::OkStatus();
}

void RepairPlanner::OpenFrontier() {
  absl::StatusOr<std::unique_ptr<Frontier>> frontier =
      Frontier::OpenForReading(data_dir_, cluster_id_);
  frontier_damage_ = frontier.status();
  if (frontier.ok()) frontier_ = *std::move(frontier);
}

absl::Status RepairPlanner::FindPartitions() {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(data_dir_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (it->is_directory(error) && ParsePartitionDirectory(name).has_value()) {
      names.push_back(name);
    }
  }
  if (error) return ErrnoError("list", data_dir_, error.value());
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const std::optional<std::string> before, NameBefore(name));
    if (before.has_value()) {
      renamed_.insert(name);
      plan_.remarks.push_back(absl::StrFormat(
          "%s: left as it is, because its files say that it is %s: give it that name "
          "back, and repair again",
          name, *before));
      continue;
    }
    if (const std::optional<LogIdentity> identity = Identify(name)) {
      partitions_.emplace(name, *identity);
    }
  }
  // Where its own files do not say, the topic's other partitions do.
  for (const std::string& name : names) {
    if (partitions_.contains(name) || renamed_.contains(name)) continue;
    const PartitionName wanted = *ParsePartitionDirectory(name);
    const auto sibling = std::find_if(
        partitions_.begin(), partitions_.end(),
        [&](const auto& partition) { return partition.second.name == wanted.topic_name; });
    if (sibling != partitions_.end()) {
      partitions_.emplace(name,
                          LogIdentity{sibling->second.topic, wanted.topic_name, wanted.partition});
    } else {
      plan_.remarks.push_back(
          name + ": left as it is, because none of its files says which topic's id it has");
    }
  }
  return absl::OkStatus();
}

// What its own files say: two of them against one that was damaged or put in the wrong place.
std::optional<LogIdentity> RepairPlanner::Identify(const std::string& directory) const {
  const PartitionName name = *ParsePartitionDirectory(directory);
  if (name.topic_name == kCatalogName) {
    return LogIdentity{kCatalogId, name.topic_name, name.partition};
  }
  const absl::StatusOr<LogIdentity> meta = ReadPartitionMeta(data_dir_ / directory);
  if (meta.ok() && PartitionDirectory(*meta) == directory) return *meta;
  const absl::StatusOr<Manifest::Contents> manifest = Manifest::Read(data_dir_ / directory);
  const bool names_another_topic = meta.ok() && manifest.ok() &&
                                   meta->topic == manifest->partition.topic &&
                                   meta->name != name.topic_name;
  if (manifest.ok() && manifest->partition.partition == name.partition && !names_another_topic) {
    return LogIdentity{manifest->partition.topic, name.topic_name, name.partition};
  }
  if (meta.ok() && meta->name == name.topic_name) {
    return LogIdentity{meta->topic, name.topic_name, name.partition};
  }
  return std::nullopt;
}

// The name that all of a directory's own files say it should have, segments included: then it was
// renamed, and what it holds is not to be mended under this name.
absl::StatusOr<std::optional<std::string>> RepairPlanner::NameBefore(
    const std::string& directory) const {
  const fs::path path = data_dir_ / directory;
  const absl::StatusOr<LogIdentity> meta = ReadPartitionMeta(path);
  const absl::StatusOr<Manifest::Contents> manifest = Manifest::Read(path);
  if (!meta.ok() || !manifest.ok() || PartitionDirectory(*meta) == directory ||
      manifest->partition != TopicPartition{meta->topic, meta->partition}) {
    return std::nullopt;
  }
  for (const ManifestSegment& segment : manifest->state.segments) {
    const absl::StatusOr<File> file =
        File::OpenForReading(path / LogFileName(segment.base, segment.generation));
    if (absl::IsNotFound(file.status())) continue;
    RETURN_IF_ERROR(file.status());
    const absl::Status is_its_own = segment.first_batch.CheckIn(*file);
    if (absl::IsDataLoss(is_its_own)) return std::nullopt;
    RETURN_IF_ERROR(is_its_own);
  }
  return PartitionDirectory(*meta);
}

absl::Status RepairPlanner::PlanPartitions() {
  const KnownOutside known{.was_clean = frontier_ != nullptr && frontier_->was_clean(),
                           .has_frontier = frontier_ != nullptr,
                           .frontier = frontier_.get()};
  if (frontier_ != nullptr) {
    for (const DurableEnd& end : frontier_->All()) gathered_.ends[end.partition] = end;
  }
  for (const auto& [directory, identity] : partitions_) {
    if (!only_.empty() && directory != only_) continue;
    PartitionRepair partition(data_dir_, identity, known, findings_, plan_);
    RETURN_IF_ERROR(partition.Run());
    Take(partition);
  }
  return absl::OkStatus();
}

void RepairPlanner::Take(const PartitionRepair& partition) {
  const TopicPartition& id = partition.end().partition;
  gathered_.highest_epoch = std::max(gathered_.highest_epoch, partition.last_epoch());
  gathered_.next_producer = std::max(gathered_.next_producer, partition.next_producer());
  if (id.topic == kCatalogId) {
    gathered_.catalog_lost |= partition.lost_records();
    gathered_.has_catalog |= partition.end().end > Offset(0);
  }
  if (frontier_ == nullptr) {
    if (partition.end().end > Offset(0)) gathered_.ends[id] = partition.end();
    return;
  }
  if (partition.frontier_is_short()) {
    frontier_damage_ = absl::DataLossError("it has lost entries at its end");
  }
  if (partition.new_end().has_value()) {
    gathered_.ends[id] = *partition.new_end();
    gathered_.ends_changed = true;
  }
}

// A directory that is gone is made again, without records but behind the lost ones, so that no
// offset is used twice.
void RepairPlanner::PlanMissing() {
  if (frontier_ == nullptr) return;
  std::set<TopicPartition> present;
  for (const auto& [directory, identity] : partitions_) {
    present.insert({identity.topic, identity.partition});
  }
  for (const DurableEnd& end : frontier_->All()) {
    if (end.end <= Offset(0) || present.contains(end.partition)) continue;
    const std::optional<std::string> name = NameOf(end.partition.topic);
    if (name.has_value() && renamed_.contains(PartitionDirectory(
                                {end.partition.topic, *name, end.partition.partition}))) {
      continue;  // another has its name
    }
    if (name.has_value()) {
      PlanMissing({end.partition.topic, *name, end.partition.partition}, end);
      continue;
    }
    plan_.remarks.push_back(absl::StrFormat(
        "the directory of partition %d of topic %s, with offsets up to %d, is missing, and nothing "
        "tells the topic's name: put it back, or delete the topic",
        end.partition.partition.value(), ToString(end.partition.topic), end.end.value()));
  }
}

void RepairPlanner::PlanMissing(const LogIdentity& identity, const DurableEnd& end) {
  const std::string directory = PartitionDirectory(identity);
  ManifestState state;
  state.log_start = end.end;
  plan_.steps.push_back(Write(directory + "/" + kPartitionMetaName, EncodePartitionMeta(identity),
                              "the directory is missing"));
  plan_.steps.push_back(Write(directory + "/" + kManifestFileName,
                              Manifest::Encode(end.partition, state), "the directory is missing"));
  plan_.lost.push_back({directory, Offset(0), end.end});
  gathered_.ends[end.partition] = {end.partition, end.end, end.end, 0};
  gathered_.ends_changed = true;
  gathered_.catalog_lost |= identity.topic == kCatalogId;
}

std::optional<std::string> RepairPlanner::NameOf(const TopicId& topic) const {
  if (topic == kCatalogId) return kCatalogName;
  if (topic == kGroupsId) return kGroupsName;
  for (const auto& [directory, identity] : partitions_) {
    if (identity.topic == topic) return identity.name;
  }
  return std::nullopt;
}

// It lost records, it is not there though others are, or a frontier that might tell is not.
void RepairPlanner::PlanCatalog() {
  const bool has_others =
      std::any_of(partitions_.begin(), partitions_.end(),
                  [](const auto& partition) { return partition.second.topic != kCatalogId; });
  if (only_.empty() && has_others && (!gathered_.has_catalog || frontier_ == nullptr))
    gathered_.catalog_lost = true;
  if (!gathered_.catalog_lost) return;
  const absl::StatusOr<std::optional<RebuildRequest>> present = ReadRebuildRequest(data_dir_);
  if (present.ok() && present->has_value()) return;
  plan_.steps.insert(
      plan_.steps.begin(),
      Write(kRebuildRequestName, EncodeRebuildRequest({gathered_.next_producer}),
            "the catalog may have lost records: the next start enters what the partitions' files "
            "say"));
  plan_.remarks.push_back(
      "__catalog: topics that it lost come back with their ids and as many partitions as have "
      "files, with default configs but retention.ms=-1; topics without a record are gone");
}

void RepairPlanner::PlanFrontier() {
  const bool is_lost = !frontier_damage_.ok();
  if (!is_lost && !gathered_.ends_changed) return;
  std::vector<DurableEnd> ends;
  std::vector<TopicPartition> unknown;
  for (const auto& [id, end] : gathered_.ends) ends.push_back(end);
  if (frontier_ != nullptr) unknown = frontier_->Unknown();
  if (frontier_ == nullptr) {
    for (const auto& [directory, identity] : partitions_) {
      const TopicPartition id{identity.topic, identity.partition};
      if (!gathered_.ends.contains(id)) unknown.push_back(id);
    }
  }
  const std::int32_t start =
      frontier_ != nullptr ? frontier_->start() : StartAfterLostFrontier(gathered_.highest_epoch);
  plan_.steps.push_back(
      Write(kFrontierName, Frontier::Encode(cluster_id_, start, unknown, ends),
            is_lost ? std::string(frontier_damage_.message()) : "it tells where the logs end now"));
}

}  // namespace cairn::storage
