#include "broker/catalog/catalog.h"

#include <limits>
#include <utility>

#include "absl/strings/str_format.h"

#include "broker/partitions/janitor.h"
#include "broker/runtime/helper_pool.h"
#include "broker/runtime/logging.h"
#include "broker/runtime/parallel.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

// Ids are cheap and waiting for the disk is not; those of a block that are left at a stop are lost.
constexpr std::int64_t kProducerIdBlock = 1000;

constexpr std::size_t kClosingThreads = 8;

absl::Status UnknownTopic(std::string_view name) {
  return MakeError(ErrorCode::kUnknownTopic, absl::StrFormat("there is no topic '%s'", name));
}

absl::Status CheckNotInternal(std::string_view name) {
  if (!IsInternalTopicName(name)) return absl::OkStatus();
  return MakeError(
      ErrorCode::kInternalTopic,
      absl::StrFormat("'%s': names that begin with \"__\" belong to the broker", name));
}

absl::Status CheckPartitionCount(std::int32_t partitions) {
  if (partitions >= 1 && partitions <= kPartitionsPerTopicMax) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest,
                   absl::StrFormat("a topic has 1 to %d partitions, not %d", kPartitionsPerTopicMax,
                                   partitions));
}

absl::Status CheckGrowth(const TopicRow& row, const TopicOptions& options,
                         const Catalog::TopicChange& change) {
  if (change.partitions == 0 || change.partitions == row.partitions()) return absl::OkStatus();
  RETURN_IF_ERROR(CheckPartitionCount(change.partitions));
  if (change.partitions < row.partitions()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     absl::StrFormat("topic %s has %d partitions; the number can only grow, not "
                                     "shrink to %d",
                                     row.name, row.partitions(), change.partitions));
  }
  if (options.partition.log.compaction.enabled) {
    // A key's older records would stay in its former partition, with nothing to stand against them.
    return MakeError(ErrorCode::kInvalidRequest,
                     absl::StrFormat("topic %s is compacted, and keeps its %d partitions: in "
                                     "another partition a key's new records would not replace its "
                                     "old ones",
                                     row.name, row.partitions()));
  }
  if (change.remap_keys) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest,
                   absl::StrFormat("growing topic %s from %d to %d partitions moves keys to other "
                                   "partitions, so that one key's records are no longer in one "
                                   "order; ask for it with --remap-keys",
                                   row.name, row.partitions(), change.partitions));
}

}  // namespace

Catalog::Catalog(Rooms rooms) : rooms_(rooms) {}
Catalog::~Catalog() = default;

// ---- what others ask ----

std::optional<TopicRow> Catalog::Find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const TopicRow* row = table_.Find(name);
  if (row == nullptr) return std::nullopt;
  return *row;
}

std::vector<std::string> Catalog::Problems() const {
  std::vector<std::string> problems;
  {
    const std::lock_guard lock(mutex_);
    problems = problems_;
  }
  const std::shared_ptr<const ServedTopics> topics = rooms_.map.Load();
  for (const auto& [name, topic] : topics->by_name()) {
    for (const std::shared_ptr<Partition>& partition : topic->partitions) {
      const absl::Status status = partition->write_state();
      if (status.ok()) continue;
      problems.push_back(
          absl::StrFormat("%s-%d: %s", name, partition->id().partition.value(), status.message()));
    }
  }
  return problems;
}

// ---- one at a time, on the admin thread ----

void Catalog::CreateTopic(std::string name, std::int32_t partitions, TopicConfigs configs,
                          Timestamp now, absl::AnyInvocable<void(absl::StatusOr<TopicId>)> done) {
  rooms_.partitions.helpers.Submit(
      HelperKind::kAdmin, [this, name = std::move(name), partitions, configs = std::move(configs),
                           now, done = std::move(done)](absl::Status status) mutable {
        if (!status.ok()) return done(std::move(status));
        done(Create(name, partitions, configs, now));
      });
}

