// Compaction as the cleaner and the partition do it; what it does to a log is tests/storage's.
#include "broker/partitions/cleaner.h"

#include <atomic>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "tests/broker/data_plane.h"
#include "tests/storage/damage.h"
#include "tests/storage/file_size_limit.h"
#include "tests/storage/small_disk.h"

namespace cairn::broker {
namespace {

using std::chrono::milliseconds;

constexpr int kNever = 3'600'000;  // ms

PartitionOptions Compacted() {
  PartitionOptions options;
  options.cleanup = CleanupPolicy::kCompact;
  options.log.segment_bytes = 1;  // a batch each
  options.log.compaction.enabled = true;
  options.log.compaction.min_dirty_ratio = 0.01;
  return options;
}

class Cleaned {
 public:
  Cleaned() : plane_(dir_.path()), data_(dir_.path()) {}
  explicit Cleaned(const std::filesystem::path& data) : plane_(data), data_(data) {}

  // A partition that the cleaner knows.
  std::shared_ptr<Partition> Serve(const std::string& name,
                                   const PartitionOptions& options = Compacted()) {
    auto partition = plane_.NewPartition(name, options);
    auto topic = std::make_shared<ServedTopic>();
    topic->name = name;
    topic->id = partition->id().topic;
    topic->options.partition = options;
    topic->partitions.push_back(partition);
    plane_.map().Put(std::move(topic));
    return partition;
  }
  // One value after the other, each in a batch, for so many keys in turn; all segments but the last
  // are sealed then.
  void Fill(Partition& partition, int values, std::size_t bytes = 100, int keys = 1) {
    const auto first = static_cast<int>(partition.ends().log_end.value());
    for (int number = first; number < first + values; ++number) {
      std::string value = std::to_string(number);
      value.resize(bytes, ' ');
      AppendKeyed(partition, "key" + std::to_string(number % keys), value);
    }
    const auto unsealed = [&] {
      return partition.state().segments - static_cast<int>(partition.SealedSegments().size());
    };
    REQUIRE(Eventually([&] { return unsealed() == 1; }));
  }

  Cleaner& Start(Cleaner::Options options = {}) {
    options.interval = milliseconds(1);
    options.clock = [this] {
      if (on_look_) on_look_();
      ++looks_;
      return Timestamp(now_.load());
    };
    cleaner_.emplace(plane_.map(), std::move(options));
    cleaner_->Start();
    return *cleaner_;
  }
  // Called whenever the cleaner asks for the time: before each look at all partitions, and before
  // each cleaning.
  void OnLook(std::function<void()> on_look) { on_look_ = std::move(on_look); }
  // Until it had reason enough to do what it wants to.
  void LetItLook() {
    const int before = looks_;
    REQUIRE(Eventually([&] { return looks_ > before + 5; }));
  }
  void Pass(std::int64_t ms) { now_ += ms; }
  Timestamp now() const { return Timestamp(now_); }

  int CountFiles(const std::string& name, const std::string& ending) const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(data_ / (name + "-0"))) {
      count += entry.path().filename().string().ends_with(ending) ? 1 : 0;
    }
    return count;
  }
  DataPlane& plane() { return plane_; }

  static std::vector<int> Numbers(Partition& partition) {
    std::vector<int> numbers;
    for (const std::string& value : ReadValues(partition, partition.ends().log_start)) {
      numbers.push_back(std::stoi(value));
    }
    return numbers;
  }

 private:
  static void AppendKeyed(Partition& partition, const std::string& key, const std::string& value) {
    RecordBatchBuilder builder;
    builder.Add({.timestamp = kNow, .key = AsBytes(key), .value = AsBytes(value), .headers = {}});
    const auto sink = std::make_shared<TestSink>();
    REQUIRE(Append(partition, *builder.Finish({}), Durability::kDurable, sink).ok());
    REQUIRE(sink->Wait(1).front().status.ok());
  }

  TempDir dir_;
  DataPlane plane_;
  const std::filesystem::path data_;
  std::atomic<std::int64_t> now_{kNow.value()};
  std::atomic<int> looks_{0};
  std::function<void()> on_look_;
  std::optional<Cleaner> cleaner_;
};

