// Retention as the janitor applies it to partitions.

#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr std::int64_t kHour = 3600 * 1000;
constexpr std::int64_t kYear = 365 * 24 * kHour;

struct Kept {
  Kept() {
    DataPlane::Options options;
    options.janitor.retention_interval = std::chrono::milliseconds(1);
    options.clocks = clocks.Sources();
    plane = std::make_unique<DataPlane>(dir.path(), std::move(options));
  }

  // A partition that the janitor knows, with segments of one batch each.
  std::shared_ptr<Partition> Serve(PartitionOptions options) {
    options.log.segment_bytes = 1;
    auto partition = plane->NewPartition("orders", options);
    auto topic = std::make_shared<ServedTopic>();
    topic->name = "orders";
    topic->id = partition->id().topic;
    topic->partitions.push_back(partition);
    plane->map().Put(std::move(topic));
    return partition;
  }
  Offset AppendNow(Partition& partition, const std::string& value) {
    Bytes batch = BatchOf({value});
    const auto sink = std::make_shared<TestSink>();
    Partition::AppendRequest request;
    request.batch = MutableBytes(batch);
    request.wait_for = Durability::kDurable;
    request.sink = sink;
    request.now = plane->clock().Now();
    REQUIRE(partition.Append(std::move(request)).ok());
    return sink->Wait(1).front().base_offset;
  }
  // Everything that retention does by now is done.
  void LetRetentionRun() {
    for (int i = 0; i < 2; ++i) {
      Answer<bool> done;
      plane->janitor().RetainSoon();
      plane->janitor().Run([taker = done.Taker()]() mutable { taker(true); });
      done.Wait();
    }
  }
  Offset StartOf(Partition& partition) {
    LetRetentionRun();
    return partition.ends().log_start;
  }
  int CountLogFiles() {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir / "orders-0")) {
      if (entry.path().extension() == ".log") ++count;
    }
    return count;
  }

  TempDir dir;
  FakeClocks clocks;
  std::unique_ptr<DataPlane> plane;
};

PartitionOptions KeptFor(std::int64_t ms, std::int64_t bytes = -1) {
  PartitionOptions options;
  options.retention = {.ms = ms, .bytes = bytes};
  return options;
}

TEST_CASE("Retention: segments go when they are old, the last one too, though nobody writes",
          "[broker][retention]") {
  Kept kept;
  const auto partition = kept.Serve(KeptFor(2 * kHour));
  kept.AppendNow(*partition, "a");
  kept.clocks.Pass(hours(1));
  kept.AppendNow(*partition, "b");
  CHECK(kept.StartOf(*partition) == Offset(0));
  kept.clocks.Pass(minutes(61));
  CHECK(kept.StartOf(*partition) == Offset(1));
  CHECK(ReadValues(*partition, Offset(1)) == std::vector<std::string>{"b"});
  kept.clocks.Pass(hours(1));
  CHECK(kept.StartOf(*partition) == Offset(2));
  CHECK(Eventually([&] { return kept.CountLogFiles() == 0; }));
  CHECK(partition->state().bytes == 0);
  CHECK(kept.AppendNow(*partition, "c") == Offset(2));
  CHECK(ReadValues(*partition, Offset(2)) == std::vector<std::string>{"c"});
}

TEST_CASE("Retention: a partition of too many bytes shrinks, on written topics too",
          "[broker][retention]") {
  Kept kept;
  PartitionOptions options = KeptFor(-1, 200);
  options.durability = GENERATE(Durability::kDurable, Durability::kWritten);
  const auto partition = kept.Serve(options);
  for (int i = 0; i < 20; ++i) kept.AppendNow(*partition, "value");
  kept.LetRetentionRun();
  const Partition::State state = partition->state();
  CHECK(state.ends.log_start > Offset(0));
  CHECK(state.ends.log_end == Offset(20));
  CHECK(state.bytes >= 200);
  CHECK(state.bytes < 300);
  CHECK(Eventually([&] { return kept.CountLogFiles() == state.segments; }));
}

TEST_CASE("Retention: who reads a dropped segment keeps its bytes", "[broker][retention]") {
  Kept kept;
  const auto partition = kept.Serve(KeptFor(kHour));
  kept.AppendNow(*partition, "a");
  storage::ReadCursor cursor;
  const auto read = DataPlane::Value(partition->Read(Offset(0), 1000, cursor));
  REQUIRE_FALSE(read.view.bytes.empty());
  const Bytes before(read.view.bytes.begin(), read.view.bytes.end());
  kept.clocks.Pass(hours(2));
  CHECK(kept.StartOf(*partition) == Offset(1));
  CHECK(std::equal(before.begin(), before.end(), read.view.bytes.begin()));
  CHECK(CodeOf(partition->Read(Offset(0), 1000, cursor).status()) == ErrorCode::kOffsetOutOfRange);
}

TEST_CASE("Retention: where records are only compacted nothing goes by age or size",
          "[broker][retention]") {
  Kept kept;
  PartitionOptions options = KeptFor(0, 0);
  options.cleanup = CleanupPolicy::kCompact;
  const auto partition = kept.Serve(options);
  kept.AppendNow(*partition, "a");
  kept.clocks.Pass(hours(1));
  CHECK(kept.StartOf(*partition) == Offset(0));
  options.cleanup = CleanupPolicy::kCompactAndDelete;
  partition->SetOptions(options);
  CHECK(kept.StartOf(*partition) == Offset(1));
}

TEST_CASE("Retention: no jump of the wall clock hastens or stops it", "[broker][retention]") {
  Kept kept;
  const auto partition = kept.Serve(KeptFor(30 * 60'000));
  kept.AppendNow(*partition, "a");
  SECTION("an hour ahead") {
    kept.clocks.SetAhead(hours(1));
    kept.clocks.Pass(minutes(29));
  }
  SECTION("ten years ahead") {
    kept.clocks.SetAhead(std::chrono::milliseconds(10 * kYear));
    kept.clocks.Pass(minutes(29));
  }
  SECTION("ten years back") {
    kept.clocks.SetBack(std::chrono::milliseconds(10 * kYear));
    kept.clocks.Pass(minutes(29));
  }
  SECTION("to and fro") {
    for (int i = 0; i < 29; ++i) {
      i % 2 == 0 ? kept.clocks.SetAhead(std::chrono::milliseconds(10 * kYear))
                 : kept.clocks.SetBack(std::chrono::milliseconds(10 * kYear));
      kept.clocks.Pass(minutes(1));
      kept.LetRetentionRun();
    }
  }
  CHECK(kept.StartOf(*partition) == Offset(0));
  kept.clocks.Pass(minutes(2));
  CHECK(kept.StartOf(*partition) == Offset(1));
}

TEST_CASE("Retention: a look at 10,000 partitions costs little", "[.measure]") {
  Kept kept;
  auto topic = std::make_shared<ServedTopic>();
  topic->name = "many";
  for (int i = 0; i < 10'000; ++i) {
    const auto partition = kept.plane->NewPartition(std::to_string(i), KeptFor(kHour, 1 << 20));
    REQUIRE(Append(*partition, BatchOf({"a"})).ok());
    topic->partitions.push_back(partition);
  }
  const AppendClock::Ages ages = kept.plane->clock().ForAges();
  const auto began = std::chrono::steady_clock::now();
  bool all_ok = true;
  for (const auto& partition : topic->partitions) {
    all_ok &= partition->Retain({.now = ages.now, .run_began = ages.run_began}, true).ok();
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  CHECK(all_ok);
  WARN("10,000 partitions: " << took.count() << " ms");
}

}  // namespace
}  // namespace cairn::broker
