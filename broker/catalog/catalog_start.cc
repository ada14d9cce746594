#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/catalog/catalog.h"
#include "broker/partitions/janitor.h"
#include "broker/runtime/logging.h"
#include "broker/runtime/parallel.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/file.h"
#include "storage/internal_topics.h"
#include "storage/manifest.h"
#include "storage/partition_verifier.h"

namespace cairn::broker {
namespace {

using storage::kCatalogId;
using storage::kCatalogName;
using storage::kGroupsId;
using storage::kGroupsName;
using storage::kGroupsPartitions;

constexpr std::int64_t kInternalBatchBytesMax = 16 << 20;
constexpr std::int64_t kGroupsSegmentBytes = 4 << 20;

// After an unclean stop each log that was written to waits for the disk a few times.
constexpr std::size_t kOpeningThreads = 8;
// With more partitions one sync of the file system is cheaper than two for each of them, even if it
// writes what is not ours.
constexpr std::size_t kSyncedAlone = 64;

TopicOptions InternalTopicOptions() {
  TopicOptions options;
  // Compacted: their segments roll as soon as compaction can make use of it.
  options.partition.cleanup = CleanupPolicy::kCompact;
  options.partition.log.compaction.enabled = true;
  options.partition.log.uses_reserve = true;
  options.batch_bytes_max = kInternalBatchBytesMax;
  return options;
}

// Commits come all the time, and only the last of each counts: small segments, so that the others
// are soon cleaned away.
TopicOptions GroupsTopicOptions() {
  TopicOptions options = InternalTopicOptions();
  options.partition.log.segment_bytes = kGroupsSegmentBytes;
  return options;
}

std::string NameOf(const storage::LogIdentity& identity) {
  return absl::StrFormat("%s-%d", identity.name, identity.partition.value());
}

// A log of which nothing is left although it held records; opening it would begin it anew.
absl::Status CheckNotLost(storage::DataDir& data_dir, const storage::LogIdentity& identity) {
  const auto known = data_dir.frontier().Find({identity.topic, identity.partition});
  if (!known.has_value() || known->end <= Offset(0)) return absl::OkStatus();
  const std::filesystem::path path = data_dir.PartitionPath(identity);
  std::error_code error;
  if (std::filesystem::exists(path, error)) return absl::OkStatus();
  if (error) return storage::ErrnoError("look for", path, error.value());
  return MakeError(ErrorCode::kPartitionOffline,
                   absl::StrFormat("%s is missing, but it held records up to offset %d; put the "
                                   "directory back and restart, or delete the topic",
                                   path.string(), known->end.value()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Catalog>> Catalog::Open(Rooms rooms, Timestamp now) {
  const auto begin = std::chrono::steady_clock::now();
  std::unique_ptr<Catalog> catalog(new Catalog(rooms));
  ASSIGN_OR_RETURN(const auto directories, rooms.data_dir.PartitionDirectories());
  // A directory without a single partition has nothing that could have been cut short.
  catalog->clean_start_ = (rooms.data_dir.frontier().was_clean() || directories.empty()) &&
                          rooms.data_dir.frontier_damage().ok();
  const absl::Status& damage = rooms.data_dir.frontier_damage();
  if (!damage.ok())
    catalog->NoteProblem("the frontier was damaged: " + std::string(damage.message()));
  if (!catalog->clean_start_ && directories.size() > kSyncedAlone) {
    // Should it fail, each log finds out for itself which of its files is concerned.
    const absl::Status synced = rooms.data_dir.SyncLeftovers();
    if (!synced.ok()) LogWarning("sync of the file system failed", {{"reason", synced}});
  }
  RETURN_IF_ERROR(catalog->OpenState(now));
  RETURN_IF_ERROR(catalog->RebuildIfAsked(now));
  catalog->OpenInternal(kGroupsId, kGroupsName, kGroupsPartitions, GroupsTopicOptions(), now);
  RETURN_IF_ERROR(catalog->PutAwayStrangers(directories));
  catalog->OpenTopics(now);
  // What recovery noted; the flusher sees only to what it notes itself.
  RETURN_IF_ERROR(rooms.data_dir.frontier().Sync());
  catalog->GoOnRemoving();
  catalog->recovery_.Sort();
  catalog->recovery_.took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - begin);
  if (!catalog->clean_start_) {
    const RecoverySummary& found = catalog->recovery_;
    LogInfo("recovered after an unclean stop", {{"took_ms", found.took.count()},
                                                {"partitions", found.partitions},
                                                {"bytes_scanned", found.bytes_scanned},
                                                {"bytes_cut", found.bytes_cut},
                                                {"batches_cut", found.batches_cut},
                                                {"producers_rebuilt", found.producers_rebuilt},
                                                {"epochs_raised", found.epochs_raised},
                                                {"damaged", found.offline}});
  }
  catalog->is_open_ = true;
  return catalog;
}

// Of partitions that come later there is nothing to say.
void Catalog::NoteRecovery(absl::FunctionRef<void()> note) {
  const std::lock_guard lock(mutex_);
  if (!is_open_) note();
}

void Catalog::NoteProblem(std::string problem) {
  LogWarning("found at start", {{"problem", problem}});
  const std::lock_guard lock(mutex_);
  problems_.push_back(std::move(problem));
}

const ServedTopic& Catalog::OpenInternal(const TopicId& id, const char* name, int partitions,
                                         const TopicOptions& options, Timestamp now) {
  TopicRow row;
  row.id = id;
  row.name = name;
  row.history.push_back({0, partitions});
  std::shared_ptr<ServedTopic> topic = NewServedTopic(row, options);
  topic->partitions.resize(static_cast<std::size_t>(partitions));
  ForEachInParallel(topic->partitions.size(), kOpeningThreads, [&](std::size_t i) {
    topic->partitions[i] =
        OpenPartition({id, name, PartitionIndex(static_cast<std::int32_t>(i))}, options, now);
  });
  const ServedTopic& served = *topic;
  rooms_.map.Put(std::move(topic));
  return served;
}

absl::Status Catalog::OpenState(Timestamp now) {
  const ServedTopic& topic = OpenInternal(kCatalogId, kCatalogName, 1, InternalTopicOptions(), now);
  const std::shared_ptr<Partition> partition = topic.partitions[0];
  RETURN_IF_ERROR(Damaged(partition->write_state()));
  state_ = std::make_shared<StateTopic>(partition, rooms_.partitions.helpers,
                                        [this](ByteView key, std::optional<ByteView> value) {
                                          const std::lock_guard lock(mutex_);
                                          return table_.Apply(key, value);
                                        });
  RETURN_IF_ERROR(Damaged(state_->Replay()));
  const std::lock_guard lock(mutex_);
  producer_next_ = producer_end_ = table_.next_producer_id();
  return absl::OkStatus();
}

absl::Status Catalog::PutAwayStrangers(const std::vector<std::string>& directories) {
  std::vector<storage::DataDir::Found> found(directories.size());
  ForEachInParallel(found.size(), kOpeningThreads,
                    [&](std::size_t i) { found[i] = rooms_.data_dir.Describe(directories[i]); });
  std::vector<storage::DataDir::Found> strangers;
  for (storage::DataDir::Found& each : found) {
    const Known known = KnowledgeOf(each);
    if (known == Known::kNot) strangers.push_back(std::move(each));
    if (known != Known::kAsDeleted) continue;
    // The last run was stopped between the catalog's record and the renaming.
    RETURN_IF_ERROR(rooms_.data_dir.MarkDeleted({each.topic, each.name, each.partition}));
  }
  RETURN_IF_ERROR(CheckNotForgotten(strangers));
  for (const storage::DataDir::Found& each : strangers) {
    ASSIGN_OR_RETURN(const std::filesystem::path put, rooms_.data_dir.Quarantine(each.directory));
    NoteProblem(
        absl::StrFormat("directory %s belongs to no topic of the catalog; it was moved to %s",
                        each.directory, put.string()));
  }
  return absl::OkStatus();
}

Catalog::Known Catalog::KnowledgeOf(const storage::DataDir::Found& found) const {
  const std::int32_t index = found.partition.value();
  // The directory's name decides where partition.meta cannot be read; the manifest knows better
  // later.
  const TopicRow* row = found.meta.ok() ? table_.Find(found.topic) : table_.Find(found.name);
  const bool is_internal = (found.name == kCatalogName && index == 0) ||
                           (found.name == kGroupsName && index >= 0 && index < kGroupsPartitions);
  if (is_internal ||
      (row != nullptr && row->name == found.name && index >= 0 && index < row->partitions())) {
    return Known::kAsServed;
  }
  const auto gone = table_.topics().find(found.topic);
  const bool is_deleted = found.meta.ok() && gone != table_.topics().end() && gone->second.deleted;
  return is_deleted ? Known::kAsDeleted : Known::kNot;
}

// Logs that no topic claims are no strangers if it is the catalog that has lost them: as a whole,
// or at its end together with a frontier, without which nobody can tell. Then nothing is touched.
absl::Status Catalog::CheckNotForgotten(const std::vector<storage::DataDir::Found>& strangers) {
  std::vector<std::string> forgotten;
  for (const storage::DataDir::Found& each : strangers) {
    const std::filesystem::path path = rooms_.data_dir.path() / each.directory;
    const absl::StatusOr<storage::Manifest::Contents> manifest = storage::Manifest::Read(path);
    ASSIGN_OR_RETURN(const auto files, storage::LogFiles(path));
    if (absl::IsNotFound(manifest.status()) && files.empty()) continue;
    const TopicPartition id =
        manifest.ok() ? manifest->partition : TopicPartition{each.topic, each.partition};
    if (table_.topics().empty() || !rooms_.data_dir.frontier().Knows(id)) {
      forgotten.push_back(each.directory);
    }
  }
  if (forgotten.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat(
      "the catalog (%s-0) knows no topic for %d directories with records (%s%s): it has lost what "
      "it knew. Nothing was touched. %s",
      kCatalogName, forgotten.size(), forgotten.front(), forgotten.size() > 1 ? ", ..." : "",
      WayOut()));
}

std::string Catalog::WayOut() const {
  return absl::StrFormat("To see what can be mended, and then to mend it: cairn log repair %s",
                         rooms_.data_dir.path().string());
}

// What is wrong with the catalog, and what to do.
absl::Status Catalog::Damaged(const absl::Status& why) const {
  if (why.ok() || (CodeOf(why) != ErrorCode::kPartitionOffline && !absl::IsDataLoss(why))) {
    return why;
  }
  return absl::DataLossError(absl::StrFormat(
      "without its catalog the broker does not start: %s. %s", why.message(), WayOut()));
}

void Catalog::OpenTopics(Timestamp now) {
  struct Job {
    storage::LogIdentity identity;
    const TopicOptions* options;
    std::shared_ptr<Partition>* out;
  };
  std::vector<std::shared_ptr<ServedTopic>> topics;
  std::vector<Job> jobs;
  for (const auto& [id, row] : table_.topics()) {
    if (row.deleted) continue;
    absl::StatusOr<TopicOptions> options = ResolveTopicConfigs(row.configs);
    if (!options.ok()) {
      NoteProblem(absl::StrFormat("topic %s is served with default configs: %s", row.name,
                                  options.status().message()));
      options = TopicOptions();
    }
    std::shared_ptr<ServedTopic> topic = NewServedTopic(row, *options);
    topic->partitions.resize(static_cast<std::size_t>(row.partitions()));
    for (std::int32_t i = 0; i < row.partitions(); ++i) {
      jobs.push_back({{row.id, row.name, PartitionIndex(i)},
                      &topic->options,
                      &topic->partitions[static_cast<std::size_t>(i)]});
    }
    topics.push_back(std::move(topic));
  }
  ForEachInParallel(jobs.size(), kOpeningThreads, [&](std::size_t i) {
    *jobs[i].out = OpenPartition(jobs[i].identity, *jobs[i].options, now);
  });
  rooms_.map.Put(std::vector<std::shared_ptr<const ServedTopic>>(topics.begin(), topics.end()));
}

void Catalog::GoOnRemoving() {
  std::vector<TopicRow> gone;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, row] : table_.topics()) {
      if (row.deleted) gone.push_back(row);
    }
  }
  for (TopicRow& row : gone) {
    // The last run may have been stopped between the renaming and the frontier's note.
    for (std::int32_t i = 0; i < row.partitions(); ++i) {
      const absl::Status status = rooms_.data_dir.frontier().Forget({row.id, PartitionIndex(i)});
      if (!status.ok()) LogWarning("a deleted partition is remembered", {{"reason", status}});
    }
    rooms_.partitions.janitor.Run([this, row = std::move(row)] { RemoveDirectories(row); });
  }
}

// On the janitor's thread: it takes as long as reading the file takes.
void Catalog::Clear(const storage::Leftover& leftover) {
  const absl::StatusOr<std::string> note = storage::ClearLeftover(
      rooms_.data_dir, leftover, [this] { return rooms_.partitions.janitor.stopping(); });
  if (!note.ok()) {
    LogWarning("a dropped segment's file is left",
               {{"file", leftover.entry}, {"reason", note.status()}});
  } else if (!note->empty()) {
    NoteProblem(*note);
  }
}

std::shared_ptr<Partition> Catalog::OpenPartition(const storage::LogIdentity& identity,
                                                  const TopicOptions& options, Timestamp now) {
  const TopicPartition id{identity.topic, identity.partition};
  const auto offline = [&](const absl::Status& why) {
    LogError("partition is offline", {{"partition", NameOf(identity)}, {"reason", why}});
    NoteRecovery([&] { recovery_.AddOffline(identity, why); });
    return std::make_shared<Partition>(
        MakeError(ErrorCode::kPartitionOffline,
                  absl::StrFormat("partition %s is offline: %s", NameOf(identity), why.message())),
        id, identity.name, options.partition, rooms_.partitions);
  };
  if (const absl::Status lost = CheckNotLost(rooms_.data_dir, identity); !lost.ok()) {
    return offline(lost);
  }
  storage::RecoveryReport report;
  absl::StatusOr<std::unique_ptr<storage::Log>> log =
      storage::Log::Open(rooms_.data_dir, identity, options.partition.log, now, report);
  if (!log.ok()) return offline(log.status());
  if (!report.damage.ok()) {
    LogError("partition is damaged", {{"partition", NameOf(identity)}, {"reason", report.damage}});
  }
  for (const std::string& note : report.notes) {
    LogInfo("recovery", {{"partition", NameOf(identity)}, {"note", note}});
  }
  for (const storage::Leftover& leftover : report.leftovers) {
    rooms_.partitions.janitor.Run([this, leftover] { Clear(leftover); });
  }
  const bool has_segments = (*log)->segment_count() > 0;
  // Of the broker's own, those that were never used are nobody's concern.
  if (has_segments || !IsInternalTopicName(identity.name)) {
    NoteRecovery([&] { recovery_.Add(identity, std::move(report)); });
  }
  auto partition = std::make_shared<Partition>(*std::move(log), id, identity.name,
                                               options.partition, rooms_.partitions);
  if (has_segments) rooms_.partitions.janitor.Note(partition, /*soon=*/true);
  return partition;
}

}  // namespace cairn::broker
