#include <algorithm>
#include <array>
#include <fcntl.h>
#include <fstream>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
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

// The part of the disk that holds a file from `position` on, as far as it lies in one piece, so
// that no other file is hit.
FaultDisk::Faults PlaceOf(const std::filesystem::path& file, std::uint64_t position = 0) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  alignas(fiemap) std::array<std::byte, sizeof(fiemap) + sizeof(fiemap_extent)> room{};
  auto* const map = reinterpret_cast<fiemap*>(room.data());
  map->fm_start = position;
  map->fm_length = FIEMAP_MAX_OFFSET - position;
  map->fm_flags = FIEMAP_FLAG_SYNC;
  map->fm_extent_count = 1;
  REQUIRE(::ioctl(fd, FS_IOC_FIEMAP, map) == 0);
  ::close(fd);
  REQUIRE(map->fm_mapped_extents == 1);
  const fiemap_extent& extent = map->fm_extents[0];
  REQUIRE(extent.fe_logical <= position);
  FaultDisk::Faults place;
  place.from = static_cast<std::int64_t>(extent.fe_physical + position - extent.fe_logical);
  place.to = static_cast<std::int64_t>(extent.fe_physical + extent.fe_length);
  return place;
}

void DropCachedPages(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  CHECK(::fdatasync(fd) == 0);
  CHECK(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
  ::close(fd);
}

// Has this process forget the pages that it has mapped of a file, so that they can be dropped.
void ForgetMappings(const std::filesystem::path& file) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(file.filename().string()) == std::string::npos ||
        line.find(file.parent_path().filename().string()) == std::string::npos) {
      continue;
    }
    std::size_t used = 0;
    const std::uintptr_t from = std::stoull(line, &used, 16);
    const std::uintptr_t to = std::stoull(line.substr(used + 1), nullptr, 16);
    CHECK(::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED) == 0);
  }
}

std::size_t CachedPages(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  const std::size_t size = std::filesystem::file_size(file);
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  REQUIRE(mapped != MAP_FAILED);
  std::vector<unsigned char> pages((size + 4095) / 4096);
  CHECK(::mincore(mapped, size, pages.data()) == 0);
  ::munmap(mapped, size);
  ::close(fd);
  return static_cast<std::size_t>(std::count_if(
      pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; }));
}

struct ReadUntilError {
  std::vector<std::string> values;
  absl::Status told;
};

// From the beginning of partition 0 until something other than a record comes.
ReadUntilError ReadToError(std::uint16_t port, const std::string& topic) {
  auto consumer = client::Consumer::Open(ClusterAt(port), {});
  REQUIRE(consumer.ok());
  client::Assignment assignment;
  assignment.topic = topic;
  assignment.partition = PartitionIndex(0);
  ReadUntilError read;
  read.told = (*consumer)->Assign({assignment}, client::Duration(30'000));
  while (read.told.ok()) {
    const auto polled = (*consumer)->Poll(client::Duration(60'000));
    if (!polled.ok()) {
      read.told = polled.status();
      break;
    }
    REQUIRE_FALSE(polled->empty());
    for (const client::ConsumedRecord& record : polled->records()) {
      read.values.emplace_back(*record.value);
    }
    for (const client::ConsumerEvent& event : polled->events()) read.told = event.status;
  }
  return read;
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

TEST_CASE("Failing disk: a page that cannot be read ends its reader there, and nobody else",
          "[end_to_end][crash]") {
  const auto disk = NewDisk();
  if (disk == nullptr) return;
  const auto mount = Mounted(*disk);
  LiveBroker broker(mount->path());
  constexpr std::size_t kValueBytes = 200'000;
  constexpr std::size_t kFailingValue = 15;
  std::vector<std::string> values;
  for (const char* topic : {"bad", "good"}) CreateTopic(broker.port(), topic, 1);
  for (int i = 0; i < 20; ++i) {
    values.push_back(std::string(kValueBytes, static_cast<char>('a' + i)));
    for (const char* topic : {"bad", "good"}) {
      REQUIRE(SendOne(broker.port(), topic, values.back()).outcome == Outcome::kAppended);
    }
  }
  broker.Stop();
  const std::filesystem::path file = LogFile(broker, "bad-0");
  FaultDisk::Faults faults = PlaceOf(file, kFailingValue * kValueBytes + kValueBytes / 2);
  faults.reads = true;
  broker.Start();
  // Never read, or read and checked before and fallen out of the cache.
  const bool was_read = GENERATE(false, true);
  if (was_read) CHECK((ReadAll(broker.port(), "bad", 1)[0] == values));
  ForgetMappings(file);
  DropCachedPages(file);
  REQUIRE(CachedPages(file) == 0);
  disk->Fail(faults);

  const ReadUntilError read = ReadToError(broker.port(), "bad");
  INFO(read.told);
  CHECK(disk->failed() > 0);
  // The kernel reads in large pieces: of the one that fails nothing is seen.
  INFO(read.values.size() << " of " << values.size() << " values");
  CHECK(read.values.size() < kFailingValue + 1);
  CHECK(std::equal(read.values.begin(), read.values.end(), values.begin()));
  CHECK(CodeOf(read.told) == ErrorCode::kStorageFailed);
  CHECK_THAT(std::string(read.told.message()),
             Catch::Matchers::Contains("bad-0/00000000000000000000.log") &&
                 Catch::Matchers::Contains("position"));
  CHECK(SendOne(broker.port(), "bad", "more").outcome != Outcome::kAppended);
  CHECK(Describe(broker.port(), "bad", 0).problem != "");
  CHECK((ReadAll(broker.port(), "good", 1)[0] == values));
  CHECK(SendOne(broker.port(), "good", "more").outcome == Outcome::kAppended);

  disk->Heal();
  broker.Abandon();
  broker.Start();
  CHECK((ReadAll(broker.port(), "bad", 1)[0] == values));
  broker.Stop();
}

}  // namespace cairn::test
