#include "tests/storage/log_fixture.h"
#include "tests/storage/no_descriptors.h"

namespace cairn::storage {
namespace {

TEST_CASE("Log: nothing is on disk before the first append", "[storage][log]") {
  LogFixture fixture;
  CHECK(!std::filesystem::exists(fixture.directory()));
  CHECK(fixture.log().log_end() == Offset(0));
  CHECK(fixture.log().TakeUnsynced().empty());
  CHECK(fixture.log().open_files() == 0);
  fixture.Reopen();
  CHECK(!std::filesystem::exists(fixture.directory()));
  CHECK(fixture.Append(3) == Offset(0));
  CHECK(std::filesystem::exists(fixture.LogFile(0)));
}

TEST_CASE("Log: what was appended is read back, byte for byte", "[storage][log]") {
  LogFixture fixture;
  Bytes wanted;
  for (int i = 1; i <= 50; ++i) {
    Bytes batch = MakeBatch(i % 5 + 1, static_cast<std::size_t>(i * 7));
    fixture.AppendBytes(batch);
    AppendBytes(wanted, batch);
  }
  CHECK(fixture.ReadAll(1) == wanted);
  CHECK(fixture.ReadAll(300) == wanted);
  CHECK(fixture.ReadAll(1 << 20) == wanted);
}

TEST_CASE("Log: a read in the middle of a batch gives the whole batch", "[storage][log]") {
  LogFixture fixture;
  for (int i = 0; i < 20; ++i) fixture.Append(10);
  for (std::int64_t offset = 0; offset < 200; ++offset) {
    ReadCursor cursor;
    const absl::StatusOr<LogRead> read = fixture.Read(Offset(offset), Offset(200), 1, cursor);
    REQUIRE(read.ok());
    const auto batch = RecordBatchView::Parse(read->view.bytes);
    REQUIRE(batch.ok());
    CHECK(batch->base_offset() == Offset(offset / 10 * 10));
    CHECK(read->next == Offset(offset / 10 * 10 + 10));
    CHECK(read->view.bytes.size() == batch->size());
  }
}

TEST_CASE("Log: a read never goes past the given end", "[storage][log]") {
  LogFixture fixture;
  for (int i = 0; i < 30; ++i) fixture.Append(2, 300);
  for (std::int64_t end = 2; end <= 60; end += 2) {
    ReadCursor cursor;
    const absl::StatusOr<LogRead> read = fixture.Read(Offset(0), Offset(end), 1 << 20, cursor);
    REQUIRE(read.ok());
    CHECK(read->next == Offset(end));
  }
  ReadCursor cursor;
  CHECK(CodeOf(fixture.Read(Offset(10), Offset(10), 1, cursor).status()) ==
        ErrorCode::kOffsetOutOfRange);
  CHECK(CodeOf(fixture.Read(Offset(61), kEverything, 1, cursor).status()) ==
        ErrorCode::kOffsetOutOfRange);
}

TEST_CASE("Log: it rolls when a segment is full, and by append time", "[storage][log]") {
  LogFixture fixture({.segment_bytes = 4096, .segment_ms = 1000});
  for (int i = 0; i < 20; ++i) fixture.Append(1, 900);
  CHECK(fixture.log().segment_count() == 5);
  fixture.Append(1, 10, kNow, kNow + 999);
  CHECK(fixture.log().segment_count() == 5);
  fixture.Append(1, 10, kNow, kNow + 1500);
  CHECK(fixture.log().segment_count() == 6);
  fixture.Append(1, 10, kNow, kNow + 2499);
  CHECK(fixture.log().segment_count() == 6);
  fixture.Append(1, 10, kNow, kNow + 2500);
  CHECK(fixture.log().segment_count() == 7);
  REQUIRE(fixture.log().RollIfOld(kNow + 3499).ok());
  fixture.Append(1, 10, kNow, kNow + 3499);
  CHECK(fixture.log().segment_count() == 7);
  REQUIRE(fixture.log().RollIfOld(kNow + 3500).ok());
  fixture.Append(1, 10, kNow, kNow + 3500);
  CHECK(fixture.log().segment_count() == 8);
  const Bytes all = fixture.ReadAll();
  fixture.Sync();
  fixture.SealAll();
  CHECK(fixture.ReadAll() == all);
  fixture.Reopen();
  CHECK(fixture.ReadAll() == all);
}

TEST_CASE("Log: a batch larger than a segment gets a segment of its own", "[storage][log]") {
  LogFixture fixture({.segment_bytes = 4096});
  fixture.Append(1, 10);
  fixture.Append(1, 100'000);
  fixture.Append(1, 10);
  CHECK(fixture.log().segment_count() == 3);
  const Bytes all = fixture.ReadAll(1);
  fixture.Crash();
  CHECK(fixture.ReadAll(1) == all);
}

TEST_CASE("Log: a small segment is continued after a restart, a large one is left",
          "[storage][log]") {
  LogFixture fixture({.continue_bytes_max = 2000});
  fixture.Append(1, 500);
  fixture.Reopen();
  fixture.Append(1, 500);
  CHECK(fixture.log().segment_count() == 1);
  fixture.Crash();
  fixture.Append(1, 2500);
  CHECK(fixture.log().segment_count() == 1);
  const Bytes all = fixture.ReadAll();
  fixture.Reopen();
  CHECK(fixture.ReadAll() == all);
  fixture.Append(1, 10);
  CHECK(fixture.log().segment_count() == 2);
  fixture.Sync();
  fixture.SealAll();
  CHECK(!fixture.log().TakeSealTask().has_value());
}

TEST_CASE("Log: closed when idle, it opens again by itself", "[storage][log]") {
  LogFixture fixture({.segment_bytes = 2000});
  for (int i = 0; i < 10; ++i) fixture.Append(1, 700);
  CHECK(fixture.log().CloseIdle() == 0);  // nothing is synced
  fixture.Sync();
  const Bytes all = fixture.ReadAll();
  CHECK(fixture.log().open_files() == fixture.log().segment_count());
  CHECK(fixture.log().CloseIdle() == fixture.log().segment_count());
  CHECK(fixture.log().open_files() == 0);
  CHECK(fixture.ReadAll() == all);
  CHECK(fixture.log().CloseIdle() > 0);
  Bytes batch = MakeBatch(1, 700);
  fixture.AppendBytes(batch);
  Bytes more = all;
  AppendBytes(more, batch);
  CHECK(fixture.ReadAll() == more);
}

TEST_CASE("Log: a view outlives trimming and removal", "[storage][log]") {
  LogFixture fixture({.segment_bytes = 2000});
  for (int i = 0; i < 10; ++i) fixture.Append(1, 700);
  fixture.Sync();
  ReadCursor cursor;
  const absl::StatusOr<LogRead> read = fixture.Read(Offset(0), Offset(10), 1, cursor);
  REQUIRE(read.ok());
  const Bytes before(read->view.bytes.begin(), read->view.bytes.end());
  absl::StatusOr<std::size_t> dropped = fixture.Trim(Offset(7));
  REQUIRE(dropped.ok());
  CHECK(*dropped == 3);
  CHECK(!std::filesystem::exists(fixture.LogFile(0)));
  CHECK(Bytes(read->view.bytes.begin(), read->view.bytes.end()) == before);
  CHECK(fixture.log().log_start() == Offset(7));
  CHECK(CodeOf(fixture.Read(Offset(6), Offset(10), 1, cursor).status()) ==
        ErrorCode::kOffsetOutOfRange);
  CHECK(CodeOf(fixture.Trim(Offset(11)).status()) == ErrorCode::kOffsetOutOfRange);
  fixture.Reopen();
  CHECK(fixture.log().log_start() == Offset(7));
  CHECK(fixture.log().log_end() == Offset(10));
  dropped = fixture.Trim(Offset(10));
  REQUIRE(dropped.ok());
  CHECK(fixture.log().segment_count() == 0);
  fixture.Crash();
  CHECK(fixture.log().log_start() == Offset(10));
  CHECK(fixture.Append(1) == Offset(10));
  fixture.Reopen();
  CHECK(fixture.ReadAll().size() > 0);
}

TEST_CASE("Log: an unclean start raises the leader epoch, a clean one does not", "[storage][log]") {
  LogFixture fixture;
  fixture.Append(5);
  CHECK(fixture.log().leader_epoch() == LeaderEpoch(0));
  fixture.Reopen();
  CHECK(fixture.log().leader_epoch() == LeaderEpoch(0));
  fixture.Crash();
  // Epochs are numbers of starts, so that none is ever used twice.
  CHECK(fixture.log().leader_epoch() == LeaderEpoch(2));
  fixture.Reopen();
  CHECK(fixture.log().leader_epoch() == LeaderEpoch(2));
  fixture.Append(5);
  fixture.Crash();
  fixture.Append(2);
  CHECK(fixture.log().leader_epoch() == LeaderEpoch(4));
  CHECK(fixture.log().EpochBefore(Offset(0)) == kNoEpoch);
  CHECK(fixture.log().EpochBefore(Offset(5)) == LeaderEpoch(0));
  CHECK(fixture.log().EpochBefore(Offset(6)) == LeaderEpoch(2));
  CHECK(fixture.log().EpochBefore(Offset(11)) == LeaderEpoch(4));
  CHECK(fixture.log().EndOfEpoch(LeaderEpoch(0)) == Offset(5));
  CHECK(fixture.log().EndOfEpoch(LeaderEpoch(2)) == Offset(10));
  CHECK(fixture.log().EndOfEpoch(LeaderEpoch(3)) == Offset(10));
  CHECK(fixture.log().EndOfEpoch(LeaderEpoch(4)) == Offset(12));
  fixture.ReadAll();
}

TEST_CASE("Log: the first record at or after a time, whatever the order", "[storage][log]") {
  LogFixture fixture({.segment_bytes = 3000, .index_interval_bytes = 500});
  std::vector<std::int64_t> times;
  std::uint64_t state = 12345;
  for (int i = 0; i < 60; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const std::int64_t time = kNow.value() + i * 10 + static_cast<std::int64_t>(state >> 58);
    fixture.Append(3, 60, Timestamp(time));
    for (int record = 0; record < 3; ++record) times.push_back(time + record);
  }
  const auto check = [&](Offset start, Offset end) {
    for (std::int64_t time = kNow.value() - 5; time < kNow.value() + 700; time += 3) {
      std::optional<std::int64_t> wanted;
      for (std::int64_t at = start.value(); at < end.value() && !wanted; ++at) {
        if (times[static_cast<std::size_t>(at)] >= time) wanted = at;
      }
      const auto found = Log::FindTime(fixture.log().Segments(), Timestamp(time), start, end);
      REQUIRE(found.ok());
      REQUIRE(found->has_value() == wanted.has_value());
      if (wanted) {
        REQUIRE((*found)->offset == Offset(*wanted));
        REQUIRE((*found)->timestamp == Timestamp(times[static_cast<std::size_t>(*wanted)]));
      }
    }
  };
  check(Offset(0), Offset(180));
  fixture.Sync();
  fixture.SealAll();
  check(Offset(50), Offset(100));
  fixture.Reopen();
  check(Offset(7), Offset(179));
}

TEST_CASE("Log: producers are the same with and without the snapshot", "[storage][log]") {
  LogFixture fixture({.segment_bytes = 2000});
  for (int i = 0; i < 40; ++i) {
    Bytes batch = MakeBatch(2, 50, kNow, ProducerId(i % 3), i / 3 * 2);
    fixture.AppendBytes(batch);
    if (i == 20) {
      fixture.Sync();
      const auto snapshot = fixture.log().TakeProducerSnapshot();
      REQUIRE(snapshot.has_value());
      REQUIRE(snapshot->Write().ok());
    }
    if (i == 25) CHECK_FALSE(fixture.log().TakeProducerSnapshot().has_value());
    if (i == 30) {
      CHECK_FALSE(fixture.log().IsProducerSnapshotDue());
      fixture.Sync();
      REQUIRE(fixture.log().IsProducerSnapshotDue());
      const auto snapshot = fixture.log().TakeProducerSnapshot();
      REQUIRE(snapshot.has_value());
      CHECK(snapshot->end == Offset(52));
      REQUIRE(snapshot->Write().ok());
      CHECK_FALSE(fixture.log().IsProducerSnapshotDue());
    }
  }
  fixture.Sync();
  const ProducerTable live = fixture.log().producers();
  CHECK(live.size() == 3);
  fixture.Crash();
  CHECK(fixture.report().producers_rebuilt);
  CHECK(fixture.log().producers() == live);
  fixture.Reopen();
  CHECK(!fixture.report().producers_rebuilt);
  CHECK(fixture.log().producers() == live);
  fixture.StopCleanly();
  REQUIRE(std::filesystem::remove(fixture.directory() / kProducerSnapshotName));
  fixture.Open();
  CHECK(fixture.report().producers_rebuilt);
  CHECK(fixture.log().producers() == live);
}

TEST_CASE("Log: a producer whose last batch was trimmed in the middle is still known",
          "[storage][log]") {
  LogFixture fixture;
  Bytes batch = MakeBatch(4, 50, kNow, ProducerId(1), 0);
  fixture.AppendBytes(batch);
  fixture.Sync();
  REQUIRE(fixture.Trim(Offset(2)).ok());
  const ProducerTable live = fixture.log().producers();
  fixture.Crash();  // before any snapshot was written
  CHECK(fixture.log().producers() == live);
}

TEST_CASE("Log: a sync that failed is final until a restart", "[storage][log]") {
  LogFixture fixture;
  fixture.Append(1);
  const SyncPlan plan = fixture.log().TakeUnsynced();
  CHECK(!plan.empty());
  CHECK(plan.bytes() > 0);
  fixture.log().MarkSyncFailed(plan, absl::DataLossError("the disk is gone"));
  CHECK(fixture.log().TakeUnsynced().empty());
  Bytes batch = MakeBatch(1, 1);
  CHECK(CodeOf(fixture.log().Append(batch, kNow).status()) == ErrorCode::kStorageFailed);
  CHECK(fixture.log().CloseIdle() == 0);
  CHECK(!fixture.ReadAll().empty());
  CHECK(!fixture.log().CloseClean().ok());
}

TEST_CASE("Log: a trim emptied the hard links of a backup", "[storage][log]") {
  LogFixture fixture({.segment_bytes = 600});
  for (int i = 0; i < 9; ++i) fixture.Append(1, 100);
  fixture.Sync();
  fixture.SealAll();
  const Bytes first = ReadBack(fixture.LogFile(0));
  const Bytes second = ReadBack(fixture.LogFile(3));
  const std::filesystem::path backup = fixture.data() / "backup";
  std::filesystem::create_directory(backup);
  std::filesystem::create_hard_link(fixture.LogFile(0), backup / "first");
  std::filesystem::create_hard_link(fixture.LogFile(3), backup / "second");
  // One of them is read while it goes.
  ReadCursor cursor;
  const absl::StatusOr<LogRead> held = fixture.Read(Offset(3), kEverything, 1, cursor);
  REQUIRE(held.ok());
  REQUIRE(*fixture.Trim(Offset(6)) == 2);
  while (fixture.data_dir().removed_files().Step(/*even_if_read=*/true)) continue;
  CHECK(ReadBack(backup / "first") == first);
  CHECK(ReadBack(backup / "second") == second);
  CHECK_FALSE(std::filesystem::exists(fixture.LogFile(3)));
}

TEST_CASE("Log: a sync that had no descriptor is made up for by the next", "[storage][log]") {
  LogFixture fixture;
  fixture.Append(1);
  {
    const SyncPlan plan = fixture.log().TakeUnsynced();
    const NoDescriptors none;
    CHECK(absl::IsUnavailable(plan.Sync()));
  }
  CHECK_FALSE(fixture.log().TakeUnsynced().empty());
  fixture.Sync();
  CHECK(fixture.log().TakeUnsynced().empty());
  fixture.Crash();
  CHECK(fixture.log().log_end() == Offset(1));
}

}  // namespace
}  // namespace cairn::storage
