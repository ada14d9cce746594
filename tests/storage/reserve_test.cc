#include "storage/reserve.h"

#include <sys/mount.h>

#include "storage/compactor.h"
#include "tests/storage/compacted_log.h"
#include "tests/storage/log_fixture.h"
#include "tests/storage/small_disk.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMiB = 1 << 20;

absl::Status NoRoom() { return MakeError(ErrorCode::kStorageFull, "no room"); }

TEST_CASE("Reserve: gives up pieces until the write has room, and takes them back",
          "[storage][reserve]") {
  TempDir temp;
  const auto reserve = *Reserve::Open(temp.path(), 4 * kMiB);
  CHECK_FALSE(reserve->is_short());
  CHECK(reserve->Admit().ok());
  CHECK(fs::file_size(temp / "reserve") == 4 * kMiB);
  int told = 0;
  reserve->SetOnShort([&] { ++told; });
  int calls = 0;
  CHECK(reserve->Through([&] { return ++calls < 3 ? NoRoom() : absl::OkStatus(); }).ok());
  CHECK(calls == 3);
  CHECK(told == 1);
  CHECK(reserve->held() == 2 * kMiB);
  CHECK(fs::file_size(temp / "reserve") == 2 * kMiB);
  CHECK(CodeOf(reserve->Admit()) == ErrorCode::kStorageFull);
  // It ends some time.
  CHECK(CodeOf(reserve->Through([] { return NoRoom(); })) == ErrorCode::kStorageFull);
  CHECK(reserve->held() == 0);
  CHECK(reserve->Restore());
  CHECK(reserve->Admit().ok());
  CHECK(reserve->held() == 4 * kMiB);
  CHECK(fs::file_size(temp / "reserve") == 4 * kMiB);
}

TEST_CASE("Reserve: another error is no reason to give anything up", "[storage][reserve]") {
  TempDir temp;
  const auto reserve = *Reserve::Open(temp.path(), kMiB);
  const auto fail = [] { return MakeError(ErrorCode::kStorageFailed, "broken"); };
  CHECK(CodeOf(reserve->Through(fail)) == ErrorCode::kStorageFailed);
  CHECK(reserve->held() == kMiB);
  CHECK_FALSE(reserve->is_short());
}

TEST_CASE("Reserve: none, and another size than at the last start", "[storage][reserve]") {
  TempDir temp;
  {
    const auto none = *Reserve::Open(temp.path(), 0);
    none->NoteFull();
    CHECK(none->is_short());
    // Nothing is kept for others, so a producer may as well try.
    CHECK(none->Admit().ok());
    CHECK(none->Restore());
  }
  for (const std::int64_t bytes : {3 * kMiB, kMiB, 2 * kMiB, std::int64_t{0}}) {
    CHECK((*Reserve::Open(temp.path(), bytes))->held() == bytes);
    CHECK(fs::file_size(temp / "reserve") == static_cast<std::uintmax_t>(bytes));
  }
}

TEST_CASE("Reserve: compaction took blocks for users' logs while room was short",
          "[storage][reserve]") {
  const bool uses_reserve = GENERATE(false, true);
  TempDir temp;
  auto data_dir = *DataDir::Open(temp / "data", {.reserve_bytes = kMiB});
  RecoveryReport report;
  LogOptions options = CompactedOptions();
  options.uses_reserve = uses_reserve;
  auto log = *Log::Open(*data_dir, LogFixture::Identity(), options, kNow, report);
  for (int i = 0; i < 8; ++i) {
    RecordBatchBuilder builder;
    const std::string value(400, static_cast<char>('a' + i));
    builder.Add({.timestamp = kNow, .key = AsBytes("key"), .value = AsBytes(value), .headers = {}});
    absl::StatusOr<Bytes> batch = builder.Finish({.codec = Codec::kNone});
    REQUIRE(batch.ok());
    REQUIRE(log->Append(*batch, kNow).ok());
  }
  const SyncPlan plan = log->TakeUnsynced();
  REQUIRE(plan.Sync().ok());
  log->MarkSynced(plan);
  while (std::optional<Log::SealTask> task = log->TakeSealTask()) {
    const absl::Status outcome = task->Run();
    REQUIRE(log->FinishSeal(*std::move(task), outcome).ok());
  }
  std::optional<CompactionPlan> cleaning = log->PlanCompaction(log->log_end(), kNow);
  REQUIRE(cleaning.has_value());
  Compactor compactor(*std::move(cleaning), {}, kNow);
  REQUIRE(compactor.ReadKeys().ok());
  data_dir->reserve().NoteFull();
  // One that is under way stops, and no other one begins.
  const absl::StatusOr<std::optional<CleanedSegment>> cleaned = compactor.Next();
  const double need = log->CompactionNeed(log->log_end(), kNow);
  if (uses_reserve) {
    CHECK(cleaned.ok());
    CHECK(need > 0);
  } else {
    CHECK(CodeOf(cleaned.status()) == ErrorCode::kStorageFull);
    CHECK(need == 0);
    CHECK(data_dir->reserve().Restore());
    CHECK(log->CompactionNeed(log->log_end(), kNow) > 0);
  }
}

