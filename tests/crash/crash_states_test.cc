#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <random>
#include <string>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/crash/log_life.h"
#include "tests/storage/temp_dir.h"
#include "tests/support/fault_disk.h"
#include "tests/support/loop_mount.h"
#include "tests/support/skip.h"

namespace cairn::storage {
namespace {

using test::FaultDisk;
using test::LoopMount;
using Events = std::vector<FaultDisk::Event>;

constexpr std::int64_t kDiskBytes = 32 << 20;
constexpr std::size_t kSector = 512;
constexpr std::int64_t kSuperblockEnd = 2048;

std::uint64_t FromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// A log's lives on a recorded disk.
struct Recorded {
  Events events;
  std::uint64_t begin = 0;  // of what the log did
  LogHistory history;
  int swaps = 0;
};

using Script = std::function<void(LogLife&, Recorded&, const FaultDisk&)>;

Recorded Record(Keeps keeps, const Script& script) {
  Recorded recorded;
  recorded.history = LogHistory(keeps);
  const auto disk = FaultDisk::Make(kDiskBytes);
  INFO(disk.status());
  REQUIRE(disk.ok());
  {
    const auto mount =
        LoopMount::On(LoopMount::Kind::kExt4, (*disk)->image(), LoopMount::Contents::kFormat);
    INFO(mount.status());
    REQUIRE(mount.ok());
    ::sync();
    recorded.begin = (*disk)->events();
    recorded.history.NotePromisesBy([&] { return (*disk)->events(); });
    LogLife life((*mount)->path() / "data", recorded.history);
    script(life, recorded, **disk);
    REQUIRE(life.complaint() == "");
    recorded.swaps = life.swaps();
    recorded.history.NotePromisesBy(nullptr);
  }
  recorded.events = (*disk)->Recording();
  return recorded;
}

Recorded Record(Keeps keeps) {
  return Record(keeps, [](LogLife& life, Recorded&, const FaultDisk&) { life.Run(); });
}

// What a power cut after so many events may leave: all that was flushed, and of the rest each write
// or not; the last of them perhaps only its first sectors, or only its last.
class CrashState {
 public:
  CrashState(const Events& events, std::uint64_t cut, std::mt19937& random) {
    std::uint64_t flushed = cut;
    while (flushed > 0 && !events[flushed - 1].is_flush) --flushed;
    const int percent = std::uniform_int_distribution<int>(0, 3)(random) * 33 + 1;
    for (std::uint64_t i = 0; i < cut; ++i) {
      if (events[i].is_flush) continue;
      const bool is_kept =
          i < flushed || std::uniform_int_distribution<int>(0, 99)(random) < percent;
      unflushed_ += i >= flushed ? 1 : 0;
      kept_ += i >= flushed && is_kept ? 1 : 0;
      if (is_kept) writes_.push_back({events[i].position, ByteView(events[i].bytes)});
    }
    if (kept_ == 0 || std::uniform_int_distribution<int>(0, 1)(random) == 0) return;
    // Half a superblock is more than ext4 itself survives; disks write it whole.
    if (writes_.back().position < kSuperblockEnd) return;
    Write& last = writes_.back();
    const std::size_t sectors = last.bytes.size() / kSector;
    torn_ = std::uniform_int_distribution<std::size_t>(0, sectors)(random);
    const std::size_t bytes = std::min(last.bytes.size(), torn_ * kSector);
    if (std::uniform_int_distribution<int>(0, 1)(random) == 0) {
      last.bytes = last.bytes.first(bytes);
    } else {
      last.bytes = last.bytes.subspan(bytes);
      last.position += static_cast<std::int64_t>(bytes);
    }
  }

