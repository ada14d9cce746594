#include "broker/partitions/partition.h"

#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

// A data plane whose disk waits when the valve is closed.
struct Held {
  Held() {
    DataPlane::Options options;
    options.flusher.sync = [this](const storage::SyncPlan& plan) {
      valve.Pass();
      return plan.Sync();
    };
    plane = std::make_unique<DataPlane>(dir.path(), std::move(options));
  }
  ~Held() { valve.Open(); }

  TempDir dir;
  SyncValve valve;
  std::unique_ptr<DataPlane> plane;
};

PartitionOptions WrittenTopic(std::int64_t flush_ms) {
  PartitionOptions options;
  options.durability = Durability::kWritten;
  options.flush_ms = flush_ms;
  return options;
}

TEST_CASE("Partition: on a durable topic nobody is told, and nothing shown, before the sync",
          "[broker][partition]") {
  Held held;
  const auto partition = held.plane->NewPartition("orders");
  held.valve.Close();
  const auto sink = std::make_shared<TestSink>();
  const auto watcher = std::make_shared<TestWatcher>();
  REQUIRE(partition->WatchEnd(Offset(0), watcher));
  const auto appended =
      Append(*partition, BatchOf({"a", "b"}), Durability::kDurable, sink, /*correlation=*/17);
  REQUIRE(appended.ok());
  CHECK(appended->pending);
  CHECK(appended->durability == Durability::kWritten);
  held.valve.WaitForFlusher();
  CHECK(sink->calls() == 0);
  CHECK(watcher->calls() == 0);
  CHECK(partition->ends().log_end == Offset(2));
  CHECK(partition->ends().durable_end == Offset(0));
  CHECK(partition->ends().committed_end == Offset(0));
  CHECK(ReadValues(*partition, Offset(0)).empty());

  held.valve.Open();
  const std::vector<Ack> acks = sink->Wait(1);
  CHECK(acks[0].correlation == 17);
  CHECK(acks[0].base_offset == Offset(0));
  CHECK_FALSE(acks[0].duplicate);
  CHECK(acks[0].status.ok());
  watcher->Wait();
  CHECK(partition->ends().committed_end == Offset(2));
  CHECK(ReadValues(*partition, Offset(0)) == std::vector<std::string>{"a", "b"});
  CHECK(ReadValues(*partition, Offset(1)) == std::vector<std::string>{"b"});
}

TEST_CASE("Partition: acks=written on a durable topic is answered at once and shown after the sync",
          "[broker][partition]") {
  Held held;
  const auto partition = held.plane->NewPartition("orders");
  held.valve.Close();
  const auto appended = Append(*partition, BatchOf({"a"}), Durability::kWritten);
  REQUIRE(appended.ok());
  CHECK_FALSE(appended->pending);
  held.valve.WaitForFlusher();
  CHECK(partition->ends().committed_end == Offset(0));
  const auto watcher = std::make_shared<TestWatcher>();
  REQUIRE(partition->WatchEnd(Offset(0), watcher));
  held.valve.Open();
  watcher->Wait();
  CHECK(partition->ends().committed_end == Offset(1));
}

TEST_CASE("Partition: a written topic shows records at once and syncs them within flush.ms",
          "[broker][partition]") {
  Held held;
  const auto partition = held.plane->NewPartition("events", WrittenTopic(20));
  held.valve.Close();
  const auto watcher = std::make_shared<TestWatcher>();
  REQUIRE(partition->WatchEnd(Offset(0), watcher));
  REQUIRE(Append(*partition, BatchOf({"a"})).ok());
  CHECK(watcher->calls() == 1);
  CHECK(ReadValues(*partition, Offset(0)) == std::vector<std::string>{"a"});
  CHECK(partition->ends().durable_end == Offset(0));
  held.valve.WaitForFlusher();
  held.valve.Open();
  CHECK(Eventually([&] { return partition->ends().durable_end == Offset(1); }));
}

TEST_CASE("Partition: acks=durable on a written topic does not wait for flush.ms",
          "[broker][partition]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = plane.NewPartition("events", WrittenTopic(3'600'000));
  REQUIRE(Append(*partition, BatchOf({"a"})).ok());
  CHECK(AppendDurably(*partition, {"b"}) == Offset(1));
  CHECK(partition->ends().durable_end == Offset(2));
}

