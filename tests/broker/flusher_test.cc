#include "broker/partitions/flusher.h"

#include <atomic>

#include "tests/broker/data_plane.h"
#include "tests/storage/file_size_limit.h"

namespace cairn::broker {
namespace {

const absl::Status kBadDisk = absl::DataLossError("the disk said EIO");

// A disk on which single files, or the whole file system, can be made to fail.
struct Disk {
  SyncValve valve;
  std::atomic<bool> file_system_fails{false};
  std::mutex mutex;
  std::vector<TopicId> bad;

  Flusher::Options Options(DataPlane*& plane) {
    Flusher::Options options;
    options.alone_max = 1;
    options.sync = [this](const storage::SyncPlan& plan) {
      valve.Pass();
      const std::lock_guard lock(mutex);
      for (const TopicId& id : bad) {
        if (plan.durable_end().partition.topic == id) return kBadDisk;
      }
      return plan.Sync();
    };
    options.sync_file_system = [this, &plane] {
      valve.Pass();
      return file_system_fails ? kBadDisk : plane->data_dir().SyncFileSystem();
    };
    return options;
  }
  void Spoil(const Partition& partition) {
    const std::lock_guard lock(mutex);
    bad.push_back(partition.id().topic);
  }
  void Heal() {
    const std::lock_guard lock(mutex);
    bad.clear();
  }
};

struct Bench {
  Bench() {
    DataPlane::Options options;
    options.flusher = disk.Options(raw);
    plane = std::make_unique<DataPlane>(dir.path(), std::move(options));
    raw = plane.get();
  }
  ~Bench() { disk.valve.Open(); }

  // The sync of one append fails; the acknowledgement.
  Ack FailSync(Partition& partition, const Bytes& batch) {
    disk.Spoil(partition);
    const auto sink = std::make_shared<TestSink>();
    REQUIRE(Append(partition, batch, Durability::kDurable, sink, 1).ok());
    return sink->Wait(1)[0];
  }

  // Appends one record to each in one cycle; the acknowledgements, by partition.
  std::vector<Ack> AppendTogether(const std::vector<std::shared_ptr<Partition>>& partitions) {
    disk.valve.Close();
    const auto blocker = plane->NewPartition("blocker");
    REQUIRE(Append(*blocker, BatchOf({"x"})).ok());
    disk.valve.WaitForFlusher();
    const auto sink = std::make_shared<TestSink>();
    for (std::size_t i = 0; i < partitions.size(); ++i) {
      REQUIRE(Append(*partitions[i], BatchOf({"x"}), Durability::kDurable, sink, i).ok());
    }
    disk.valve.Open();
    std::vector<Ack> acks = sink->Wait(partitions.size());
    std::sort(acks.begin(), acks.end(),
              [](const Ack& a, const Ack& b) { return a.correlation < b.correlation; });
    return acks;
  }

