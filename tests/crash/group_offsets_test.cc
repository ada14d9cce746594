// The offsets of very many groups, committed again and again: how large that makes
// __consumer_offsets, and how long a broker takes to start with it. A few groups in one partition
// by default;
//
//   CAIRN_GROUPS=10000 CAIRN_ROUNDS=200 build/release/tests/crash/group_offsets_test
//
// spreads so many over all partitions, commits each so often, and prints the figures.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include <xxhash.h>

#include "absl/strings/str_format.h"
#include <catch2/catch.hpp>

#include "client/admin.h"
#include "tests/crash/daemon.h"
#include "tests/storage/temp_dir.h"
#include "tests/support/raw_client.h"

namespace cairn::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kShards = 16;
constexpr int kPartitions = 10;
constexpr std::int64_t kAllowedBytes = 8 << 20;  // of each shard, beside 3 times its live content
constexpr std::size_t kOnTheWay = 200;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kRoundsByDefault = 60;
#else
constexpr int kRoundsByDefault = 600;
#endif

int FromEnvironment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}

double MillisecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// The blocks on the disk of all that lies there.
std::int64_t DiskBytes(const std::filesystem::path& directory) {
  std::int64_t bytes = 0;
  std::error_code gone;  // what is being cleaned away
  for (const auto& entry : std::filesystem::directory_iterator(directory, gone)) {
    struct stat status {};
    if (::stat(entry.path().c_str(), &status) == 0) bytes += status.st_blocks * 512;
  }
  return bytes;
}

class Offsets {
 public:
  Offsets(int groups, int shards)
      : shards_(shards), port_(LastingPort(static_cast<std::uint64_t>(::getpid()))) {
    command_.program = CAIRND_PROGRAM;
    command_.arguments = {"--data-dir", data_dir().string(),
                          "--listen",   absl::StrFormat("127.0.0.1:%d", port_),
                          "--threads",  "2"};
    command_.log = directory_ / "cairnd.log";
    for (int i = 0; groups_.size() < static_cast<std::size_t>(groups); ++i) {
      std::string name = absl::StrFormat("group-%d", i);
      if (XXH3_64bits(name.data(), name.size()) % kShards < static_cast<unsigned>(shards)) {
        groups_.push_back(std::move(name));
      }
    }
  }

  // Gives the milliseconds until it was ready.
  double Start() {
    const auto began = Clock::now();
    daemon_ = Daemon::Start(command_).value();
    REQUIRE(daemon_->AwaitReady(120s).ok());
    return MillisecondsSince(began);
  }
  void Kill() { daemon_->Kill(); }
  void Stop() { REQUIRE(daemon_->Stop().ok()); }

  void CreateTopic() { topic_ = RawClient::Greeted(port_).CreateTopic("orders", kPartitions); }

  // Every partition of every group, once.
  void CommitAll(std::int64_t offset) {
    RawClient client = RawClient::Greeted(port_);
    std::size_t answered = 0;
    for (std::size_t sent = 0; answered < groups_.size();) {
      if (sent < groups_.size() && sent - answered < kOnTheWay) {
        Commit(client, ++sent, offset);
        continue;
      }
      const RawClient::Frame answer = client.Take();
      const auto* codes = answer.as<wire::OffsetsCommitted>().codes();
      const bool done = codes != nullptr && codes->size() == kPartitions &&
                        std::all_of(codes->begin(), codes->end(), [](auto code) { return !code; });
      if (!done) FAIL("a commit was refused");
      ++answered;
    }
  }

  std::int64_t disk_bytes() const {
    std::int64_t bytes = 0;
    for (int i = 0; i < shards_; ++i) {
      bytes += DiskBytes(data_dir() / absl::StrFormat("__consumer_offsets-%d", i));
    }
    return bytes;
  }

  // Waits for the cleaner, which has more to do than it gets done while commits come at full speed.
  std::int64_t AwaitDiskBytes(std::int64_t allowed) const {
    const auto deadline = Clock::now() + 120s;
    std::int64_t bytes = disk_bytes();
    while (bytes > allowed && Clock::now() < deadline) {
      std::this_thread::sleep_for(100ms);
      bytes = disk_bytes();
    }
    return bytes;
  }