void Catalog::AlterTopic(std::string name, TopicChange change, Timestamp now,
                         absl::AnyInvocable<void(absl::Status)> done) {
  rooms_.partitions.helpers.Submit(
      HelperKind::kAdmin, [this, name = std::move(name), change = std::move(change), now,
                           done = std::move(done)](absl::Status status) mutable {
        done(status.ok() ? Alter(name, change, now) : std::move(status));
      });
}

void Catalog::DeleteTopic(std::string name, Timestamp now,
                          absl::AnyInvocable<void(absl::Status)> done) {
  rooms_.partitions.helpers.Submit(
      HelperKind::kAdmin,
      [this, name = std::move(name), now, done = std::move(done)](absl::Status status) mutable {
        done(status.ok() ? Delete(name, now) : std::move(status));
      });
}

absl::StatusOr<TopicId> Catalog::Create(const std::string& name, std::int32_t partitions,
                                        const TopicConfigs& configs, Timestamp now) {
  if (const absl::Status valid = CheckTopicName(name); !valid.ok()) {
    return MakeError(ErrorCode::kInvalidTopicName,
                     std::string_view(valid.message().data(), valid.message().size()));
  }
  RETURN_IF_ERROR(CheckNotInternal(name));
  RETURN_IF_ERROR(CheckPartitionCount(partitions));
  ASSIGN_OR_RETURN(const TopicOptions options, ResolveTopicConfigs(configs));
  if (Find(name).has_value()) {
    return MakeError(ErrorCode::kTopicExists, absl::StrFormat("topic %s exists already", name));
  }
  TopicRow row;
  row.id = NewTopicId();
  row.name = name;
  row.created = now;
  row.configs = configs;
  row.history.push_back({0, partitions});
  RETURN_IF_ERROR(Write(CatalogTable::TopicRecord(row), now));
  std::shared_ptr<ServedTopic> topic = NewServedTopic(row, options);
  for (std::int32_t i = 0; i < partitions; ++i) {
    topic->partitions.push_back(OpenPartition({row.id, name, PartitionIndex(i)}, options, now));
  }
  rooms_.map.Put(std::move(topic));
  on_topic_change_(row.id, name);
  LogInfo("topic created", {{"topic", name}, {"partitions", partitions}, {"id", ToString(row.id)}});
  return row.id;
}

absl::Status Catalog::Alter(const std::string& name, const TopicChange& change, Timestamp now) {
  ASSIGN_OR_RETURN(TopicRow row, FindForChange(name));
  ASSIGN_OR_RETURN(row.configs, ChangeTopicConfigs(row.configs, change.configs));
  ASSIGN_OR_RETURN(const TopicOptions options, ResolveTopicConfigs(row.configs));
  RETURN_IF_ERROR(CheckGrowth(row, options, change));
  const std::int32_t before = row.partitions();
  if (change.partitions > before) {
    row.history.push_back({row.history.back().epoch + 1, change.partitions});
  }
  RETURN_IF_ERROR(Write(CatalogTable::TopicRecord(row), now));
  const std::shared_ptr<const ServedTopics> topics = rooms_.map.Load();
  std::shared_ptr<ServedTopic> topic = NewServedTopic(row, options);
  if (const ServedTopic* old = topics->Find(row.id)) topic->partitions = old->partitions;
  for (const std::shared_ptr<Partition>& partition : topic->partitions) {
    partition->SetOptions(options.partition);
  }
  for (std::int32_t i = before; i < row.partitions(); ++i) {
    topic->partitions.push_back(OpenPartition({row.id, name, PartitionIndex(i)}, options, now));
  }
  rooms_.map.Put(std::move(topic));
  on_topic_change_(row.id, name);
  LogInfo("topic altered", {{"topic", name}, {"partitions", row.partitions()}});
  return absl::OkStatus();
}