bool IsClean(const Partition& partition, Timestamp now = kNow) {
  return partition.CompactionNeed(now) == 0;
}

using Numbers = std::vector<int>;

TEST_CASE("Cleaner: partitions are cleaned, the dirtiest first, and no topic of another policy",
          "[broker][compaction]") {
  std::atomic<bool> in_order{true};
  Cleaned cleaned;
  const auto tidier = cleaned.Serve("a-little");
  const auto dirtier = cleaned.Serve("much");
  PartitionOptions kept = Compacted();
  kept.cleanup = CleanupPolicy::kDelete;
  kept.log.compaction.enabled = false;
  const auto other = cleaned.Serve("other", kept);
  cleaned.Fill(*tidier, 10);
  REQUIRE(tidier->Compact({}, kNow).ok());
  REQUIRE(IsClean(*tidier));
  cleaned.Fill(*tidier, 2);
  cleaned.Fill(*dirtier, 10);
  cleaned.Fill(*other, 10);
  REQUIRE(tidier->CompactionNeed(kNow) > 0);
  REQUIRE(tidier->CompactionNeed(kNow) < dirtier->CompactionNeed(kNow));
  cleaned.OnLook([&] {
    if (IsClean(*tidier) && !IsClean(*dirtier)) in_order = false;
  });
  cleaned.Start();
  CHECK(Eventually([&] { return IsClean(*tidier) && IsClean(*dirtier); }));
  cleaned.LetItLook();
  CHECK(in_order);
  CHECK(Cleaned::Numbers(*tidier) == Numbers{10, 11});
  CHECK(Cleaned::Numbers(*dirtier) == Numbers{8, 9});
  CHECK(Cleaned::Numbers(*other).size() == 10);
}

TEST_CASE("Cleaner: a partition is cleaned once it is dirty enough, not before",
          "[broker][compaction]") {
  Cleaned cleaned;
  PartitionOptions options = Compacted();
  options.log.compaction.min_dirty_ratio = 0.9;
  const auto partition = cleaned.Serve("orders", options);
  cleaned.Fill(*partition, 3);
  REQUIRE(partition->Compact({}, kNow).ok());
  cleaned.Fill(*partition, 2);
  cleaned.Start();
  cleaned.LetItLook();
  CHECK(Cleaned::Numbers(*partition) == Numbers{1, 2, 3, 4});
  SECTION("because there is more of it") {
    cleaned.Fill(*partition, 30);
    CHECK(Eventually([&] { return Cleaned::Numbers(*partition).front() > 4; }));
  }
  SECTION("because less is enough") {
    options.log.compaction.min_dirty_ratio = 0.1;
    partition->SetOptions(options);
    CHECK(Eventually([&] { return Cleaned::Numbers(*partition) == Numbers{3, 4}; }));
  }
  SECTION("because it has waited for too long") {
    options.log.compaction.max_lag_ms = 5000;
    partition->SetOptions(options);
    cleaned.Pass(4999);
    cleaned.LetItLook();
    CHECK(Cleaned::Numbers(*partition) == Numbers{1, 2, 3, 4});
    cleaned.Pass(1);
    CHECK(Eventually([&] { return Cleaned::Numbers(*partition) == Numbers{3, 4}; }));
  }
}

TEST_CASE("Cleaner: what is younger than the lag is left alone", "[broker][compaction]") {
  Cleaned cleaned;
  PartitionOptions options = Compacted();
  options.log.compaction.min_lag_ms = 5000;
  const auto partition = cleaned.Serve("orders", options);
  cleaned.Fill(*partition, 4);
  cleaned.Start();
  cleaned.Pass(4999);
  cleaned.LetItLook();
  CHECK(Cleaned::Numbers(*partition) == Numbers{0, 1, 2, 3});
  cleaned.Pass(1);
  CHECK(Eventually([&] { return Cleaned::Numbers(*partition) == Numbers{2, 3}; }));
}