  void WriteTo(const std::filesystem::path& image) const {
    const int fd = ::open(image.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(::ftruncate(fd, kDiskBytes) == 0);
    for (const Write& write : writes_) {
      REQUIRE(::pwrite(fd, write.bytes.data(), write.bytes.size(), write.position) ==
              static_cast<ssize_t>(write.bytes.size()));
    }
    ::close(fd);
  }
  std::string ToText() const {
    return std::to_string(kept_) + " of " + std::to_string(unflushed_) + " unflushed writes kept" +
           (torn_ > 0 ? ", the last torn after " + std::to_string(torn_) + " sectors" : "");
  }
  int unflushed() const { return unflushed_; }
  std::size_t torn() const { return torn_; }

 private:
  struct Write {
    std::int64_t position;
    ByteView bytes;
  };
  std::vector<Write> writes_;
  int unflushed_ = 0;
  int kept_ = 0;
  std::size_t torn_ = 0;
};

void Check(const Recorded& recorded, std::uint64_t cut, const CrashState& state) {
  const TempDir temp(MemoryRoot());
  state.WriteTo(temp / "disk");
  const auto mount =
      LoopMount::On(LoopMount::Kind::kExt4, temp / "disk", LoopMount::Contents::kKeep);
  INFO(mount.status());
  REQUIRE(mount.ok());
  LogHistory history = recorded.history.At(cut);
  LogLife life((*mount)->path() / "data", history);
  life.RunOnce(LogHistory::Lost::kUnsynced);
  REQUIRE(life.complaint() == "");
}

// Whether to go on; with CI=true it must be possible.
bool HasFaultDisk() {
  const auto why = FaultDisk::Unavailable();
  if (!why) return true;
  if (!test::MaySkip()) FAIL("with CI=true nothing is skipped: " << *why);
  WARN("skipped: " << *why);
  return false;
}

void CheckStates(const Recorded& recorded, std::uint64_t states) {
  const auto seed = FromEnvironment("CAIRN_SEED", std::random_device{}());
  std::mt19937 random(static_cast<std::mt19937::result_type>(seed));
  const auto end = static_cast<std::uint64_t>(recorded.events.size());
  const auto flushes = std::count_if(recorded.events.begin(), recorded.events.end(),
                                     [](const auto& event) { return event.is_flush; });
  REQUIRE(flushes > 20);
  std::uint64_t with_choice = 0;
  std::uint64_t torn = 0;
  for (std::uint64_t i = 0; i < states; ++i) {
    const std::uint64_t cut =
        std::uniform_int_distribution<std::uint64_t>(recorded.begin + 1, end)(random);
    const CrashState state(recorded.events, cut, random);
    INFO("seed " << seed << ", state " << i << ": after event " << cut << " of " << end << ", "
                 << state.ToText());
    Check(recorded, cut, state);
    with_choice += state.unflushed() > 0 ? 1 : 0;
    torn += state.torn() > 0 ? 1 : 0;
  }
  WARN("seed " << seed << ": " << states << " states of " << end - recorded.begin << " events ("
               << flushes << " flushes, " << recorded.swaps << " cleaned segments), " << with_choice
               << " amid unflushed writes, " << torn << " torn: nothing lost");
}

TEST_CASE("Crash states: whatever a power cut leaves of the unflushed blocks, the promises hold",
          "[crash][states]") {
  if (!HasFaultDisk()) return;
  CheckStates(Record(Keeps::kAll), FromEnvironment("CAIRN_CRASH_STATES", 25));
}

TEST_CASE("Crash states: whatever a power cut leaves, of a key's records the newest is there",
          "[crash][states][compaction]") {
  if (!HasFaultDisk()) return;
  const Recorded recorded = Record(Keeps::kNewestOfKey);
  REQUIRE(recorded.swaps >= 5);
  CheckStates(recorded, FromEnvironment("CAIRN_CRASH_STATES", 25));
}

TEST_CASE("Crash states: a trim of 300 segments, whatever a power cut leaves of it, is no damage",
          "[crash][states][trim]") {
  if (!HasFaultDisk()) return;
  // From the trim on.
  const Recorded recorded =
      Record(Keeps::kAll, [](LogLife& life, Recorded& into, const FaultDisk& disk) {
        life.RunLongTrim(300, [&] { into.begin = disk.events(); });
      });
  CheckStates(recorded, FromEnvironment("CAIRN_CRASH_STATES", 25));
}

}  // namespace
}  // namespace cairn::storage