  TempDir dir;
  Disk disk;
  DataPlane* raw = nullptr;
  std::unique_ptr<DataPlane> plane;
};

std::vector<std::shared_ptr<Partition>> Three(DataPlane& plane) {
  return {plane.NewPartition("one"), plane.NewPartition("two"), plane.NewPartition("three")};
}

TEST_CASE("Flusher: a failed sync is answered as unknown and is final for its partition",
          "[broker][flusher]") {
  Bench bench;
  const auto bad = bench.plane->NewPartition("bad");
  const auto good = bench.plane->NewPartition("good");
  AppendDurably(*bad, {"a"});
  const Bytes batch = BatchOf({"b"}, {ProducerId(1), 0});
  CHECK(CodeOf(bench.FailSync(*bad, batch).status) == ErrorCode::kOutcomeUnknown);
  CHECK(bad->ends().durable_end == Offset(1));
  CHECK(bad->ends().committed_end == Offset(1));
  CHECK(ReadValues(*bad, Offset(0)) == std::vector<std::string>{"a"});

  CHECK(CodeOf(Append(*bad, BatchOf({"c"})).status()) == ErrorCode::kStorageFailed);
  CHECK(CodeOf(bad->write_state()) == ErrorCode::kStorageFailed);
  // Whether the first try survives is still not known: the repeat must not be called refused.
  CHECK(CodeOf(Append(*bad, batch, Durability::kDurable, std::make_shared<TestSink>()).status()) ==
        ErrorCode::kOutcomeUnknown);
  CHECK(AppendDurably(*good, {"d"}) == Offset(0));
}

TEST_CASE("Flusher: a sync that succeeds after a write failed acknowledges nothing any more",
          "[broker][flusher]") {
  Bench bench;
  const auto bad = bench.plane->NewPartition("bad");
  const auto good = bench.plane->NewPartition("good");
  bench.disk.valve.Close();
  REQUIRE(Append(*good, BatchOf({"x"})).ok());
  bench.disk.valve.WaitForFlusher();
  const auto sink = std::make_shared<TestSink>();
  REQUIRE(Append(*bad, BatchOf({"a"}), Durability::kDurable, sink, 1).ok());
  {
    const storage::FileSizeLimit limit(100'000);
    const std::string large(200'000, 'x');
    CHECK(CodeOf(Append(*bad, BatchOf({large})).status()) == ErrorCode::kStorageFailed);
  }
  bench.disk.valve.Open();
  CHECK(CodeOf(sink->Wait(1)[0].status) == ErrorCode::kOutcomeUnknown);
  CHECK(bad->ends().durable_end == Offset(0));
  CHECK(AppendDurably(*good, {"y"}) == Offset(1));
}

TEST_CASE("Flusher: what was appended while a sync failed is unknown too", "[broker][flusher]") {
  Bench bench;
  const auto bad = bench.plane->NewPartition("bad");
  bench.disk.Spoil(*bad);
  bench.disk.valve.Close();
  const auto sink = std::make_shared<TestSink>();
  REQUIRE(Append(*bad, BatchOf({"a"}), Durability::kDurable, sink, 1).ok());
  bench.disk.valve.WaitForFlusher();
  REQUIRE(Append(*bad, BatchOf({"b"}), Durability::kDurable, sink, 2).ok());
  bench.disk.valve.Open();
  for (const Ack& ack : sink->Wait(2)) CHECK(CodeOf(ack.status) == ErrorCode::kOutcomeUnknown);
}

TEST_CASE("Flusher: many partitions are synced by one syncfs", "[broker][flusher]") {
  Bench bench;
  const auto partitions = Three(*bench.plane);
  for (const Ack& ack : bench.AppendTogether(partitions)) CHECK(ack.status.ok());
  CHECK(bench.plane->metrics().file_system_syncs == 1);
  for (const auto& partition : partitions) CHECK(partition->ends().durable_end == Offset(1));
}

TEST_CASE("Flusher: after a failed syncfs only those whose file fails are out",
          "[broker][flusher]") {
  Bench bench;
  const auto partitions = Three(*bench.plane);
  bench.disk.file_system_fails = true;
  bench.disk.Spoil(*partitions[1]);
  const std::vector<Ack> acks = bench.AppendTogether(partitions);
  CHECK(acks[0].status.ok());
  CHECK(CodeOf(acks[1].status) == ErrorCode::kOutcomeUnknown);
  CHECK(acks[2].status.ok());
  CHECK(partitions[0]->write_state().ok());
  CHECK_FALSE(partitions[1]->write_state().ok());
}

TEST_CASE("Flusher: after a failed syncfs that no file explains all of the cycle are out",
          "[broker][flusher]") {
  Bench bench;
  const auto partitions = Three(*bench.plane);
  bench.disk.file_system_fails = true;
  for (const Ack& ack : bench.AppendTogether(partitions)) {
    CHECK(CodeOf(ack.status) == ErrorCode::kOutcomeUnknown);
  }
  for (const auto& partition : partitions) CHECK_FALSE(partition->write_state().ok());
}

TEST_CASE("Flusher: a failed sync is not tried again on a disk that seems to have healed",
          "[broker][flusher]") {
  Bench bench;
  const auto bad = bench.plane->NewPartition("bad");
  const auto good = bench.plane->NewPartition("good");
  AppendDurably(*bad, {"a"});
  REQUIRE(CodeOf(bench.FailSync(*bad, BatchOf({"b"})).status) == ErrorCode::kOutcomeUnknown);

  bench.disk.Heal();
  bad->SetOptions({});  // hands it to the flusher
  AppendDurably(*good, {"c"});
  CHECK(bad->ends().durable_end == Offset(1));
  CHECK(bench.plane->data_dir().frontier().Find(bad->id())->end == Offset(1));
}

TEST_CASE("Flusher: an error that one file explained is not held against others later",
          "[broker][flusher]") {
  Bench bench;
  const auto bad = bench.plane->NewPartition("bad");
  REQUIRE(CodeOf(bench.FailSync(*bad, BatchOf({"a"})).status) == ErrorCode::kOutcomeUnknown);
  // What syncfs says next: it was not asked then, so it tells now.
  bench.disk.file_system_fails = true;
  const auto partitions = Three(*bench.plane);
  for (const Ack& ack : bench.AppendTogether(partitions)) CHECK(ack.status.ok());
}

TEST_CASE("Flusher: the frontier knows a durable end before anyone is told", "[broker][flusher]") {
  // Asked from within Acknowledge: what a reader of the directory would find then.
  class Asking : public AckSink {
   public:
    Asking(const std::filesystem::path& path, TopicPartition id) : path_(path), id_(id) {}
    void Acknowledge(std::span<const Ack>) override {
      const auto reader = storage::DataDir::OpenForReading(path_);
      told_.Taker()(reader.ok() ? (*reader)->frontier().Find(id_) : std::nullopt);
    }
    std::optional<storage::DurableEnd> Wait() { return told_.Wait(); }

   private:
    const std::filesystem::path path_;
    const TopicPartition id_;
    Answer<std::optional<storage::DurableEnd>> told_;
  };
  Bench bench;
  const auto partition = bench.plane->NewPartition("orders");
  const auto sink = std::make_shared<Asking>(bench.dir.path(), partition->id());
  REQUIRE(Append(*partition, BatchOf({"a", "b"}), Durability::kDurable, sink, 1).ok());
  const auto known = sink->Wait();
  REQUIRE(known.has_value());
  CHECK(known->end == Offset(2));
}

TEST_CASE("Flusher: Stop makes durable what only waited for its time", "[broker][flusher]") {
  TempDir dir;
  DataPlane plane(dir.path());
  PartitionOptions options;
  options.durability = Durability::kWritten;
  options.flush_ms = 3'600'000;
  const auto partition = plane.NewPartition("events", options);
  REQUIRE(Append(*partition, BatchOf({"a"})).ok());
  plane.services().flusher.Stop();
  CHECK(partition->ends().durable_end == Offset(1));
}

TEST_CASE("Flusher: a written topic with a long flush.ms was queued once more with each cycle",
          "[broker][flusher]") {
  TempDir dir;
  DataPlane plane(dir.path());
  PartitionOptions options;
  options.durability = Durability::kWritten;
  options.flush_ms = 24 * 3600 * 1000;
  const auto partition = plane.NewPartition("orders", options);
  for (int i = 0; i < 20; ++i) {
    REQUIRE(Append(*partition, BatchOf({"later"}), Durability::kWritten).ok());
    AppendDurably(*partition, {"now"});
  }
  REQUIRE(Append(*partition, BatchOf({"later"}), Durability::kWritten).ok());
  // Who holds it: this test, and the flusher's queue.
  CHECK(Eventually([&] { return partition.use_count() <= 3; }));
}

TEST_CASE("Flusher: descriptors that had run out passed for a failed sync", "[broker][flusher]") {
  TempDir dir;
  std::atomic<int> shortages{3};
  DataPlane::Options options;
  options.flusher.sync = [&](const storage::SyncPlan& plan) -> absl::Status {
    if (shortages.fetch_sub(1) > 0) return absl::UnavailableError("too many open files");
    return plan.Sync();
  };
  DataPlane plane(dir.path(), std::move(options));
  const auto partition = plane.NewPartition("orders");
  CHECK(AppendDurably(*partition, {"a"}) == Offset(0));
  CHECK(shortages < 0);
  CHECK(partition->write_state().ok());
  CHECK(plane.metrics().failed_syncs == 0);
  CHECK(AppendDurably(*partition, {"b"}) == Offset(1));
}

}  // namespace
}  // namespace cairn::broker