TEST_CASE("Partition: one group commit tells a sink once, of everything that became due",
          "[broker][partition]") {
  Held held;
  const auto one = held.plane->NewPartition("one");
  const auto two = held.plane->NewPartition("two");
  held.valve.Close();
  const auto sink = std::make_shared<TestSink>();
  REQUIRE(Append(*one, BatchOf({"first"}), Durability::kDurable, sink, 0).ok());
  held.valve.WaitForFlusher();
  for (std::uint64_t i = 1; i <= 50; ++i) {
    REQUIRE(Append(i % 2 == 0 ? *two : *one, BatchOf({"x"}), Durability::kDurable, sink, i).ok());
  }
  held.valve.Open();
  const std::vector<Ack> acks = sink->Wait(51);
  CHECK(sink->calls() == 2);
  // In the order of each partition.
  std::uint64_t last_odd = 0, last_even = 0;
  for (const Ack& ack : acks) {
    CHECK(ack.status.ok());
    std::uint64_t& last = ack.correlation % 2 == 0 ? last_even : last_odd;
    CHECK((ack.correlation > last || ack.correlation == 0));
    last = ack.correlation;
  }
}

TEST_CASE("Partition: a batch sent again is answered with its first offset",
          "[broker][partition]") {
  Held held;
  const auto partition = held.plane->NewPartition("orders");
  const Bytes batch = BatchOf({"a", "b"}, {ProducerId(7), 0});
  held.valve.Close();
  const auto sink = std::make_shared<TestSink>();
  REQUIRE(Append(*partition, batch, Durability::kDurable, sink, 1).ok());
  held.valve.WaitForFlusher();
  // While the first is on its way the repeat waits for the same sync.
  const auto waiting = Append(*partition, batch, Durability::kDurable, sink, 2);
  REQUIRE(waiting.ok());
  CHECK(waiting->pending);
  CHECK(waiting->duplicate);
  held.valve.Open();
  const std::vector<Ack> acks = sink->Wait(2);
  CHECK(acks[1].correlation == 2);
  CHECK(acks[1].duplicate);
  CHECK(acks[1].base_offset == Offset(0));

  const auto later = Append(*partition, batch, Durability::kDurable, sink, 3);
  REQUIRE(later.ok());
  CHECK_FALSE(later->pending);
  CHECK(later->duplicate);
  CHECK(later->durability == Durability::kDurable);
  CHECK(later->base_offset == Offset(0));
  CHECK(partition->ends().log_end == Offset(2));

  const auto gap = Append(*partition, BatchOf({"z"}, {ProducerId(7), 9}));
  CHECK(CodeOf(gap.status()) == ErrorCode::kOutOfOrderSequence);
}

TEST_CASE("Partition: reading out of range names the range", "[broker][partition]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = plane.NewPartition("orders");
  AppendDurably(*partition, {"a", "b", "c"});
  storage::ReadCursor cursor;
  const auto beyond = partition->Read(Offset(4), 1000, cursor);
  CHECK(CodeOf(beyond.status()) == ErrorCode::kOffsetOutOfRange);
  CHECK_THAT(std::string(beyond.status().message()), Catch::Matchers::Contains("3"));
  const auto end = partition->Read(Offset(3), 1000, cursor);
  REQUIRE(end.ok());
  CHECK(end->view.bytes.empty());
  CHECK(end->cold == nullptr);
}

TEST_CASE("Partition: a watcher that has fallen behind is not kept but told so",
          "[broker][partition]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = plane.NewPartition("orders");
  AppendDurably(*partition, {"a"});
  const auto watcher = std::make_shared<TestWatcher>();
  CHECK_FALSE(partition->WatchEnd(Offset(0), watcher));
  CHECK(partition->WatchEnd(Offset(1), watcher));
  partition->Unwatch(watcher.get());
  AppendDurably(*partition, {"b"});
  CHECK(watcher->calls() == 0);
}

