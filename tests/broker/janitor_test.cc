#include "broker/partitions/janitor.h"

#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

struct Tended {
  Tended() {
    DataPlane::Options options;
    options.janitor.visit_delay = std::chrono::milliseconds(0);
    options.janitor.expiry_interval = std::chrono::milliseconds(1);
    options.clocks = clocks.Sources();
    plane = std::make_unique<DataPlane>(dir.path(), std::move(options));
  }
  int CountFiles(const std::string& directory, const std::string& extension) {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir / directory)) {
      if (entry.path().extension() == extension) ++count;
    }
    return count;
  }

  TempDir dir;
  FakeClocks clocks;
  std::unique_ptr<DataPlane> plane;
};

TEST_CASE("Janitor: a segment older than segment.ms is rolled and sealed though nobody writes",
          "[broker][janitor]") {
  Tended tended;
  PartitionOptions options;
  options.log.segment_ms = 1000;
  const auto partition = tended.plane->NewPartition("orders", options);
  AppendDurably(*partition, {"a"});
  tended.clocks.Pass(std::chrono::hours(1));
  CHECK(Eventually([&] { return tended.CountFiles("orders-0", ".index") == 1; }));
  CHECK(AppendDurably(*partition, {"b"}) == Offset(1));
  CHECK(ReadValues(*partition, Offset(0)) == std::vector<std::string>{"a", "b"});
  // What the seal wrote to the manifest is synced too, so that nothing need stay open.
  CHECK(Eventually([&] { return partition->CloseIdle() == 0; }));
}

TEST_CASE("Janitor: a producer that has not written for a day is forgotten", "[broker][janitor]") {
  Tended tended;
  const TopicId id = NewTopicId();
  storage::RecoveryReport report;
  auto log = DataPlane::Value(storage::Log::Open(
      tended.plane->data_dir(), {id, "orders", PartitionIndex(0)}, {}, kNow, report));
  auto topic = std::make_shared<ServedTopic>();
  topic->name = "orders";
  topic->id = id;
  const auto partition =
      std::make_shared<Partition>(std::move(log), TopicPartition{id, PartitionIndex(0)}, "orders",
                                  PartitionOptions(), tended.plane->services());
  topic->partitions.push_back(partition);
  tended.plane->map().Put(topic);
  REQUIRE(Append(*partition, BatchOf({"a"}, {ProducerId(1), 0})).ok());
  tended.clocks.Pass(std::chrono::hours(23));
  REQUIRE(Append(*partition, BatchOf({"b"}, {ProducerId(1), 1})).ok());
  tended.clocks.Pass(std::chrono::hours(2));
  CHECK(Eventually([&] {
    const auto next = Append(*partition, BatchOf({"c"}, {ProducerId(1), 7}));
    return CodeOf(next.status()) == ErrorCode::kUnknownProducer;
  }));
}

TEST_CASE("Janitor: jobs run in order, and not after Stop", "[broker][janitor]") {
  PartitionMap map;
  FakeClocks clocks;
  AppendClock clock(clocks.Sources());
  Metrics metrics;
  HelperPool helpers;
  OpenFiles open_files(100, helpers);
  Janitor janitor(map, {.clock = &clock, .open_files = &open_files});
  std::vector<int> order;
  Answer<bool> last;
  janitor.Start();
  for (int i = 0; i < 20; ++i) janitor.Run([&order, i] { order.push_back(i); });
  janitor.Run([taker = last.Taker()]() mutable { taker(true); });
  CHECK(last.Wait());
  CHECK(order.size() == 20);
  CHECK(std::is_sorted(order.begin(), order.end()));
  janitor.Stop();
  CHECK(janitor.stopping());
  bool ran = false;
  janitor.Run([&ran] { ran = true; });
  CHECK_FALSE(ran);
}

}  // namespace
}  // namespace cairn::broker
