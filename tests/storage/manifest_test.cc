#include "storage/manifest.h"

#include <algorithm>
#include <random>

#include <catch2/catch.hpp>

#include "protocol/checksum.h"
#include "protocol/error_code.h"
#include "storage/manifest_entry.h"
#include "tests/storage/damage.h"
#include "tests/storage/file_size_limit.h"
#include "tests/storage/temp_dir.h"

namespace cairn::storage {
namespace {

const LogIdentity kOrders{IdOf(1), "orders", PartitionIndex(3)};

SealedSegment Sealed(std::int64_t next_offset) {
  return {.next_offset = Offset(next_offset),
          .length = 1000 + next_offset,
          .first_append_time = Timestamp(100),
          .last_append_time = Timestamp(200),
          .max_timestamp = Timestamp(150),
          .fingerprint = 0x1234567890abcdef};
}

// One entry of each kind, and some.
std::vector<ManifestEntry> SomeEntries() {
  return {LeaderEpochRaised{LeaderEpoch(0), Offset(0)},
          SegmentOpened{Offset(0), Timestamp(100)},
          SegmentSealed{Offset(0), Sealed(10)},
          SegmentOpened{Offset(10), Timestamp(300)},
          SegmentSealed{Offset(10), Sealed(20)},
          LogStartMoved{Offset(10)},
          SegmentDropped{Offset(0)},
          SegmentReopened{Offset(10)},
          SegmentSealed{Offset(10), Sealed(30)},
          LeaderEpochRaised{LeaderEpoch(1), Offset(30)},
          SegmentOpened{Offset(30), Timestamp(400)}};
}

std::unique_ptr<Manifest> Create(const TempDir& dir) {
  auto manifest = Manifest::Create(dir.path(), kOrders);
  REQUIRE(manifest.ok());
  return *std::move(manifest);
}

absl::StatusOr<std::unique_ptr<Manifest>> Open(const TempDir& dir, bool was_clean) {
  return Manifest::Open(dir.path(), kOrders, was_clean);
}

// The state after each number of entries.
std::vector<ManifestState> StatesOf(const std::vector<ManifestEntry>& entries) {
  TempDir dir;
  auto manifest = Create(dir);
  std::vector<ManifestState> states = {manifest->state()};
  for (const ManifestEntry& entry : entries) {
    REQUIRE(manifest->Append(entry).ok());
    states.push_back(manifest->state());
  }
  return states;
}

Bytes FileWith(const std::vector<ManifestEntry>& entries) {
  TempDir dir;
  auto manifest = Create(dir);
  for (const ManifestEntry& entry : entries) {
    REQUIRE(manifest->Append(entry).ok());
    REQUIRE(manifest->Sync().ok());
  }
  return ReadBack(dir / "manifest");
}

bool IsPrefix(const ManifestState& state, const std::vector<ManifestState>& states) {
  return std::find(states.begin(), states.end(), state) != states.end();
}

}  // namespace

TEST_CASE("Manifest: what was appended is there when it is opened again", "[storage][manifest]") {
  TempDir dir;
  auto manifest = Create(dir);
  REQUIRE(manifest->Append(SomeEntries()).ok());
  REQUIRE(manifest->Sync().ok());

  const auto again = Open(dir, true);
  REQUIRE(again.ok());
  CHECK((*again)->state() == manifest->state());
  CHECK((*again)->state().segments ==
        std::vector<ManifestSegment>{{Offset(10), Timestamp(300), Sealed(30)},
                                     {Offset(30), Timestamp(400), std::nullopt}});
  CHECK((*again)->state().log_start == Offset(10));
  CHECK((*again)->state().epochs ==
        std::vector<EpochStart>{{LeaderEpoch(0), Offset(0)}, {LeaderEpoch(1), Offset(30)}});
}

TEST_CASE("Manifest: the descriptor is held from an append until it is synced",
          "[storage][manifest]") {
  TempDir dir;
  auto manifest = Create(dir);
  REQUIRE(manifest->Append(SegmentOpened{Offset(0), Timestamp(1)}).ok());
  const auto pending = manifest->TakeUnsynced();
  REQUIRE(pending.has_value());

  // What came after it is not covered by its sync.
  REQUIRE(manifest->Append(LogStartMoved{Offset(0)}).ok());
  REQUIRE(pending->file->Sync().ok());
  manifest->MarkSynced(*pending);
  CHECK(manifest->is_open());

  const auto rest = manifest->TakeUnsynced();
  REQUIRE(rest.has_value());
  manifest->MarkSynced(*rest);
  CHECK_FALSE(manifest->is_open());
  CHECK_FALSE(manifest->TakeUnsynced().has_value());
}

TEST_CASE("Manifest: another partition's is refused", "[storage][manifest]") {
  TempDir dir;
  Create(dir);
  const auto other = Manifest::Open(dir.path(), {IdOf(2), "orders", PartitionIndex(3)}, false);
  CHECK(absl::IsFailedPrecondition(other.status()));
  const auto third = Manifest::Open(dir.path(), {IdOf(1), "orders", PartitionIndex(4)}, false);
  CHECK(absl::IsFailedPrecondition(third.status()));
}

TEST_CASE("Manifest: one that is there is not created again", "[storage][manifest]") {
  TempDir dir;
  CHECK(absl::IsNotFound(Open(dir, false).status()));
  Create(dir);
  CHECK(absl::IsAlreadyExists(Manifest::Create(dir.path(), kOrders).status()));
  // A creation that a power cut undid is no obstacle.
  WriteFile(dir / "manifest", Bytes(4096));
  CHECK(absl::IsNotFound(Open(dir, false).status()));
  CHECK(Manifest::Create(dir.path(), kOrders).ok());
}

TEST_CASE("Manifest: cut at any byte, whole entries survive", "[storage][manifest]") {
  const auto states = StatesOf(SomeEntries());
  const Bytes whole = FileWith(SomeEntries());
  TempDir dir;
  ForEveryCut(whole, [&](const Bytes& cut, std::size_t length) {
    INFO("cut to " << length);
    WriteFile(dir / "manifest", cut);
    const auto opened = Open(dir, false);
    if (length < 40) {
      CHECK(absl::IsNotFound(opened.status()));
      return;
    }
    REQUIRE(opened.ok());
    CHECK(IsPrefix((*opened)->state(), states));
    const bool torn = !(*opened)->torn_tail().empty();
    // After a clean stop nothing may be torn.
    CHECK(Open(dir, true).ok() == !torn);

    REQUIRE((*opened)->CutTornTail().ok());
    REQUIRE((*opened)->Append(LogStartMoved{Offset(1000)}).ok());
    const auto again = Open(dir, false);
    REQUIRE(again.ok());
    CHECK((*again)->torn_tail().empty());
    CHECK((*again)->state() == (*opened)->state());
  });
}

TEST_CASE("Manifest: zeros at the end are a torn tail, and are saved before they are cut",
          "[storage][manifest]") {
  Bytes file = FileWith(SomeEntries());
  file.resize(file.size() + 100);
  TempDir dir;
  WriteFile(dir / "manifest", file);
  CHECK(absl::IsDataLoss(Open(dir, true).status()));
  const auto opened = Open(dir, false);
  REQUIRE(opened.ok());
  CHECK((*opened)->torn_tail().size() == 100);
  CHECK((*opened)->state() == StatesOf(SomeEntries()).back());
}

TEST_CASE("Manifest: any byte changed is an error or leaves an unharmed prefix",
          "[storage][manifest]") {
  const auto states = StatesOf(SomeEntries());
  const Bytes whole = FileWith(SomeEntries());
  // The last entry, and the note in front of it that vouches for all others.
  const std::size_t last_append = whole.size() - 33 - 17;
  TempDir dir;
  ForEveryFlip(whole, [&](const Bytes& damaged, std::size_t at) {
    INFO("changed at " << at);
    WriteFile(dir / "manifest", damaged);
    CHECK_FALSE(Open(dir, true).ok());
    const auto opened = Open(dir, false);
    if (at < last_append) {
      CHECK(absl::IsDataLoss(opened.status()));
    } else {
      REQUIRE(opened.ok());
      CHECK((*opened)->state() == states[states.size() - 2]);
      CHECK((*opened)->torn_tail().size() == (at < whole.size() - 33 ? 33u + 17 : 33));
    }
  });
}

// What a power cut leaves of an append that was not synced: each sector as it was, or as it was to
// be.
TEST_CASE("Manifest: a long append of which a power cut kept only later sectors passed for damage",
          "[storage][manifest]") {
  constexpr std::size_t kSector = 512;
  constexpr std::int64_t kSegments = 300;
  TempDir dir;
  auto manifest = Create(dir);
  for (std::int64_t base = 0; base < kSegments; ++base) {
    REQUIRE(manifest->Append(SegmentOpened{Offset(base), Timestamp(base)}).ok());
  }
  REQUIRE(manifest->Sync().ok());
  const ManifestState before = manifest->state();
  const Bytes synced = ReadBack(dir / "manifest");
  std::vector<ManifestEntry> entries{LogStartMoved{Offset(kSegments - 1)}};
  for (std::int64_t base = 0; base + 1 < kSegments; ++base) {
    entries.push_back(SegmentDropped{Offset(base)});
  }
  REQUIRE(manifest->Append(entries).ok());
  const Bytes whole = ReadBack(dir / "manifest");
  REQUIRE(whole.size() - synced.size() > 8 * kSector);

  const auto seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int i = 0; i < 300; ++i) {
    INFO("seed " << seed << ", " << i);
    Bytes left = whole;
    const std::size_t lost_percent = std::uniform_int_distribution<std::size_t>(1, 99)(random);
    for (std::size_t at = 0; at < left.size(); at += kSector) {
      if (std::uniform_int_distribution<std::size_t>(0, 99)(random) >= lost_percent) continue;
      for (std::size_t j = at; j < std::min(at + kSector, left.size()); ++j) {
        left[j] = j < synced.size() ? synced[j] : std::byte{0};
      }
    }
    WriteFile(dir / "manifest", left);
    const auto opened = Open(dir, false);
    INFO(opened.status().ToString());
    REQUIRE(opened.ok());
    const ManifestState& state = (*opened)->state();
    // The first of the entries, in order.
    CHECK(state.segments.back() == before.segments.back());
    CHECK(state.epochs == before.epochs);
    if (state.log_start == Offset(0)) {
      CHECK(state == before);
    } else {
      CHECK(std::equal(state.segments.rbegin(), state.segments.rend(), before.segments.rbegin()));
    }
  }
  // What had been synced before is damaged as ever.
  for (int i = 0; i < 300; ++i) {
    Bytes left = whole;
    left[std::uniform_int_distribution<std::size_t>(40, synced.size() - 1)(random)] ^= std::byte{4};
    WriteFile(dir / "manifest", left);
    CHECK(absl::IsDataLoss(Open(dir, false).status()));
  }
}