TEST_CASE("Partition: deleting it tells those who wait, and everyone who comes later",
          "[broker][partition]") {
  Held held;
  const auto partition = held.plane->NewPartition("orders");
  held.valve.Close();
  const auto sink = std::make_shared<TestSink>();
  const auto watcher = std::make_shared<TestWatcher>();
  REQUIRE(partition->WatchEnd(Offset(0), watcher));
  REQUIRE(Append(*partition, BatchOf({"a"}), Durability::kDurable, sink, 5).ok());
  held.valve.WaitForFlusher();
  partition->MarkDeleted();
  CHECK(CodeOf(sink->Wait(1)[0].status) == ErrorCode::kUnknownTopic);
  CHECK(watcher->calls() == 1);
  held.valve.Open();

  storage::ReadCursor cursor;
  CHECK(CodeOf(Append(*partition, BatchOf({"b"})).status()) == ErrorCode::kUnknownTopic);
  CHECK(CodeOf(partition->Read(Offset(0), 1000, cursor).status()) == ErrorCode::kUnknownTopic);
  CHECK(CodeOf(partition->write_state()) == ErrorCode::kUnknownTopic);
  CHECK_FALSE(partition->WatchEnd(Offset(0), watcher));
}

TEST_CASE("Partition: trimming moves the start, wakes readers, and keeps within what is shown",
          "[broker][partition]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = plane.NewPartition("orders");
  AppendDurably(*partition, {"a", "b"});
  AppendDurably(*partition, {"c"});
  Answer<absl::StatusOr<Offset>> trimmed, beyond;
  partition->TrimTo(Offset(2), kNow, trimmed.Taker());
  const auto start = trimmed.Wait();
  INFO(start.status());
  REQUIRE(start.ok());
  CHECK(*start == Offset(2));
  CHECK(ReadValues(*partition, Offset(2)) == std::vector<std::string>{"c"});
  storage::ReadCursor cursor;
  CHECK(CodeOf(partition->Read(Offset(1), 1000, cursor).status()) == ErrorCode::kOffsetOutOfRange);
  // A reader at 1 is told rather than left waiting.
  CHECK_FALSE(partition->WatchEnd(Offset(1), std::make_shared<TestWatcher>()));
  partition->TrimTo(Offset(4), kNow, beyond.Taker());
  CHECK(CodeOf(beyond.Wait().status()) == ErrorCode::kOffsetOutOfRange);
}

TEST_CASE("Partition: a trim on a written topic waits until what it drops is durable",
          "[broker][partition]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = plane.NewPartition("events", WrittenTopic(3'600'000));
  REQUIRE(Append(*partition, BatchOf({"a", "b"})).ok());
  REQUIRE(Append(*partition, BatchOf({"c"})).ok());
  Answer<absl::StatusOr<Offset>> trimmed;
  partition->TrimTo(Offset(3), kNow, trimmed.Taker());
  const auto start = trimmed.Wait();
  INFO(start.status());
  REQUIRE(start.ok());
  CHECK(*start == Offset(3));
  CHECK(partition->ends().durable_end == Offset(3));
  CHECK(AppendDurably(*partition, {"d"}) == Offset(3));
  CHECK(ReadValues(*partition, Offset(3)) == std::vector<std::string>{"d"});
}

TEST_CASE("Partition: a trim that a deletion overtakes leaves the next topic's files alone",
          "[broker][partition]") {
  PartitionOptions options;
  options.log.segment_bytes = 100;
  TempDir dir;
  DataPlane plane(dir.path());
  for (int round = 0; round < 20; ++round) {
    const auto partition = plane.NewPartition("orders", options);
    for (int i = 0; i < 60; ++i) REQUIRE(Append(*partition, BatchOf({"a"})).ok());
    const Offset end = AppendDurably(*partition, {"b"}) + 1;
    Answer<absl::StatusOr<Offset>> trimmed;
    partition->TrimTo(end, kNow, trimmed.Taker());
    // It is at its files, or about to be.
    REQUIRE(Eventually([&] { return partition->ends().log_start == end; }));
    partition->MarkDeleted();
    const storage::LogIdentity identity{partition->id().topic, "orders", PartitionIndex(0)};
    REQUIRE(plane.data_dir().MarkDeleted(identity).ok());
    const auto next = plane.NewPartition("orders", options);
    for (int i = 0; i < 61; ++i) REQUIRE(Append(*next, BatchOf({"c"})).ok());
    (void)trimmed.Wait();
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir / "orders-0")) {
      files += entry.path().extension() == ".log" ? 1 : 0;
    }
    CHECK(files == next->state().segments);
    next->MarkDeleted();
    REQUIRE(plane.data_dir().MarkDeleted({next->id().topic, "orders", PartitionIndex(0)}).ok());
  }
}

