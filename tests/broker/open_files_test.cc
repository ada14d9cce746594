#include "broker/partitions/open_files.h"

#include <filesystem>

#include "tests/broker/data_plane.h"

namespace cairn::broker {
namespace {

std::int64_t OpenDescriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                       std::filesystem::directory_iterator());
}

// As a producer would: what passes by itself is tried again.
void AppendPatiently(Partition& partition, const std::string& value,
                     const std::shared_ptr<TestSink>& sink) {
  REQUIRE(Eventually([&] {
    const auto appended = Append(partition, BatchOf({value}), Durability::kDurable, sink, 1);
    return appended.ok() || CodeOf(appended.status()) != ErrorCode::kTooManyInFlight;
  }));
}

TEST_CASE("OpenFiles: descriptors are shared out within both limits", "[broker][open_files]") {
  const DescriptorShares usual = DescriptorShares::Of(20'000, 65'530);
  CHECK(usual.connections > 1000);
  CHECK(usual.files > 10'000);
  CHECK(usual.connections + usual.files < 20'000);
  const DescriptorShares few_maps = DescriptorShares::Of(1 << 20, 65'530);
  CHECK(few_maps.files < 65'530);
  const DescriptorShares tiny = DescriptorShares::Of(64, 65'530);
  CHECK(tiny.connections > 0);
  CHECK(tiny.files > 0);
  const auto here = DescriptorShares::Derive();
  REQUIRE(here.ok());
  CHECK(here->limit > 0);
}

TEST_CASE(
    "OpenFiles: a thousand partitions are written and read within a budget of a hundred files",
    "[broker][open_files]") {
  TempDir dir;
  DataPlane::Options options;
  options.files_max = 100;
  DataPlane plane(dir.path(), std::move(options));
  const std::int64_t before = OpenDescriptors();
  std::vector<std::shared_ptr<Partition>> partitions;
  for (int i = 0; i < 1000; ++i) {
    partitions.push_back(plane.NewPartition("topic-" + std::to_string(i)));
  }
  std::int64_t most = 0;
  for (int round = 0; round < 2; ++round) {
    auto sink = std::make_shared<TestSink>();
    for (std::size_t i = 0; i < partitions.size(); ++i) {
      AppendPatiently(*partitions[i], std::to_string(round) + "/" + std::to_string(i), sink);
      // A few at a time, so that not all wait for one sync.
      if (i % 20 != 19) continue;
      for (const Ack& ack : sink->Wait(20)) CHECK(ack.status.ok());
      sink = std::make_shared<TestSink>();
      most = std::max(most, OpenDescriptors() - before);
    }
  }
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    const std::string at = std::to_string(i);
    CHECK(ReadValues(*partitions[i], Offset(0)) == std::vector<std::string>{"0/" + at, "1/" + at});
    if (i % 10 == 0) most = std::max(most, OpenDescriptors() - before);
  }
  // The flusher, and whoever looks, have a few of their own.
  CHECK(most <= 120);
  plane.open_files().Sweep();
  CHECK(plane.open_files().files() <= 100);
}

TEST_CASE("OpenFiles: those used longest ago are closed first", "[broker][open_files]") {
  TempDir dir;
  DataPlane::Options options;
  options.files_max = 1000;
  DataPlane plane(dir.path(), std::move(options));
  std::vector<std::shared_ptr<Partition>> partitions;
  for (int i = 0; i < 10; ++i) {
    partitions.push_back(plane.NewPartition("topic-" + std::to_string(i)));
    AppendDurably(*partitions.back(), {"x"});
  }
  AppendDurably(*partitions[0], {"x"});
  REQUIRE(partitions[0]->open_files() > 0);
  CHECK(partitions[0]->last_used() > partitions[5]->last_used());
  CHECK(partitions[9]->last_used() > partitions[5]->last_used());
}

TEST_CASE("OpenFiles: what nobody used between two looks is closed, and opened again when needed",
          "[broker][open_files]") {
  TempDir dir;
  DataPlane plane(dir.path());
  const auto idle = plane.NewPartition("idle");
  const auto busy = plane.NewPartition("busy");
  AppendDurably(*idle, {"x"});
  AppendDurably(*busy, {"x"});
  plane.open_files().CloseUnused();
  CHECK(idle->open_files() > 0);  // used since the start
  AppendDurably(*busy, {"y"});
  plane.open_files().CloseUnused();
  CHECK(idle->open_files() == 0);
  CHECK(busy->open_files() > 0);
  CHECK(plane.open_files().files() == busy->open_files());
  CHECK(AppendDurably(*idle, {"z"}) == Offset(1));
  CHECK(ReadValues(*idle, Offset(0)) == std::vector<std::string>{"x", "z"});
}

TEST_CASE("Janitor: files of idle partitions are closed without being asked", "[broker][janitor]") {
  TempDir dir;
  DataPlane::Options options;
  options.janitor.unused_interval = std::chrono::milliseconds(10);
  DataPlane plane(dir.path(), std::move(options));
  const auto partition = plane.NewPartition("orders");
  AppendDurably(*partition, {"x"});
  CHECK(Eventually([&] { return partition->open_files() == 0; }));
}

TEST_CASE("OpenFiles: one with unsynced writes stays open", "[broker][open_files]") {
  TempDir dir;
  SyncValve valve;
  DataPlane::Options options;
  options.flusher.sync = [&valve](const storage::SyncPlan& plan) {
    valve.Pass();
    return plan.Sync();
  };
  DataPlane plane(dir.path(), std::move(options));
  const auto partition = plane.NewPartition("orders");
  valve.Close();
  const auto sink = std::make_shared<TestSink>();
  REQUIRE(Append(*partition, BatchOf({"a"}), Durability::kDurable, sink, 1).ok());
  valve.WaitForFlusher();
  CHECK(partition->CloseIdle() > 0);
  valve.Open();
  REQUIRE(sink->Wait(1)[0].status.ok());
  CHECK(partition->CloseIdle() == 0);
  CHECK(ReadValues(*partition, Offset(0)) == std::vector<std::string>{"a"});
  CHECK(AppendDurably(*partition, {"b"}) == Offset(1));
}

}  // namespace
}  // namespace cairn::broker