absl::Status Catalog::Delete(const std::string& name, Timestamp now) {
  ASSIGN_OR_RETURN(TopicRow row, FindForChange(name));
  row.deleted = true;
  RETURN_IF_ERROR(Write(CatalogTable::TopicRecord(row), now));
  const std::shared_ptr<const ServedTopics> topics = rooms_.map.Load();
  rooms_.map.Remove(row.id);
  if (const ServedTopic* topic = topics->Find(row.id)) {
    for (const std::shared_ptr<Partition>& partition : topic->partitions) partition->MarkDeleted();
  }
  on_topic_change_(row.id, name);
  LogInfo("topic deleted", {{"topic", name}, {"id", ToString(row.id)}});
  RemoveFiles(row);
  return absl::OkStatus();
}

void Catalog::RemoveFiles(const TopicRow& row) {
  bool renamed = true;
  for (std::int32_t i = 0; i < row.partitions(); ++i) {
    const absl::Status status = rooms_.data_dir.MarkDeleted({row.id, row.name, PartitionIndex(i)});
    if (status.ok()) continue;
    renamed = false;
    LogWarning("a deleted partition's directory could not be renamed",
               {{"topic", row.name}, {"partition", i}, {"reason", status}});
  }
  // What is left is found by the next start, as long as the catalog says that it is deleted.
  if (!renamed) return;
  rooms_.partitions.janitor.Run([this, row] { RemoveDirectories(row); });
}

void Catalog::RemoveDirectories(const TopicRow& row) {
  const std::string prefix = ToString(row.id) + "-";
  for (const std::string& directory : rooms_.data_dir.Deleted()) {
    if (directory.compare(0, prefix.size(), prefix) != 0) continue;
    if (rooms_.partitions.janitor.stopping()) return;
    const absl::Status status = rooms_.data_dir.RemoveDeleted(directory);
    if (status.ok()) continue;
    LogWarning("a deleted directory could not be removed",
               {{"directory", directory}, {"reason", status}});
    return;
  }
  ForgetTopic(row.id, rooms_.clock.Now());
}

void Catalog::ForgetTopic(const TopicId& id, Timestamp now) {
  rooms_.partitions.helpers.Submit(HelperKind::kAdmin, [this, id, now](absl::Status status) {
    if (status.ok()) status = Write(CatalogTable::TopicForgotten(id), now);
    // The tombstone then stays until the next start.
    if (!status.ok()) LogDebug("a deleted topic is remembered", {{"id", ToString(id)}});
  });
}

absl::StatusOr<TopicRow> Catalog::FindForChange(const std::string& name) const {
  RETURN_IF_ERROR(CheckNotInternal(name));
  std::optional<TopicRow> row = Find(name);
  if (!row.has_value()) return UnknownTopic(name);
  return *std::move(row);
}

absl::Status Catalog::Write(const StateRecord& record, Timestamp now) {
  return state_->AppendAndWait({&record, 1}, now);
}

std::shared_ptr<ServedTopic> Catalog::NewServedTopic(const TopicRow& row,
                                                     const TopicOptions& options) const {
  auto topic = std::make_shared<ServedTopic>();
  topic->name = row.name;
  topic->id = row.id;
  topic->internal = IsInternalTopicName(row.name);
  topic->options = options;
  topic->partitions.reserve(static_cast<std::size_t>(row.partitions()));
  return topic;
}

// ---- trimming ----

void Catalog::TrimTopic(std::string_view name, PartitionIndex partition, Offset before,
                        Timestamp now, absl::AnyInvocable<void(absl::StatusOr<Offset>)> done) {
  if (absl::Status allowed = CheckNotInternal(name); !allowed.ok()) return done(allowed);
  const std::shared_ptr<const ServedTopics> topics = rooms_.map.Load();
  const ServedTopic* topic = topics->Find(name);
  if (topic == nullptr) return done(UnknownTopic(name));
  const absl::StatusOr<ServedTopics::Place> place = topics->Find({topic->id, partition});
  if (!place.ok()) return done(place.status());
  (*place->partition)->TrimTo(before, now, std::move(done));
}

// ---- producer ids ----