TEST_CASE("Partition: the first record at or after a time is found below the committed end",
          "[broker][partition]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = plane.NewPartition("orders");
  for (const std::int64_t at : {100, 200, 300}) {
    REQUIRE(Append(*partition, BatchOf({"x"}, {.timestamp = Timestamp(at)})).ok());
  }
  REQUIRE(Eventually([&] { return partition->ends().committed_end == Offset(3); }));
  const auto find = [&](std::int64_t time) {
    Answer<absl::StatusOr<std::optional<storage::Log::TimeMatch>>> found;
    partition->FindTime(Timestamp(time), found.Taker());
    return DataPlane::Value(found.Wait());
  };
  CHECK(find(0)->offset == Offset(0));
  CHECK(find(150)->offset == Offset(1));
  CHECK(find(300)->offset == Offset(2));
  CHECK_FALSE(find(301).has_value());
}

TEST_CASE("Partition: making a written topic durable does not take back what was shown",
          "[broker][partition]") {
  Held held;
  const auto partition = held.plane->NewPartition("events", WrittenTopic(3'600'000));
  held.valve.Close();
  REQUIRE(Append(*partition, BatchOf({"a"})).ok());
  partition->SetOptions(PartitionOptions());
  CHECK(partition->ends().committed_end == Offset(1));
  REQUIRE(Append(*partition, BatchOf({"b"})).ok());
  CHECK(partition->ends().committed_end == Offset(1));
  held.valve.Open();
  CHECK(Eventually([&] { return partition->ends().committed_end == Offset(2); }));
}

TEST_CASE("Partition: one that cannot be opened answers every request with its problem",
          "[broker][partition]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto partition = std::make_shared<Partition>(
      MakeError(ErrorCode::kPartitionOffline, "its directory is missing"),
      TopicPartition{NewTopicId(), PartitionIndex(0)}, "orders", PartitionOptions(),
      plane.services());
  storage::ReadCursor cursor;
  CHECK(CodeOf(Append(*partition, BatchOf({"a"})).status()) == ErrorCode::kPartitionOffline);
  CHECK(CodeOf(partition->Read(Offset(0), 1, cursor).status()) == ErrorCode::kPartitionOffline);
  CHECK(CodeOf(partition->write_state()) == ErrorCode::kPartitionOffline);
  CHECK_FALSE(partition->WatchEnd(Offset(0), std::make_shared<TestWatcher>()));
  CHECK(partition->ends().log_end == Offset(0));
  partition->SetOptions(PartitionOptions());
  partition->MarkDeleted();
  CHECK(CodeOf(partition->write_state()) == ErrorCode::kUnknownTopic);
}

TEST_CASE("Partition: many threads append and read; offsets stay dense", "[broker][partition]") {
  TempDir dir;
  DataPlane plane(dir.path());
  PartitionOptions options;
  options.log.segment_bytes = 16 << 10;
  const auto partition = plane.NewPartition("orders", options);
  constexpr int kThreads = 4, kBatches = 200;
  std::vector<std::thread> threads;
  std::vector<std::shared_ptr<TestSink>> sinks;
  for (int t = 0; t < kThreads; ++t) sinks.push_back(std::make_shared<TestSink>());
  std::atomic<int> failures{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kBatches; ++i) {
        RecordBatchBuilder builder;
        const std::string value = std::to_string(t) + ":" + std::to_string(i);
        RecordBatchBuilder::Record record;
        record.timestamp = kNow;
        record.value = AsBytes(value);
        builder.Add(record);
        auto batch = builder.Finish({});
        const auto appended =
            Append(*partition, *std::move(batch), Durability::kDurable,
                   sinks[static_cast<std::size_t>(t)], static_cast<std::uint64_t>(i));
        if (!appended.ok()) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
  for (const auto& sink : sinks) {
    for (const Ack& ack : sink->Wait(kBatches)) CHECK(ack.status.ok());
  }
  const std::vector<std::string> values = ReadValues(*partition, Offset(0));
  CHECK(values.size() == kThreads * kBatches);
  std::map<std::string, int> next;
  for (const std::string& value : values) {
    const auto colon = value.find(':');
    CHECK(std::stoi(value.substr(colon + 1)) == next[value.substr(0, colon)]++);
  }
}

}  // namespace
}  // namespace cairn::broker