TEST_CASE("Manifest: a note that vouches for bytes behind itself is damage",
          "[storage][manifest]") {
  TempDir dir;
  WriteFile(dir / "manifest", FileWith({SegmentOpened{Offset(0), Timestamp(0)}}));
  Bytes file = ReadBack(dir / "manifest");
  const auto end = static_cast<std::int64_t>(file.size());
  Bytes right = file;
  EncodeManifestEntry(ManifestSynced{end}, right);
  WriteFile(dir / "manifest", right);
  CHECK(Open(dir, true).ok());
  EncodeManifestEntry(ManifestSynced{end + 1}, file);
  WriteFile(dir / "manifest", file);
  CHECK(absl::IsDataLoss(Open(dir, false).status()));
}

TEST_CASE("Manifest: damage names the file, the place, the expected and the found",
          "[storage][manifest]") {
  Bytes file = FileWith(SomeEntries());
  file[40 + 12] ^= std::byte{1};
  TempDir dir;
  WriteFile(dir / "manifest", file);
  const std::string message(Open(dir, false).status().message());
  CHECK_THAT(message, Catch::Contains((dir / "manifest").string() + " at 40: checksum 0x"));
  CHECK_THAT(message, Catch::Contains("hash to 0x"));
}

TEST_CASE("Manifest: an unknown kind is not taken for a torn tail", "[storage][manifest]") {
  // Kind 99, with a right checksum.
  const unsigned char covered[] = {9, 0, 0, 0, 99, 1, 2, 3, 4, 5, 6, 7, 8};
  Bytes file = FileWith({});
  AppendLe(file, std::uint32_t{9});
  AppendLe(file, Crc32c(std::as_bytes(std::span(covered))));
  AppendBytes(file, std::as_bytes(std::span(covered)).subspan(4));
  TempDir dir;
  WriteFile(dir / "manifest", file);
  const auto opened = Open(dir, false);
  CHECK(absl::IsDataLoss(opened.status()));
  CHECK_THAT(std::string(opened.status().message()), Catch::Contains("newer format"));
}

