// What a start does with the files of a partition that the manifest does not list.

#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

// A log whose first segments were trimmed, with the files that were dropped.
struct Trimmed {
  explicit Trimmed(bool sealed = true) {
    for (int i = 0; i < 9; ++i) fixture.Append(1, 300);
    fixture.Sync();
    if (sealed) fixture.SealAll();
    whole = ReadBack(fixture.LogFile(0));
    index = sealed ? ReadBack(fixture.IndexFile(0)) : Bytes();
    const Offset second = fixture.log().Segments()[1]->base();
    REQUIRE(fixture.Trim(second).ok());
    REQUIRE_FALSE(std::filesystem::exists(fixture.LogFile(0)));
  }
  // Stops, puts a file where the dropped one was, and starts.
  void PutBack(const Bytes& file, bool clean) {
    clean ? fixture.StopCleanly() : fixture.Kill();
    WriteFile(fixture.LogFile(0), file);
    if (!index.empty()) WriteFile(fixture.IndexFile(0), index);
    fixture.Open();
    CHECK_FALSE(std::filesystem::exists(fixture.LogFile(0)));
    CHECK(fixture.report().damage.ok());
    fixture.ReadAll();
  }
  Bytes Quarantined() const {
    const auto path = fixture.data() / "quarantine" / "orders-0+00000000000000000000.log";
    return std::filesystem::exists(path) ? ReadBack(path) : Bytes();
  }
  LogFixture fixture{{.segment_bytes = 1000}};
  Bytes whole;
  Bytes index;
};

TEST_CASE("Recovery: partition.meta was not synced with the first batch of its partition",
          "[storage][recovery]") {
  LogFixture fixture;
  fixture.Append(1);
  const SyncPlan plan = fixture.log().TakeUnsynced();
  // Its descriptor waits for the group commit, and no longer.
  const int open = fixture.log().open_files();
  REQUIRE(plan.Sync().ok());
  fixture.log().MarkSynced(plan);
  CHECK(fixture.log().open_files() == open - 2);  // it and the manifest
}

TEST_CASE("Recovery: a partition.meta that a power cut took stayed lost", "[storage][recovery]") {
  LogFixture fixture;
  fixture.Append(1);
  fixture.Sync();
  const std::filesystem::path meta = fixture.directory() / "partition.meta";
  const Bytes before = ReadBack(meta);
  fixture.Kill();
  if (GENERATE(false, true)) {
    std::filesystem::remove(meta);
  } else {
    std::filesystem::resize_file(meta, 0);
  }
  fixture.Open();
  CHECK(fixture.report().damage.ok());
  CHECK(ReadBack(meta) == before);
}

TEST_CASE("Recovery: a trim that was cut short is finished by the next start",
          "[storage][recovery]") {
  Trimmed log;
  log.PutBack(log.whole, GENERATE(false, true));
  CHECK(log.Quarantined().empty());
  CHECK_FALSE(std::filesystem::exists(log.fixture.IndexFile(0)));
  CHECK(log.fixture.report().notes.empty());
}

TEST_CASE("Recovery: a foreign file below the log start was deleted as if a trim had left it",
          "[storage][recovery]") {
  Trimmed log;
  Bytes foreign = log.whole;
  if (GENERATE(false, true)) {
    foreign.push_back(std::byte{1});
  } else {
    foreign[foreign.size() / 2] ^= std::byte{1};  // as long as the one that was dropped
  }
  log.PutBack(foreign, GENERATE(false, true));
  CHECK(log.Quarantined() == foreign);
  REQUIRE(log.fixture.report().notes.size() == 1);
  CHECK(log.fixture.report().notes[0].find("moved to") != std::string::npos);
}

TEST_CASE("Recovery: a file of which the log knows no more than that it was dropped is kept",
          "[storage][recovery]") {
  Trimmed log(/*sealed=*/false);
  log.PutBack(log.whole, GENERATE(false, true));
  CHECK(log.Quarantined() == log.whole);
}

TEST_CASE("Recovery: a manifest written anew after a trim forgot what it had dropped",
          "[storage][recovery]") {
  LogFixture fixture({.segment_bytes = 1});
  for (int i = 0; i < 400; ++i) fixture.Append(1);
  fixture.Sync();
  fixture.SealAll();
  const Bytes last = ReadBack(fixture.LogFile(398));
  REQUIRE(std::filesystem::file_size(fixture.directory() / kManifestFileName) > 16 << 10);
  REQUIRE(fixture.Trim(Offset(399)).ok());
  const bool clean = GENERATE(false, true);
  clean ? fixture.StopCleanly() : fixture.Kill();
  WriteFile(fixture.LogFile(398), last);
  fixture.Open();
  CHECK_FALSE(std::filesystem::exists(fixture.LogFile(398)));
  CHECK_FALSE(std::filesystem::exists(fixture.data() / "quarantine"));
  REQUIRE(fixture.Trim(Offset(400)).ok());
  CHECK(std::filesystem::file_size(fixture.directory() / kManifestFileName) < 1000);
}

}  // namespace
}  // namespace cairn::storage
