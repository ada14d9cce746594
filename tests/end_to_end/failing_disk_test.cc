#include <array>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/end_to_end/live_broker.h"
#include "tests/support/fault_disk.h"
#include "tests/support/loop_mount.h"
#include "tests/support/skip.h"

namespace cairn::test {
namespace {

using Outcome = client::Delivery::Outcome;

// Nothing: this machine cannot have one.
std::unique_ptr<FaultDisk> NewDisk() {
  if (const auto why = FaultDisk::Unavailable()) {
    if (!MaySkip()) FAIL("with CI=true nothing is skipped: " << *why);
    WARN("skipped: " << *why);
    return nullptr;
  }
  auto disk = FaultDisk::Make(std::int64_t{256} << 20);
  INFO(disk.status());
  REQUIRE(disk.ok());
  return *std::move(disk);
}

std::unique_ptr<LoopMount> Mounted(const FaultDisk& disk) {
  auto mount = LoopMount::On(LoopMount::Kind::kExt4, disk.image(), LoopMount::Contents::kFormat);
  INFO(mount.status());
  REQUIRE(mount.ok());
  return *std::move(mount);
}

// The part of the disk that holds a file.
FaultDisk::Faults PlaceOf(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  constexpr std::size_t kExtents = 64;
  alignas(fiemap) std::array<std::byte, sizeof(fiemap) + kExtents * sizeof(fiemap_extent)> room{};
  auto* const map = reinterpret_cast<fiemap*>(room.data());
  map->fm_length = FIEMAP_MAX_OFFSET;
  map->fm_flags = FIEMAP_FLAG_SYNC;
  map->fm_extent_count = kExtents;
  REQUIRE(::ioctl(fd, FS_IOC_FIEMAP, map) == 0);
  REQUIRE(map->fm_mapped_extents > 0);
  FaultDisk::Faults place;
  place.from = static_cast<std::int64_t>(map->fm_extents[0].fe_physical);
  place.to = place.from;
  for (std::size_t i = 0; i < map->fm_mapped_extents; ++i) {
    const fiemap_extent& extent = map->fm_extents[i];
    // In one piece, so that no other file is hit.
    REQUIRE(static_cast<std::int64_t>(extent.fe_physical) == place.to);
    place.to += static_cast<std::int64_t>(extent.fe_length);
  }
  ::close(fd);
  return place;
}

void DropCachedPages(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  CHECK(::fdatasync(fd) == 0);
  CHECK(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
  ::close(fd);
}

std::filesystem::path LogFile(const LiveBroker& broker, const std::string& directory) {
  return broker.data() / directory / "00000000000000000000.log";
}

// Sends one record to each of the partitions at once and waits for what becomes of them.
std::vector<client::Delivery> SendToEach(std::uint16_t port, const std::string& topic,
                                         int partitions, const std::string& value) {
  client::ProducerOptions options;
  options.delivery_timeout = client::Duration(60'000);
  auto producer = client::Producer::Open(ClusterAt(port), options);
  REQUIRE(producer.ok());
  std::vector<client::Delivery> deliveries(static_cast<std::size_t>(partitions));
  for (int p = 0; p < partitions; ++p) {
    client::ProduceRecord record;
    record.value = value;
    record.partition = PartitionIndex(p);
    const absl::Status sent =
        (*producer)->Send(topic, record, [&deliveries, p](const client::Delivery& delivery) {
          deliveries[static_cast<std::size_t>(p)] = delivery;
        });
    INFO(sent);
    REQUIRE(sent.ok());
  }
  (void)(*producer)->Flush(client::Duration(120'000));
  producer->reset();
  return deliveries;
}

client::Delivery SendOne(std::uint16_t port, const std::string& topic, const std::string& value) {
  return SendToEach(port, topic, 1, value).front();
}

std::vector<std::string> Problems(std::uint16_t port) {
  client::Admin admin(ClusterAt(port));
  const auto status = admin.Status();
  REQUIRE(status.ok());
  return status->problems;
}

client::PartitionDescription Describe(std::uint16_t port, const std::string& topic, int partition) {
  client::Admin admin(ClusterAt(port));
  const auto description = admin.DescribeTopic(topic);
  REQUIRE(description.ok());
  return description->partitions[static_cast<std::size_t>(partition)];
}

}  // namespace

TEST_CASE("Failing disk: after a failed sync nothing is acknowledged until the restart",
          "[end_to_end][crash]") {
  const auto disk = NewDisk();
  if (disk == nullptr) return;
  const auto mount = Mounted(*disk);
  LiveBroker broker(mount->path());
  for (const char* topic : {"bad", "good"}) CreateTopic(broker.port(), topic, 1);
  for (int i = 0; i < 5; ++i) {
    REQUIRE(SendOne(broker.port(), "bad", std::to_string(i)).outcome == Outcome::kAppended);
    REQUIRE(SendOne(broker.port(), "good", std::to_string(i)).outcome == Outcome::kAppended);
  }

  FaultDisk::Faults faults = PlaceOf(LogFile(broker, "bad-0"));
  faults.writes = true;
  disk->Fail(faults);
  const client::Delivery lost = SendOne(broker.port(), "bad", "5");
  INFO(lost.status);
  CHECK(lost.outcome == Outcome::kUnknown);
  CHECK(disk->failed() > 0);
  CHECK(SendOne(broker.port(), "good", "5").outcome == Outcome::kAppended);
  // It is told where people look, and what was acknowledged is read.
  CHECK(Describe(broker.port(), "bad", 0).problem != "");
  CHECK(Describe(broker.port(), "good", 0).problem == "");
  CHECK(Problems(broker.port()).size() == 1);
  CHECK(ReadAll(broker.port(), "bad", 1)[0].size() == 5);

  // A disk that got well again changes nothing: what the kernel holds is not what was written.
  disk->Heal();
  CHECK(SendOne(broker.port(), "bad", "6").outcome != Outcome::kAppended);
  CHECK(SendOne(broker.port(), "good", "6").outcome == Outcome::kAppended);
  CHECK(ReadAll(broker.port(), "bad", 1)[0].size() == 5);

  broker.Abandon();
  broker.Start();
  CHECK(Problems(broker.port()).empty());
  const std::vector<std::string> bad = ReadAll(broker.port(), "bad", 1)[0];
  // What failed is not on the disk, whatever the page cache says.
  CHECK(bad == std::vector<std::string>{"0", "1", "2", "3", "4"});
  CHECK(ReadAll(broker.port(), "good", 1)[0].size() == 7);
  const client::Delivery next = SendOne(broker.port(), "bad", "7");
  CHECK(next.outcome == Outcome::kAppended);
  CHECK(next.offset == Offset(5));
  broker.Stop();
}

TEST_CASE("Failing disk: of many partitions synced together only those that it hits are out",
          "[end_to_end][crash]") {
  const auto disk = NewDisk();
  if (disk == nullptr) return;
  const auto mount = Mounted(*disk);
  LiveBroker broker(mount->path());
  constexpr int kPartitions = 12;
  constexpr std::size_t kBad = 3;
  CreateTopic(broker.port(), "many", kPartitions);
  for (const auto& delivery : SendToEach(broker.port(), "many", kPartitions, "first")) {
    REQUIRE(delivery.outcome == Outcome::kAppended);
  }
  FaultDisk::Faults faults = PlaceOf(LogFile(broker, "many-3"));
  faults.writes = true;
  disk->Fail(faults);
  const auto deliveries = SendToEach(broker.port(), "many", kPartitions, "second");
  for (std::size_t p = 0; p < deliveries.size(); ++p) {
    INFO("partition " << p << ": " << deliveries[p].status);
    CHECK(deliveries[p].outcome == (p == kBad ? Outcome::kUnknown : Outcome::kAppended));
  }
  disk->Heal();
  broker.Abandon();
  broker.Start();
  const auto values = ReadAll(broker.port(), "many", kPartitions);
  for (std::size_t p = 0; p < values.size(); ++p) {
    INFO("partition " << p);
    CHECK(values[p].size() == (p == kBad ? 1 : 2));
  }
  broker.Stop();
}

TEST_CASE("Failing disk: a cold read that fails is told to its reader, with the file's name",
          "[end_to_end][crash]") {
  const auto disk = NewDisk();
  if (disk == nullptr) return;
  const auto mount = Mounted(*disk);
  LiveBroker broker(mount->path());
  for (const char* topic : {"bad", "good"}) {
    CreateTopic(broker.port(), topic, 1);
    REQUIRE(SendOne(broker.port(), topic, "0").outcome == Outcome::kAppended);
  }
  broker.Stop();
  const std::filesystem::path file = LogFile(broker, "bad-0");
  FaultDisk::Faults faults = PlaceOf(file);
  broker.Start();
  DropCachedPages(file);
  faults.reads = true;
  disk->Fail(faults);

  auto consumer = client::Consumer::Open(ClusterAt(broker.port()), {});
  REQUIRE(consumer.ok());
  client::Assignment assignment;
  assignment.topic = "bad";
  assignment.partition = PartitionIndex(0);
  absl::Status told = (*consumer)->Assign({assignment}, client::Duration(30'000));
  for (int i = 0; i < 100 && told.ok(); ++i) {
    const auto polled = (*consumer)->Poll(client::Duration(30'000));
    told = polled.status();
    if (!polled.ok()) break;
    for (const client::ConsumerEvent& event : polled->events()) told = event.status;
    REQUIRE(polled->records().empty());
  }
  INFO(told);
  CHECK(disk->failed() > 0);
  CHECK(std::string(told.message()).find("bad-0/00000000000000000000.log") != std::string::npos);
  CHECK(ReadAll(broker.port(), "good", 1)[0].size() == 1);
  CHECK(SendOne(broker.port(), "good", "1").outcome == Outcome::kAppended);
  consumer->reset();

  disk->Heal();
  broker.Abandon();
  broker.Start();
  CHECK(ReadAll(broker.port(), "bad", 1)[0] == std::vector<std::string>{"0"});
  broker.Stop();
}

}  // namespace cairn::test