TEST_CASE("Cleaner: it stops in the midst of a cleaning, and leaves nothing behind",
          "[broker][compaction]") {
  std::atomic<int> asked{0};
  Cleaned cleaned;
  const auto partition = cleaned.Serve("orders");
  cleaned.Fill(*partition, 4, 400'000);
  Cleaner::Options slow;
  slow.bytes_per_second = 1;
  cleaned.OnLook([&] { ++asked; });
  Cleaner& cleaner = cleaned.Start(slow);
  REQUIRE(Eventually([&] { return asked >= 2; }));  // a look, and then a cleaning
  cleaner.Stop();
  CHECK(partition->CompactionNeed(kNow) > 0);
  CHECK(partition->write_state().ok());
  CHECK(Cleaned::Numbers(*partition).size() == 4);
  CHECK(cleaned.CountFiles("orders", ".new") == 0);
  CHECK(cleaned.CountFiles("orders", ".log") == partition->state().segments);
}

TEST_CASE("Cleaner: damage puts the partition offline, and the others are cleaned all the same",
          "[broker][compaction]") {
  Cleaned cleaned;
  const auto damaged = cleaned.Serve("damaged");
  const auto sound = cleaned.Serve("sound");
  cleaned.Fill(*sound, 5);
  REQUIRE(sound->Compact({}, kNow).ok());
  cleaned.Fill(*sound, 5);
  cleaned.Fill(*damaged, 5);
  REQUIRE(damaged->CompactionNeed(kNow) > sound->CompactionNeed(kNow));
  const auto watcher = std::make_shared<TestWatcher>();
  REQUIRE(damaged->WatchEnd(Offset(5), watcher));
  const std::filesystem::path file = damaged->SealedSegments()[1]->LogPath();
  Bytes bytes = storage::ReadBack(file);
  bytes[bytes.size() / 2] ^= std::byte{1};
  storage::WriteFile(file, bytes);
  cleaned.Start();
  CHECK(Eventually([&] { return Cleaned::Numbers(*sound) == Numbers{8, 9}; }));
  watcher->Wait();
  CHECK(CodeOf(damaged->write_state()) == ErrorCode::kPartitionOffline);
  CHECK(damaged->CompactionNeed(kNow) == 0);
  CHECK(cleaned.CountFiles("damaged", ".log") == 5);
}

TEST_CASE("Cleaner: after a write that failed it tries again, but not at once",
          "[broker][compaction]") {
  Cleaned cleaned;
  const auto partition = cleaned.Serve("orders");
  cleaned.Fill(*partition, 4, 50'000);
  Cleaner::Options options;
  options.patience = GENERATE(milliseconds(1), milliseconds(kNever));
  const bool soon = options.patience == milliseconds(1);
  {
    // Of the sealed ones only the last has more than that left.
    const storage::FileSizeLimit limit(10'000);
    cleaned.Start(options);
    cleaned.LetItLook();
    CHECK_FALSE(IsClean(*partition));
    CHECK(partition->write_state().ok());
  }
  if (soon) {
    CHECK(Eventually([&] { return IsClean(*partition); }));
  } else {
    cleaned.LetItLook();
    CHECK_FALSE(IsClean(*partition));
  }
  CHECK(Cleaned::Numbers(*partition) == Numbers{2, 3});
}

void FillDisk(const std::filesystem::path& file) {
  std::ofstream filling(file, std::ios::binary);
  const std::string piece(4096, 'x');
  while (filling.write(piece.data(), static_cast<std::streamsize>(piece.size())).flush()) continue;
}

TEST_CASE("Cleaner: on a full disk nothing is lost, and with room it goes on",
          "[broker][compaction]") {
  const storage::SmallDisk disk;
  if (!disk.is_mounted()) {
    WARN("SKIPPED: mounting a small disk needs root; nothing was tested here");
    return;
  }
  Cleaned cleaned(disk.path());
  PartitionOptions options = Compacted();
  options.log.segment_bytes = 300'000;
  const auto partition = cleaned.Serve("orders", options);
  cleaned.Fill(*partition, 8, 60'000, /*keys=*/8);
  REQUIRE_FALSE(IsClean(*partition));
  FillDisk(disk.path() / "filling");
  const absl::Status status = partition->Compact({}, kNow).status();
  INFO(status);
  CHECK(CodeOf(status) == ErrorCode::kStorageFull);
  CHECK(partition->write_state().ok());
  CHECK(Cleaned::Numbers(*partition).size() == 8);
  CHECK(cleaned.CountFiles("orders", ".new") == 0);
  Cleaner::Options impatient;
  impatient.patience = milliseconds(1);
  cleaned.Start(impatient);
  cleaned.LetItLook();
  CHECK_FALSE(IsClean(*partition));
  std::filesystem::remove(disk.path() / "filling");
  CHECK(Eventually([&] { return IsClean(*partition); }));
  CHECK(Cleaned::Numbers(*partition).size() == 8);
}

// ---- the partition ----

// Compacts, and does something else as soon as a good part is read.
absl::Status CompactBeside(Partition& partition, const std::function<void()>& something) {
  storage::Compactor::Options options;
  bool is_done = false;
  options.pace = [&](std::int64_t) {
    if (!std::exchange(is_done, true)) something();
    return absl::OkStatus();
  };
  const absl::Status status = partition.Compact(std::move(options), kNow).status();
  REQUIRE(is_done);
  return status;
}

TEST_CASE("Partition: what is trimmed while it is cleaned does not come back",
          "[broker][partition][compaction]") {
  Cleaned cleaned;
  const auto partition = cleaned.Serve("orders");
  cleaned.Fill(*partition, 6, 200'000);
  const absl::Status status = CompactBeside(*partition, [&] {
    Answer<absl::StatusOr<Offset>> trimmed;
    partition->TrimTo(Offset(4), kNow, trimmed.Taker());
    CHECK(trimmed.Wait().ok());
  });
  INFO(status);
  CHECK(absl::IsAborted(status));
  CHECK(partition->write_state().ok());
  CHECK(partition->ends().log_start == Offset(4));
  CHECK(cleaned.CountFiles("orders", ".log") == partition->state().segments);
  CHECK(cleaned.CountFiles("orders", ".new") == 0);
  CHECK(Cleaned::Numbers(*partition) == Numbers{4, 5});
}

TEST_CASE("Partition: one that is deleted while it is cleaned has no file touched any more",
          "[broker][partition][compaction]") {
  Cleaned cleaned;
  const auto partition = cleaned.Serve("orders");
  cleaned.Fill(*partition, 6, 200'000);
  const absl::Status status = CompactBeside(*partition, [&] { partition->MarkDeleted(); });
  CHECK(CodeOf(status) == ErrorCode::kUnknownTopic);
  CHECK(partition->CompactionNeed(kNow) == 0);
  CHECK(CodeOf(partition->Compact({}, kNow).status()) == ErrorCode::kUnknownTopic);
  CHECK(cleaned.CountFiles("orders", ".log") == 6);
  CHECK(cleaned.CountFiles("orders", ".g1.log") == 0);
}

TEST_CASE("Partition: records come in while it is cleaned, and the newest of all stays",
          "[broker][partition][compaction]") {
  Cleaned cleaned;
  const auto partition = cleaned.Serve("orders");
  cleaned.Fill(*partition, 6, 200'000);
  CHECK(CompactBeside(*partition, [&] { cleaned.Fill(*partition, 3); }).ok());
  CHECK(Cleaned::Numbers(*partition) == Numbers{4, 5, 6, 7, 8});
  CHECK(partition->Compact({}, kNow).ok());
  CHECK(Cleaned::Numbers(*partition) == Numbers{7, 8});
}

TEST_CASE("Partition: one that is closed or offline is not cleaned",
          "[broker][partition][compaction]") {
  Cleaned cleaned;
  const auto partition = cleaned.Serve("orders");
  cleaned.Fill(*partition, 4);
  REQUIRE(partition->CloseClean().ok());
  CHECK(partition->CompactionNeed(kNow) == 0);
  CHECK(CodeOf(partition->Compact({}, kNow).status()) == ErrorCode::kStopping);
  const auto offline = std::make_shared<Partition>(
      MakeError(ErrorCode::kPartitionOffline, "its directory cannot be read"),
      TopicPartition{NewTopicId(), PartitionIndex(0)}, "gone", Compacted(),
      cleaned.plane().services());
  CHECK(offline->CompactionNeed(kNow) == 0);
  CHECK(CodeOf(offline->Compact({}, kNow).status()) == ErrorCode::kPartitionOffline);
}

}  // namespace
}  // namespace cairn::broker