TEST_CASE("Manifest: entries that do not fit each other are damage", "[storage][manifest]") {
  const Bytes header = FileWith({});
  const Bytes opened = FileWith({SegmentOpened{Offset(7), Timestamp(0)}});
  const Bytes dropped =
      FileWith({SegmentOpened{Offset(7), Timestamp(0)}, SegmentDropped{Offset(7)}});
  // Header and the drop alone.
  Bytes file = header;
  AppendBytes(file, ByteView(dropped).subspan(opened.size()));
  TempDir dir;
  WriteFile(dir / "manifest", file);
  CHECK(absl::IsDataLoss(Open(dir, false).status()));
}

TEST_CASE("Manifest: a cleaned segment takes the place of all that it reaches over",
          "[storage][manifest]") {
  TempDir dir;
  auto manifest = Create(dir);
  for (std::int64_t base = 0; base < 40; base += 10) {
    const std::vector<ManifestEntry> entries = {SegmentOpened{Offset(base), Timestamp(base)},
                                                SegmentSealed{Offset(base), Sealed(base + 10)}};
    REQUIRE(manifest->Append(entries).ok());
  }
  REQUIRE(manifest->Append(SegmentSwapped{Offset(0), 1, Offset(10), Sealed(10)}).ok());
  REQUIRE(manifest->Append(SegmentSwapped{Offset(0), 2, Offset(30), Sealed(30)}).ok());
  REQUIRE(manifest->state().segments.size() == 2);
  CHECK(manifest->state().segments[0].generation == 2);
  CHECK(manifest->state().segments[0].sealed == Sealed(30));
  CHECK(manifest->state().segments[1].base == Offset(30));
  CHECK(manifest->state().segments[1].generation == 0);
  REQUIRE(manifest->Sync().ok());
  const auto again = Open(dir, true);
  REQUIRE(again.ok());
  CHECK((*again)->state() == manifest->state());
}

