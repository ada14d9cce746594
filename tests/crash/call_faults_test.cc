#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "storage/data_dir.h"
#include "storage/file.h"
#include "storage/manifest.h"
#include "tests/crash/log_life.h"
#include "tests/storage/temp_dir.h"
#include "tests/support/faulty_calls.h"
#include "tests/support/power_cut.h"

namespace cairn::storage {
namespace {

using faults::Fault;
using faults::PowerCut;
using Lost = LogHistory::Lost;

// What must hold whatever failed, once the disk is well again.
void CheckAfterwards(const TempDir& temp, LogHistory history) {
  const auto after_power_cut = [&](LogHistory expected, const std::string& name) {
    PowerCut::Get().Restore(temp / name);
    LogLife life(temp / name, expected);
    life.RunOnce(Lost::kUnsynced);
    REQUIRE(life.complaint() == "");
  };
  {
    INFO("after a power cut");
    after_power_cut(history, "cut");
  }
  {
    INFO("after kill -9");
    LogLife life(temp / "data", history);
    life.RunOnce(Lost::kNothing);
    REQUIRE(life.complaint() == "");
  }
  // Whoever saw what was recovered may see it again.
  INFO("after kill -9 and then a power cut");
  after_power_cut(history, "cut-later");
}

// Lets the at-th call fail, and judges. False: there is no at-th call.
bool RunWith(const faults::FaultPlan& plan, Keeps keeps) {
  const TempDir temp(MemoryRoot());
  const std::filesystem::path data = temp / "data";
  std::filesystem::create_directory(data);
  PowerCut::Get().Follow(data);
  LogHistory history(keeps);
  LogLife life(data, history);
  faults::ArmFaults(plan);
  life.Run();
  const faults::FaultCount count = faults::DisarmFaults();
  INFO("call " << plan.at << (plan.stays ? " and all later" : "") << ", first " << count.first);
  REQUIRE(life.complaint() == "");
  const bool passes =
      !plan.stays && plan.fault != Fault::kIoError && count.first.find("sync") == std::string::npos;
  if (passes) REQUIRE_FALSE(life.stayed_full());
  if (count.failed == 0 && keeps != Keeps::kAll) REQUIRE(life.swaps() >= 5);
  CheckAfterwards(temp, history);
  PowerCut::Get().Stop();
  return count.failed > 0;
}

void Sweep(Fault fault, bool stays, Keeps keeps = Keeps::kAll) {
  int at = 1;
  while (RunWith({.fault = fault, .at = at, .stays = stays}, keeps)) ++at;
  REQUIRE(at > 30);
}

TEST_CASE("Storage: the N-th call fails with EIO", "[crash][calls]") {
  Sweep(Fault::kIoError, false);
}
TEST_CASE("Storage: from the N-th call on all fail with EIO", "[crash][calls]") {
  Sweep(Fault::kIoError, true);
}
TEST_CASE("Storage: the N-th call that needs room finds none", "[crash][calls]") {
  Sweep(Fault::kNoSpace, false);
}
TEST_CASE("Storage: from the N-th call on the disk is full", "[crash][calls]") {
  Sweep(Fault::kNoSpace, true);
}
TEST_CASE("Storage: the N-th write is short", "[crash][calls]") {
  Sweep(Fault::kShortWrite, false);
}
TEST_CASE("Storage: the N-th write is cut short by a full disk", "[crash][calls]") {
  Sweep(Fault::kTornWrite, false);
}
TEST_CASE("Storage: from the N-th on all writes are cut short by a full disk", "[crash][calls]") {
  Sweep(Fault::kTornWrite, true);
}

TEST_CASE("Compaction: the N-th call fails with EIO", "[crash][calls][compaction]") {
  Sweep(Fault::kIoError, GENERATE(false, true), Keeps::kNewestOfKey);
}
TEST_CASE("Compaction: the N-th call that needs room finds none", "[crash][calls][compaction]") {
  Sweep(Fault::kNoSpace, GENERATE(false, true), Keeps::kNewestOfKey);
}
TEST_CASE("Compaction: the N-th write is short", "[crash][calls][compaction]") {
  Sweep(Fault::kShortWrite, false, Keeps::kNewestOfKey);
}
TEST_CASE("Compaction: the N-th write is cut short by a full disk", "[crash][calls][compaction]") {
  Sweep(Fault::kTornWrite, false, Keeps::kNewestOfKey);
}

// ---- found by the above ----

TEST_CASE("Frontier: a disk that cannot read it is no reason to set it aside", "[crash][calls]") {
  const TempDir temp(MemoryRoot());
  REQUIRE(DataDir::Open(temp / "data").ok());
  bool was_read = false;
  for (int at = 1; !was_read; ++at) {
    faults::ArmFaults({.fault = Fault::kIoError, .at = at});
    const absl::StatusOr<std::unique_ptr<DataDir>> opened = DataDir::Open(temp / "data");
    const faults::FaultCount count = faults::DisarmFaults();
    REQUIRE(count.failed > 0);
    INFO(count.first);
    was_read = count.first.find("pread") == 0 && count.first.find("/frontier") != std::string::npos;
    if (was_read) CHECK(CodeOf(opened.status()) == ErrorCode::kStorageFailed);
    CHECK_FALSE(std::filesystem::exists(temp / "data/quarantine"));
  }
}

TEST_CASE("File: a sync that finds the disk full is as final as any that failed",
          "[crash][calls]") {
  const TempDir temp(MemoryRoot());
  const absl::StatusOr<File> file = File::Create(temp / "file");
  REQUIRE(file.ok());
  faults::ArmFaults({.fault = Fault::kNoSpace});
  CHECK(CodeOf(file->Sync()) == ErrorCode::kStorageFailed);
  CHECK(faults::DisarmFaults().failed == 1);
  CHECK(CodeOf(file->Sync()) == ErrorCode::kStorageFailed);
}

TEST_CASE("Manifest: one that cannot be read is not one that is there already", "[crash][calls]") {
  const TempDir temp(MemoryRoot());
  faults::ArmFaults({.fault = Fault::kIoError});
  const absl::Status created =
      Manifest::Create(temp.path(), {.topic = {}, .name = "orders", .partition = PartitionIndex(0)})
          .status();
  CHECK(faults::DisarmFaults().failed == 1);
  CHECK(CodeOf(created) == ErrorCode::kStorageFailed);
}

}  // namespace
}  // namespace cairn::storage