// On a disk that other files have filled.
TEST_CASE("Reserve: on a full disk users wait, and the broker's own topics and trims go on",
          "[storage][reserve]") {
  SmallDisk disk("16m");
  if (!disk.is_mounted()) {
    WARN("SKIPPED: mounting a small disk needs root; nothing was tested here");
    return;
  }
  auto data_dir = *DataDir::Open(disk.path(), {.reserve_bytes = 2 * kMiB});
  RecoveryReport report;
  const LogOptions user_options{.segment_bytes = kMiB};
  auto user = *Log::Open(*data_dir, LogFixture::Identity(), user_options, kNow, report);
  const LogIdentity internal_id{IdOf(9), "__internal", PartitionIndex(0)};
  auto internal = *Log::Open(*data_dir, internal_id, {.segment_bytes = kMiB, .uses_reserve = true},
                             kNow, report);
  const auto append = [](Log& log) {
    Bytes batch = MakeBatch(1, 50'000);
    return log.Append(batch, kNow).status();
  };
  absl::Status filled;
  while (filled.ok()) filled = append(*user);
  CHECK(CodeOf(filled) == ErrorCode::kStorageFull);
  CHECK(user->write_state().ok());
  CHECK(data_dir->reserve().is_short());
  CHECK(data_dir->reserve().held() == 2 * kMiB);
  CHECK_FALSE(data_dir->reserve().Restore());
  for (int i = 0; i < 10; ++i) CHECK(append(*internal).ok());
  CHECK(data_dir->reserve().held() < 2 * kMiB);
  // What was given up is not for users.
  CHECK(CodeOf(append(*user)) == ErrorCode::kStorageFull);
  const SyncPlan plan = user->TakeUnsynced();
  REQUIRE(plan.Sync().ok());
  user->MarkSynced(plan);
  // A reader keeps what is dropped, as long as it may.
  ReadCursor cursor;
  const auto held = user->Read(Offset(0), user->log_end(), 1 << 20, cursor);
  REQUIRE((held.ok() && held->cold == nullptr));
  const auto trim = user->TrimTo(user->log_end());
  REQUIRE(trim.ok());
  REQUIRE(user->FinishTrim(*trim, trim->Sync()).ok());
  for (const auto& segment : trim->dropped) REQUIRE(segment->Remove().ok());
  CHECK_FALSE(data_dir->removed_files().empty());
  CHECK_FALSE(data_dir->removed_files().Step(/*even_if_read=*/false));
  CHECK(held->view.mapping->Probe(held->view.bytes).ok());
  CHECK(data_dir->removed_files().Step(/*even_if_read=*/true));
  CHECK(data_dir->removed_files().empty());
  CHECK(absl::IsDataLoss(held->view.mapping->Probe(held->view.bytes)));
  CHECK(data_dir->reserve().Restore());
  CHECK(data_dir->reserve().held() == 2 * kMiB);
  CHECK(append(*user).ok());
}

TEST_CASE("Reserve: a start on a full disk has what there is", "[storage][reserve]") {
  SmallDisk disk("8m");
  if (!disk.is_mounted()) {
    WARN("SKIPPED: mounting a small disk needs root; nothing was tested here");
    return;
  }
  { auto data_dir = *DataDir::Open(disk.path()); }
  {
    auto filler = *File::Create(disk.path() / "filler");
    while (filler.Reserve(*filler.Size(), 4096).ok()) {
    }
  }
  auto data_dir = DataDir::Open(disk.path(), {.reserve_bytes = 2 * kMiB});
  REQUIRE(data_dir.ok());
  Reserve& reserve = (*data_dir)->reserve();
  CHECK(reserve.is_short());
  CHECK_FALSE(reserve.Restore());
  fs::remove(disk.path() / "filler");
  CHECK(reserve.Restore());
}

}  // namespace
}  // namespace cairn::storage