TEST_CASE("Manifest: a swap that does not fit is damage and changes nothing",
          "[storage][manifest]") {
  ManifestState state;
  for (std::int64_t base = 0; base < 30; base += 10) {
    REQUIRE(ApplyManifestEntry(SegmentOpened{Offset(base), Timestamp(base)}, state).ok());
    REQUIRE(ApplyManifestEntry(SegmentSealed{Offset(base), Sealed(base + 10)}, state).ok());
  }
  REQUIRE(ApplyManifestEntry(SegmentSwapped{Offset(10), 3, Offset(20), Sealed(20)}, state).ok());
  const ManifestState before = state;
  const std::vector<ManifestEntry> misfits = {
      SegmentSwapped{Offset(10), 4, Offset(21), Sealed(20)},  // clean beyond its end
      SegmentSwapped{Offset(10), 4, Offset(9), Sealed(20)},   // clean before its beginning
      SegmentSwapped{Offset(5), 4, Offset(20), Sealed(20)},   // no such base
      SegmentSwapped{Offset(10), 3, Offset(20), Sealed(20)},  // not a later generation
      SegmentSwapped{Offset(0), 3, Offset(20), Sealed(20)},  // nor for one of those it reaches over
      SegmentSwapped{Offset(0), 4, Offset(15), Sealed(15)},  // ends within one
      SegmentSwapped{Offset(10), 4, Offset(10), Sealed(10)},  // ends where it begins
      SegmentSealed{Offset(10), Sealed(20)}};                 // sealed in the ordinary way
  for (const ManifestEntry& misfit : misfits) {
    CHECK(absl::IsDataLoss(ApplyManifestEntry(misfit, state)));
    CHECK(state == before);
  }
}

TEST_CASE("Manifest: an append that fails in the midst leaves whole entries, and is final",
          "[storage][manifest]") {
  TempDir dir;
  auto manifest = Create(dir);
  REQUIRE(manifest->Append(SegmentOpened{Offset(0), Timestamp(100)}).ok());
  const ManifestState before = manifest->state();
  absl::Status status;
  {
    const FileSizeLimit limit(40 + 33 + 10);
    status = manifest->Append(SegmentSealed{Offset(0), Sealed(10)});
  }
  CHECK(CodeOf(status) == ErrorCode::kStorageFailed);
  CHECK(manifest->state() == before);
  CHECK(CodeOf(manifest->Append(LogStartMoved{Offset(1)})) == ErrorCode::kStorageFailed);
  const auto again = Open(dir, true);
  REQUIRE(again.ok());
  CHECK((*again)->state() == before);
}

TEST_CASE("Manifest: a long one is written anew and says the same", "[storage][manifest]") {
  TempDir dir;
  auto manifest = Create(dir);
  for (std::int64_t base = 0; base < 1000; ++base) {
    const std::vector<ManifestEntry> entries = {SegmentOpened{Offset(base), Timestamp(base)},
                                                SegmentSealed{Offset(base), Sealed(base + 1)},
                                                LogStartMoved{Offset(base)}};
    REQUIRE(manifest->Append(entries).ok());
    if (base >= 3) REQUIRE(manifest->Append(SegmentDropped{Offset(base - 3)}).ok());
    REQUIRE(manifest->Sync().ok());
    REQUIRE(manifest->RewriteIfLong().ok());
    CHECK_FALSE(manifest->is_open());
  }
  CHECK(std::filesystem::file_size(dir / "manifest") < 20'000);
  const auto again = Open(dir, true);
  REQUIRE(again.ok());
  CHECK((*again)->state() == manifest->state());
  CHECK((*again)->state().segments.size() == 3);
}

}  // namespace cairn::storage