  void CheckCommitted(std::int64_t offset) const {
    client::ClusterOptions where;
    where.broker = absl::StrFormat("127.0.0.1:%d", port_);
    client::Admin admin(client::Cluster::Open(where).value());
    const auto groups = admin.ListGroups();
    REQUIRE(groups.ok());
    CHECK(groups->size() == groups_.size());
    for (const std::string& name : {groups_.front(), groups_.back()}) {
      const auto group = admin.DescribeGroup(name);
      REQUIRE(group.ok());
      CHECK(group->partitions.size() == kPartitions);
      for (const auto& partition : group->partitions) CHECK(partition.committed == Offset(offset));
    }
  }

 private:
  std::filesystem::path data_dir() const { return directory_ / "data"; }

  void Commit(RawClient& client, std::size_t number, std::int64_t offset) {
    auto& builder = client.builder();
    std::vector<wire::OffsetCommit> rows;
    for (int p = 0; p < kPartitions; ++p) {
      rows.emplace_back(ToWire(topic_), p, -1, 0, offset, 0);
    }
    const auto name = builder.CreateString(groups_[number - 1]);
    const auto row_vector = builder.CreateVectorOfStructs(rows);
    client.Send(number, wire::CreateCommitOffsets(builder, name, nullptr, row_vector));
  }

  const storage::TempDir directory_;
  const int shards_;
  const std::uint16_t port_;
  Daemon::Command command_;
  std::unique_ptr<Daemon> daemon_;
  TopicId topic_;
  std::vector<std::string> groups_;
};

}  // namespace

TEST_CASE("Groups: what is committed again and again does not make the offsets' topic grow",
          "[crash][group]") {
  const int groups = FromEnvironment("CAIRN_GROUPS", 100);
  const int rounds = FromEnvironment("CAIRN_ROUNDS", kRoundsByDefault);
  const int shards = groups > 1000 ? kShards : 1;
  Offsets offsets(groups, shards);
  offsets.Start();
  offsets.CreateTopic();
  const std::int64_t empty = offsets.disk_bytes();
  auto began = Clock::now();
  offsets.CommitAll(1);
  const double first_ms = MillisecondsSince(began);
  offsets.Kill();
  const double first_start_ms = offsets.Start();
  // Every key once; what is reserved ahead was cut when it started again.
  const std::int64_t live = std::max<std::int64_t>(0, offsets.disk_bytes() - empty);
  const std::int64_t allowed = 3 * live + shards * kAllowedBytes;

  began = Clock::now();
  std::int64_t most = 0;
  for (int round = 2; round <= rounds; ++round) {
    offsets.CommitAll(round);
    most = std::max(most, offsets.disk_bytes());
  }
  const double rest_s = MillisecondsSince(began) / 1000;
  const std::int64_t rests = offsets.AwaitDiskBytes(allowed);
  offsets.Kill();
  const double killed_ms = offsets.Start();
  offsets.CheckCommitted(rounds);
  offsets.Stop();
  const double stopped_ms = offsets.Start();
  offsets.CheckCommitted(rounds);
  offsets.Stop();

  const double commits = 1.0 * groups * kPartitions * (rounds - 1);
  std::printf(
      "%d groups x %d partitions: the first commits took %.0f ms, %.0f more %.1f s (%.0f/s)\n"
      "live content %.1f MiB; on disk %.1f MiB at the most, %.1f MiB in the end; %.1f allowed\n"
      "start to ready: %.0f ms after the first commits and kill -9, %.0f ms after all and kill -9, "
      "%.0f ms after a clean stop\n",
      groups, kPartitions, first_ms, commits, rest_s, commits / rest_s,
      static_cast<double>(live) / (1 << 20), static_cast<double>(most) / (1 << 20),
      static_cast<double>(rests) / (1 << 20), static_cast<double>(allowed) / (1 << 20),
      first_start_ms, killed_ms, stopped_ms);
  CHECK(rests <= allowed);
}

}  // namespace cairn::test
