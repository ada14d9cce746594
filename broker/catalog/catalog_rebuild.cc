#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/catalog/catalog.h"
#include "broker/partitions/flusher.h"
#include "protocol/limits.h"
#include "protocol/status.h"
#include "storage/file.h"
#include "storage/rebuild_request.h"

namespace cairn::broker {
namespace {

// The topics that the partitions' own files tell of, with as many partitions as have files.
std::map<TopicId, TopicRow> TopicsOnDisk(const std::vector<storage::DataDir::Found>& all,
                                         Timestamp now) {
  std::map<TopicId, TopicRow> rows;
  for (const storage::DataDir::Found& found : all) {
    if (!found.meta.ok() || IsInternalTopicName(found.name)) continue;
    if (found.partition.value() >= kPartitionsPerTopicMax) continue;
    TopicRow& row = rows[found.topic];
    row.id = found.topic;
    row.name = found.name;
    row.created = now;
    // What it was is lost. The default would begin to drop what may have been kept for good.
    row.configs = {{"retention.ms", "-1"}};
    if (row.history.empty()) row.history.push_back({0, 0});
    row.history[0].partitions = std::max(row.partitions(), found.partition.value() + 1);
  }
  return rows;
}

}  // namespace

// A repair could not save all of the catalog: what is on disk is entered, so that it is served and
// not put away. Interrupted, it is done again at the next start.
absl::Status Catalog::RebuildIfAsked(Timestamp now) {
  const std::filesystem::path& directory = rooms_.data_dir.path();
  const auto request = storage::ReadRebuildRequest(directory);
  if (absl::IsDataLoss(request.status())) {
    return absl::DataLossError(absl::StrFormat(
        "%s. It asked to enter into the catalog what the partitions' files say. To have it written "
        "anew: cairn log repair %s --execute. Or move it away, if no topic is missing",
        std::string(request.status().message()), directory.string()));
  }
  RETURN_IF_ERROR(request.status());
  if (!request->has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto found, rooms_.data_dir.ListPartitions());
  for (const auto& [id, row] : TopicsOnDisk(found, now)) RETURN_IF_ERROR(EnterFromDisk(row, now));
  if ((*request)->next_producer > table_.next_producer_id()) {
    RETURN_IF_ERROR(Write(CatalogTable::ProducerIdsRecord((*request)->next_producer), now));
  }
  RETURN_IF_ERROR(storage::RemoveFile(directory / storage::kRebuildRequestName));
  RETURN_IF_ERROR(storage::SyncDirectory(directory));
  const std::lock_guard lock(mutex_);
  producer_next_ = producer_end_ = table_.next_producer_id();
  return absl::OkStatus();
}

absl::Status Catalog::EnterFromDisk(const TopicRow& row, Timestamp now) {
  const auto known = table_.topics().find(row.id);
  if (known != table_.topics().end()) {
    // Deleted, but not renamed yet; or as large as it was.
    if (known->second.deleted || known->second.partitions() >= row.partitions()) {
      return absl::OkStatus();
    }
    TopicRow grown = known->second;
    grown.history.push_back({grown.history.back().epoch + 1, row.partitions()});
    NoteProblem(absl::StrFormat("topic %s has %d partitions again, as its files say", row.name,
                                row.partitions()));
    return Write(CatalogTable::TopicRecord(grown), now);
  }
  // A name has one directory, so the topic that had it before is gone.
  if (const TopicRow* older = table_.Find(row.name); older != nullptr) {
    TopicRow gone = *older;
    gone.deleted = true;
    RETURN_IF_ERROR(Write(CatalogTable::TopicRecord(gone), now));
  }
  NoteProblem(absl::StrFormat(
      "topic %s was lost from the catalog and is rebuilt from its files: %d partitions, default "
      "configs, but nothing is dropped (retention.ms=-1) until 'cairn topic alter %s -c ...' says "
      "what it was",
      row.name, row.partitions(), row.name));
  return Write(CatalogTable::TopicRecord(row), now);
}

}  // namespace cairn::broker