void Catalog::InitProducer(ProducerId id, ProducerEpoch epoch, Timestamp now,
                           absl::AnyInvocable<void(absl::StatusOr<Producer>)> done) {
  absl::StatusOr<Producer> ready;
  bool reserve = false;
  {
    const std::lock_guard lock(mutex_);
    const bool own = id != kNoProducer;
    if (own && (id.value() < 0 || epoch.value() < 0)) {
      ready = MakeError(ErrorCode::kInvalidRequest,
                        absl::StrFormat("producer id %d with epoch %d: both are -1 for a new "
                                        "producer, or neither is negative",
                                        id.value(), epoch.value()));
    } else if (own && id >= producer_next_) {
      ready = MakeError(ErrorCode::kUnknownProducer,
                        absl::StrFormat("producer id %d was never given out", id.value()));
    } else if (own && epoch.value() < std::numeric_limits<std::int16_t>::max()) {
      ready = Producer{id, epoch + std::int16_t{1}};
    } else if (producer_next_ < producer_end_) {
      ready = Producer{producer_next_, ProducerEpoch(0)};
      producer_next_ = producer_next_ + 1;
    } else {
      producer_waiters_.push_back(std::move(done));
      reserve = !std::exchange(reserving_, true);
      done = nullptr;
    }
  }
  if (done) return done(std::move(ready));
  if (!reserve) return;
  rooms_.partitions.helpers.Submit(HelperKind::kAdmin, [this, now](absl::Status status) {
    ReserveProducerIds(std::move(status), now);
  });
}

void Catalog::ReserveProducerIds(absl::Status status, Timestamp now) {
  decltype(producer_waiters_) waiters;
  std::vector<Producer> given;
  bool again = false;
  {
    std::unique_lock lock(mutex_);
    const ProducerId begin = table_.next_producer_id();
    lock.unlock();
    if (status.ok()) status = Write(CatalogTable::ProducerIdsRecord(begin + kProducerIdBlock), now);
    lock.lock();
    if (status.ok()) {
      producer_next_ = begin;
      producer_end_ = begin + kProducerIdBlock;
    }
    while (!producer_waiters_.empty() && (!status.ok() || producer_next_ < producer_end_)) {
      waiters.push_back(std::move(producer_waiters_.front()));
      producer_waiters_.pop_front();
      if (!status.ok()) continue;
      given.push_back({producer_next_, ProducerEpoch(0)});
      producer_next_ = producer_next_ + 1;
    }
    again = reserving_ = !producer_waiters_.empty();
  }
  for (std::size_t i = 0; i < waiters.size(); ++i) {
    if (status.ok()) {
      waiters[i](given[i]);
    } else {
      waiters[i](status);
    }
  }
  if (!again) return;
  rooms_.partitions.helpers.Submit(HelperKind::kAdmin, [this, now](absl::Status next) {
    ReserveProducerIds(std::move(next), now);
  });
}

// ---- a clean stop ----

absl::Status Catalog::CloseClean() {
  std::vector<std::shared_ptr<Partition>> partitions;
  const std::shared_ptr<const ServedTopics> topics = rooms_.map.Load();
  for (const auto& [name, topic] : topics->by_name()) {
    partitions.insert(partitions.end(), topic->partitions.begin(), topic->partitions.end());
  }
  std::mutex mutex;
  std::vector<storage::DurableEnd> ends;
  std::vector<TopicPartition> not_closed;
  absl::Status failure;
  ForEachInParallel(partitions.size(), kClosingThreads, [&](std::size_t i) {
    const absl::StatusOr<std::optional<storage::DurableEnd>> end = partitions[i]->CloseClean();
    const std::lock_guard lock(mutex);
    if (CodeOf(end.status()) == ErrorCode::kPartitionOffline) {
      not_closed.push_back(partitions[i]->id());
    } else if (!end.ok()) {
      failure = end.status();
    } else if (end->has_value()) {
      ends.push_back(**end);
    }
  });
  RETURN_IF_ERROR(rooms_.data_dir.frontier().Note(ends));
  // Then the next start looks at everything with care.
  RETURN_IF_ERROR(failure);
  return rooms_.data_dir.frontier().CloseClean(not_closed);
}

}  // namespace cairn::broker
