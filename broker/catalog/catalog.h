#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "broker/catalog/catalog_table.h"
#include "broker/catalog/recovery_summary.h"
#include "broker/catalog/topic_config.h"
#include "broker/partitions/partition.h"
#include "broker/partitions/partition_map.h"
#include "broker/runtime/append_clock.h"
#include "broker/state/state_topic.h"
#include "protocol/types.h"
#include "storage/data_dir.h"

namespace cairn::broker {

// Which topics there are: creates, alters, grows and deletes them, keeps the PartitionMap, and
// gives out producer ids. The state is a CatalogTable behind the internal topic `__catalog`.
//
// Threads: everything may be called from any thread. Administration is carried out one at a time on
// the helper thread of kAdmin, where `done` is called, once, when the outcome is durable; if the
// helpers are stopped `done` is called at once with ErrorCode::kStopping. `done` must be quick and
// hand over.
//
// All of them give ErrorCode::kInternalTopic for names that begin with "__",
// ErrorCode::kUnknownTopic where the topic is not there, and the errors of StateTopic::Append.
class Catalog {
 public:
  // What it is built upon; all of it outlives the catalog.
  struct Rooms {
    storage::DataDir& data_dir;
    PartitionMap& map;
    PartitionServices partitions;
    AppendClock& clock;
  };

  // Opens the catalog's log and replays it, opens the logs of all partitions (which recovers them),
  // and serves them in the map. What the catalog does not know is moved to quarantine/. A damaged
  // partition is not an error: it is offline, and problems() says why.
  //   kDataLoss  the catalog itself is damaged; names the file
  //   other      the data directory cannot be read or written
  static absl::StatusOr<std::unique_ptr<Catalog>> Open(Rooms rooms, Timestamp now);
  ~Catalog();

  // Gives the new topic's id; its partitions can be written to from then on.
  //   ErrorCode::kTopicExists, kInvalidTopicName, kInvalidConfig
  //   ErrorCode::kInvalidRequest  an impossible number of partitions
  void CreateTopic(std::string name, std::int32_t partitions, TopicConfigs configs, Timestamp now,
                   absl::AnyInvocable<void(absl::StatusOr<TopicId>)> done);

  struct TopicChange {
    TopicConfigs configs = {};    // an empty value puts the default back
    std::int32_t partitions = 0;  // 0: leave the number as it is
    bool remap_keys = false;      // needed to grow: keys move to other partitions
  };
  //   ErrorCode::kInvalidConfig
  //   ErrorCode::kInvalidRequest  fewer partitions than now, too many, or more without remap_keys
  void AlterTopic(std::string name, TopicChange change, Timestamp now,
                  absl::AnyInvocable<void(absl::Status)> done);

  // From `done` on the name is free; the space is given back in the background.
  void DeleteTopic(std::string name, Timestamp now, absl::AnyInvocable<void(absl::Status)> done);

  // Drops the records before an offset; gives the new log start.
  //   ErrorCode::kUnknownPartition, kOffsetOutOfRange
  void TrimTopic(std::string_view name, PartitionIndex partition, Offset before, Timestamp now,
                 absl::AnyInvocable<void(absl::StatusOr<Offset>)> done);

  struct Producer {
    ProducerId id;
    ProducerEpoch epoch;
  };
  // A new producer id (kNoProducer: epoch 0), or a higher epoch of one given out before (a new id
  // when the epochs are used up). Usually calls `done` at once, on this thread.
  //   ErrorCode::kUnknownProducer  an id that was never given out
  void InitProducer(ProducerId id, ProducerEpoch epoch, Timestamp now,
                    absl::AnyInvocable<void(absl::StatusOr<Producer>)> done);

  // A topic as it is now, internal ones included; nothing if there is none.
  std::optional<TopicRow> Find(std::string_view name) const;

  // Whoever wants to hear of topics that were created, altered or deleted, by id and name. Called
  // on the admin thread, once the change is served. Set before there are requests.
  using OnTopicChange = absl::AnyInvocable<void(const TopicId&, const std::string&)>;
  void SetOnTopicChange(OnTopicChange listener) { on_topic_change_ = std::move(listener); }

  const RecoverySummary& recovery() const { return recovery_; }
  // Found at start, for an operator: quarantined directories, damaged partitions. Plus what went
  // wrong since: partitions that take no writes.
  std::vector<std::string> Problems() const;
  bool clean_start() const { return clean_start_; }

  // A clean stop: closes every log and notes it in the frontier. Requires that nobody appends any
  // more and that helpers, janitor and flusher are stopped (the flusher has made everything
  // durable).
  absl::Status CloseClean();

 private:
  explicit Catalog(Rooms rooms);

  // At start; catalog_start.cc and catalog_rebuild.cc.
  absl::Status OpenState(Timestamp now);
  const ServedTopic& OpenInternal(const TopicId& id, const char* name, int partitions,
                                  const TopicOptions& options, Timestamp now);
  absl::Status RebuildIfAsked(Timestamp now);
  absl::Status EnterFromDisk(const TopicRow& row, Timestamp now);
  absl::Status PutAwayStrangers(const std::vector<std::string>& directories);
  // Whose a directory is, as far as the catalog knows.
  enum class Known { kAsServed, kAsDeleted, kNot };
  Known KnowledgeOf(const storage::DataDir::Found& found) const;
  absl::Status CheckNotForgotten(const std::vector<storage::DataDir::Found>& strangers);
  absl::Status Damaged(const absl::Status& why) const;
  std::string WayOut() const;
  void OpenTopics(Timestamp now);
  void GoOnRemoving();
  void NoteProblem(std::string problem);
  void Clear(const storage::Leftover& leftover);
  void NoteRecovery(absl::FunctionRef<void()> note);

  std::shared_ptr<ServedTopic> NewServedTopic(const TopicRow& row,
                                              const TopicOptions& options) const;
  // Thread-safe as long as each partition is opened once.
  std::shared_ptr<Partition> OpenPartition(const storage::LogIdentity& identity,
                                           const TopicOptions& options, Timestamp now);

  // The bodies of the operations, on the admin thread.
  absl::StatusOr<TopicId> Create(const std::string& name, std::int32_t partitions,
                                 const TopicConfigs& configs, Timestamp now);
  absl::Status Alter(const std::string& name, const TopicChange& change, Timestamp now);
  absl::Status Delete(const std::string& name, Timestamp now);
  void RemoveFiles(const TopicRow& row);
  void RemoveDirectories(const TopicRow& row);
  void ForgetTopic(const TopicId& id, Timestamp now);

  absl::StatusOr<TopicRow> FindForChange(const std::string& name) const;
  absl::Status Write(const StateRecord& record, Timestamp now);
  void ReserveProducerIds(absl::Status status, Timestamp now);

  Rooms rooms_;
  std::shared_ptr<StateTopic> state_;
  OnTopicChange on_topic_change_ = [](const TopicId&, const std::string&) {};

  mutable std::mutex mutex_;
  CatalogTable table_;                             // guarded by mutex_; changed by Apply only
  ProducerId producer_next_{0}, producer_end_{0};  // reserved, durable and not given out yet
  bool reserving_ = false;
  std::deque<absl::AnyInvocable<void(absl::StatusOr<Producer>)>> producer_waiters_;
  RecoverySummary recovery_;           // guarded by mutex_ during Open, constant afterwards
  std::vector<std::string> problems_;  // guarded by mutex_
  bool clean_start_ = false;
  bool is_open_ = false;  // guarded by mutex_; Open has ended
};

}  // namespace cairn::broker
