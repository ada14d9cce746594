#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include <catch2/catch.hpp>

#include "broker/catalog/catalog.h"
#include "broker/partitions/flusher.h"
#include "broker/partitions/janitor.h"
#include "broker/partitions/open_files.h"
#include "broker/partitions/partition.h"
#include "broker/partitions/partition_map.h"
#include "broker/runtime/helper_pool.h"
#include "broker/runtime/metrics.h"
#include "protocol/error_code.h"
#include "protocol/record_batch_builder.h"
#include "storage/data_dir.h"
#include "storage/segment.h"
#include "tests/storage/temp_dir.h"

namespace cairn::broker {

using storage::TempDir;

// Facts are waited for, this long at most.
inline constexpr std::chrono::seconds kPatience{60};

inline constexpr Timestamp kNow{1'700'000'000'000};

// Whether `fact` becomes true.
inline bool Eventually(const std::function<bool()>& fact) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!fact()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// What an asynchronous call answers, waited for.
template <typename T>
class Answer {
 public:
  absl::AnyInvocable<void(T)> Taker() {
    return [state = state_](T value) {
      const std::lock_guard lock(state->mutex);
      state->value = std::move(value);
      state->told.notify_all();
    };
  }
  T Wait() {
    std::unique_lock lock(state_->mutex);
    REQUIRE(state_->told.wait_for(lock, kPatience, [this] { return state_->value.has_value(); }));
    return *std::move(state_->value);
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable told;
    std::optional<T> value;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

inline std::string Text(const absl::Status& status) { return std::string(status.message()); }

// Clocks that stand still until told to go.
class FakeClocks {
 public:
  void Pass(std::chrono::milliseconds time) {
    monotonic_ += time.count();
    wall_ += time.count();
  }
  void SetBack(std::chrono::milliseconds time) { wall_ -= time.count(); }
  void SetAhead(std::chrono::milliseconds time) { wall_ += time.count(); }
  AppendClock::Sources Sources() {
    return {.wall = [this] { return Timestamp(wall_.load()); },
            .monotonic = [this] { return std::chrono::milliseconds(monotonic_.load()); }};
  }

 private:
  std::atomic<std::int64_t> wall_{kNow.value()};
  std::atomic<std::int64_t> monotonic_{5'000'000};
};

class TestSink : public AckSink {
 public:
  void Acknowledge(std::span<const Ack> acks) override {
    const std::lock_guard lock(mutex_);
    acks_.insert(acks_.end(), acks.begin(), acks.end());
    ++calls_;
    told_.notify_all();
  }
  std::vector<Ack> Wait(std::size_t count) {
    std::unique_lock lock(mutex_);
    REQUIRE(told_.wait_for(lock, kPatience, [&] { return acks_.size() >= count; }));
    std::vector<Ack> acks = acks_;
    // Statuses of their own: Abseil counts the holders of one where a race detector cannot see it.
    for (Ack& ack : acks) {
      if (!ack.status.ok()) ack.status = MakeError(CodeOf(ack.status), Text(ack.status));
    }
    return acks;
  }
  int calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  std::vector<Ack> acks_;
  int calls_ = 0;
};

class TestWatcher : public EndWatcher {
 public:
  void OnEndMoved() override {
    const std::lock_guard lock(mutex_);
    ++calls_;
    told_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    REQUIRE(told_.wait_for(lock, kPatience, [&] { return calls_ > 0; }));
  }
  int calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  int calls_ = 0;
};

// A disk that waits, or fails, when told to.
class SyncValve {
 public:
  void Close() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    --waiting_;
  }
  // Until the flusher waits here.
  void WaitForFlusher() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, kPatience, [this] { return waiting_ > 0; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int waiting_ = 0;
};

// The rooms below the doors, on a data directory.
class DataPlane {
 public:
  struct Options {
    Flusher::Options flusher;
    Janitor::Options janitor;
    std::int64_t files_max = 10'000;
    // It is always now, unless the test says otherwise.
    AppendClock::Sources clocks{.wall = [] { return kNow; },
                                .monotonic = [] { return std::chrono::milliseconds(0); }};
  };

  explicit DataPlane(const std::filesystem::path& path) : DataPlane(path, Options()) {}
  DataPlane(const std::filesystem::path& path, Options options)
      : data_dir_(Value(storage::DataDir::Open(path))),
        open_files_(options.files_max, helpers_),
        flusher_(*data_dir_, metrics_, std::move(options.flusher)),
        clock_(std::move(options.clocks)),
        janitor_(map_, Furnished(options.janitor)) {
    flusher_.Start();
    janitor_.Start();
  }
  // Like kill -9, except that what is on its way to the disk gets there.
  ~DataPlane() {
    janitor_.Stop();
    helpers_.Stop();
    flusher_.Stop();
  }

  void OpenCatalog() {
    catalog_ = Value(Catalog::Open({*data_dir_, map_, services(), clock_}, kNow));
  }
  absl::Status StopClean() {
    janitor_.Stop();
    helpers_.Stop();
    flusher_.Stop();
    return catalog_->CloseClean();
  }

  std::shared_ptr<Partition> NewPartition(const std::string& name, PartitionOptions options = {}) {
    const TopicId id = NewTopicId();
    storage::RecoveryReport report;
    auto log = Value(
        storage::Log::Open(*data_dir_, {id, name, PartitionIndex(0)}, options.log, kNow, report));
    return std::make_shared<Partition>(std::move(log), TopicPartition{id, PartitionIndex(0)}, name,
                                       options, services());
  }

  PartitionServices services() { return {flusher_, helpers_, janitor_, open_files_, metrics_}; }
  Catalog& catalog() { return *catalog_; }
  PartitionMap& map() { return map_; }
  storage::DataDir& data_dir() { return *data_dir_; }
  OpenFiles& open_files() { return open_files_; }
  Metrics& metrics() { return metrics_; }
  HelperPool& helpers() { return helpers_; }
  AppendClock& clock() { return clock_; }
  Janitor& janitor() { return janitor_; }

  template <typename T>
  static T Value(absl::StatusOr<T> value) {
    INFO(value.status());
    REQUIRE(value.ok());
    return *std::move(value);
  }

 private:
  Janitor::Options Furnished(Janitor::Options options) {
    options.clock = &clock_;
    options.open_files = &open_files_;
    return options;
  }

  std::unique_ptr<storage::DataDir> data_dir_;
  Metrics metrics_;
  PartitionMap map_;
  HelperPool helpers_;
  OpenFiles open_files_;
  Flusher flusher_;
  AppendClock clock_;
  Janitor janitor_;
  std::unique_ptr<Catalog> catalog_;
};

struct Producing {
  ProducerId id = kNoProducer;
  std::int32_t sequence = -1;
  Timestamp timestamp = kNow;
};

// One batch of records with these values.
inline Bytes BatchOf(const std::vector<std::string>& values, Producing producing = {}) {
  RecordBatchBuilder builder;
  for (const std::string& value : values) {
    RecordBatchBuilder::Record record;
    record.timestamp = producing.timestamp;
    record.value = AsBytes(value);
    builder.Add(record);
  }
  RecordBatchBuilder::FinishOptions options;
  if (producing.id != kNoProducer) {
    options.producer_id = producing.id;
    options.producer_epoch = ProducerEpoch(0);
    options.base_sequence = producing.sequence;
  }
  return DataPlane::Value(builder.Finish(options));
}

inline absl::StatusOr<Partition::Appended> Append(Partition& partition, Bytes batch,
                                                  Durability wait_for = Durability::kWritten,
                                                  std::shared_ptr<AckSink> sink = nullptr,
                                                  std::uint64_t correlation = 0) {
  Partition::AppendRequest request;
  request.batch = MutableBytes(batch);
  request.wait_for = wait_for;
  request.sink = std::move(sink);
  request.correlation = correlation;
  request.now = kNow;
  return partition.Append(std::move(request));
}

// Appends and waits until it is durable.
inline Offset AppendDurably(Partition& partition, const std::vector<std::string>& values) {
  const auto sink = std::make_shared<TestSink>();
  const auto appended =
      DataPlane::Value(Append(partition, BatchOf(values), Durability::kDurable, sink, 1));
  REQUIRE(appended.pending);
  const std::vector<Ack> acks = sink->Wait(1);
  INFO(acks.front().status);
  REQUIRE(acks.front().status.ok());
  return acks.front().base_offset;
}

// The values from `from` to the committed end.
inline std::vector<std::string> ReadValues(Partition& partition, Offset from) {
  std::vector<std::string> values;
  storage::ReadCursor cursor;
  while (from < partition.ends().committed_end) {
    const storage::LogRead read = DataPlane::Value(partition.Read(from, 64 << 10, cursor));
    if (read.cold != nullptr) {
      Answer<absl::Status> prepared;
      partition.Prepare(read, prepared.Taker());
      const absl::Status status = prepared.Wait();
      INFO(status);
      REQUIRE(status.ok());
      continue;
    }
    RecordReader reader;
    RecordView record;
    for (ByteView rest = read.view.bytes; !rest.empty();) {
      const RecordBatchView batch = DataPlane::Value(RecordBatchView::Parse(rest));
      REQUIRE(reader.Open(batch, kDecompressedBytesMax).ok());
      while (reader.Next(record)) {
        if (record.offset >= from) values.emplace_back(AsText(record.value.value()));
      }
      REQUIRE(reader.status().ok());
      rest = rest.subspan(batch.size());
    }
    from = read.next;
  }
  return values;
}

}  // namespace cairn::broker
