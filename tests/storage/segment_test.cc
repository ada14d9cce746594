#include <atomic>
#include <mutex>
#include <thread>

#include "tests/storage/file_size_limit.h"
#include "tests/storage/log_fixture.h"
#include "tests/storage/small_disk.h"

namespace cairn::storage {
namespace {

TEST_CASE("Segment: after a restart bytes are cold until they were prepared",
          "[storage][segment]") {
  LogFixture fixture({.segment_bytes = 8 << 20, .continue_bytes_max = 0});
  for (int i = 0; i < 30; ++i) fixture.Append(1, 100'000);
  const Bytes all = fixture.ReadAll();
  fixture.Reopen();
  ReadCursor cursor;
  auto read = fixture.log().Read(Offset(0), Offset(30), 1 << 20, cursor);
  REQUIRE(read.ok());
  REQUIRE(read->cold != nullptr);
  CHECK(read->view.bytes.empty());
  REQUIRE(read->cold->Prepare(read->cold_position).ok());
  read = fixture.log().Read(Offset(0), Offset(30), 1 << 20, cursor);
  REQUIRE(read.ok());
  // Opened, but not checked yet.
  REQUIRE(read->cold != nullptr);
  CHECK(read->cold_position == 0);
  REQUIRE(read->cold->Prepare(0).ok());
  read = fixture.log().Read(Offset(0), Offset(30), 1 << 20, cursor);
  REQUIRE(read.ok());
  CHECK(read->cold == nullptr);
  CHECK(read->view.bytes.size() >= 900'000);
  // The middle is still cold, then not, and the two parts meet.
  CHECK(fixture.log().Read(Offset(25), Offset(30), 1, cursor)->cold != nullptr);
  CHECK(fixture.ReadAll() == all);
  CHECK(fixture.log().Read(Offset(25), Offset(30), 1, cursor)->cold == nullptr);
}

TEST_CASE("Segment: a full disk refuses batches, and takes them again when there is room",
          "[storage][segment]") {
  SmallDisk disk;
  if (!disk.is_mounted()) {
    WARN("SKIPPED: mounting a small disk needs root; nothing was tested here");
    return;
  }
  const std::int64_t segment_bytes = GENERATE(100'000, 64 << 20);
  auto data_dir = DataDir::Open(disk.path());
  REQUIRE(data_dir.ok());
  WriteFile(disk.path() / "orders-9", Bytes(500'000, std::byte{1}));
  RecoveryReport report;
  const LogOptions options{.segment_bytes = segment_bytes};
  auto log = Log::Open(**data_dir, LogFixture::Identity(), options, kNow, report);
  REQUIRE(log.ok());
  Bytes wanted;
  const auto fill = [&] {
    int appended = 0;
    while (true) {
      Bytes batch = MakeBatch(1, 10'000);
      const absl::StatusOr<Offset> base = (*log)->Append(batch, kNow);
      if (!base.ok()) {
        CHECK(CodeOf(base.status()) == ErrorCode::kStorageFull);
        CHECK((*log)->write_state().ok());
        return appended;
      }
      AppendBytes(wanted, batch);
      ++appended;
    }
  };
  const auto read_all = [&] {
    Bytes all;
    ReadCursor cursor;
    Offset next(0);
    while (next < (*log)->log_end()) {
      auto read = (*log)->Read(next, (*log)->log_end(), 1 << 20, cursor);
      REQUIRE(read.ok());
      if (read->cold != nullptr) {
        REQUIRE(read->cold->Prepare(read->cold_position).ok());
        continue;
      }
      AppendBytes(all, read->view.bytes);
      next = read->next;
    }
    return all;
  };
  REQUIRE(fill() > 100);
  CHECK(fill() == 0);
  CHECK(read_all() == wanted);
  std::filesystem::remove(disk.path() / "orders-9");
  CHECK(fill() > 10);
  CHECK(read_all() == wanted);
  // As after kill -9: nothing but whole batches is there.
  log->reset();
  data_dir->reset();
  data_dir = DataDir::Open(disk.path());
  REQUIRE(data_dir.ok());
  report = {};
  log = Log::Open(**data_dir, LogFixture::Identity(), options, kNow, report);
  REQUIRE(log.ok());
  CHECK(report.damage.ok());
  CHECK(report.bytes_cut == 0);
  CHECK(read_all() == wanted);
}

TEST_CASE("Segment: a disk that fails in the midst of a write is final, and what stood is served",
          "[storage][segment]") {
  LogFixture fixture;
  fixture.Append(1, 1000);
  const Bytes before = fixture.ReadAll();
  {
    const FileSizeLimit limit(70'000);
    Bytes batch = MakeBatch(1, 100'000);
    CHECK(CodeOf(fixture.log().Append(batch, kNow).status()) == ErrorCode::kStorageFailed);
  }
  Bytes batch = MakeBatch(1, 10);
  CHECK(CodeOf(fixture.log().Append(batch, kNow).status()) == ErrorCode::kStorageFailed);
  CHECK(fixture.log().log_end() == Offset(1));
  CHECK(fixture.ReadAll() == before);
  fixture.Crash();
  CHECK(fixture.ReadAll() == before);
  CHECK(fixture.Append(1) == Offset(1));
}

TEST_CASE("Segment: readers, helpers, syncs and the writer at once",
          "[storage][segment][threads]") {
  LogFixture fixture({.segment_bytes = 40'000, .index_interval_bytes = 512});
  for (int i = 0; i < 100; ++i) fixture.Append(1, 1000);
  fixture.Reopen();
  std::mutex owner;  // the lock of a partition
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      ReadCursor cursor;
      Offset next(0);
      while (!stop.load()) {
        absl::StatusOr<LogRead> read = absl::UnknownError("");
        {
          const std::lock_guard lock(owner);
          const Offset end = fixture.log().log_end();
          if (next >= end) next = Offset(0);
          read = fixture.log().Read(next, end, 3000, cursor);
        }
        if (!read.ok()) {
          ++failures;
          return;
        }
        if (read->cold != nullptr) {
          if (!read->cold->Prepare(read->cold_position).ok()) ++failures;
          continue;
        }
        const auto batch = RecordBatchView::Parse(read->view.bytes);
        if (!batch.ok() || batch->base_offset() != next) ++failures;
        next = read->next;
      }
    });
  }
  threads.emplace_back([&] {
    while (!stop.load()) {
      std::vector<std::shared_ptr<Segment>> segments;
      Offset end;
      {
        const std::lock_guard lock(owner);
        segments = fixture.log().Segments();
        end = fixture.log().log_end();
      }
      const auto found = Log::FindTime(segments, kNow, Offset(0), end);
      // A segment that is closed meanwhile asks to try again.
      if (!found.ok() ? !absl::IsUnavailable(found.status()) : !found->has_value()) ++failures;
    }
  });
  for (int i = 0; i < 300; ++i) {
    Bytes batch = MakeBatch(1, 900);
    SyncPlan plan;
    std::optional<Log::SealTask> seal;
    {
      const std::lock_guard lock(owner);
      if (!fixture.log().Append(batch, kNow).ok()) ++failures;
      if (i % 7 == 0) plan = fixture.log().TakeUnsynced();
      if (i % 20 == 0) seal = fixture.log().TakeSealTask();
      if (i % 31 == 0) (void)fixture.log().CloseIdle();
    }
    if (!plan.empty()) {
      if (!plan.Sync().ok()) ++failures;
      const std::lock_guard lock(owner);
      fixture.log().MarkSynced(plan);
    }
    if (seal.has_value()) {
      const absl::Status outcome = seal->Run();
      const std::lock_guard lock(owner);
      if (!fixture.log().FinishSeal(*std::move(seal), outcome).ok()) ++failures;
    }
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  CHECK(failures.load() == 0);
  CHECK(fixture.log().log_end() == Offset(400));
}

}  // namespace
}  // namespace cairn::storage
