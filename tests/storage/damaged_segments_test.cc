#include "storage/repair.h"
#include "storage/verify.h"
#include "tests/storage/file_size_limit.h"
#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

// Twelve records, each a batch, in segments of three. A bit of offset 4 flips at rest, and somebody
// meets it.
struct FoundDamage : LogFixture {
  explicit FoundDamage(bool sealed = true) : LogFixture({.segment_bytes = 600}) {
    for (int i = 0; i < 12; ++i) Append(1, 100);
    Sync();
    if (sealed) SealAll();
    Flip();
  }
  std::filesystem::path Memory() const { return directory() / "damaged"; }
  Segment& At(std::int64_t base) {
    for (const auto& segment : log().Segments()) {
      if (segment->base() == Offset(base)) return *segment;
    }
    throw std::out_of_range("no such segment");
  }
  void Flip() {
    Bytes bytes = ReadBack(LogFile(3));
    bytes[bytes.size() / 2 + 10] ^= std::byte{0x10};
    WriteFile(LogFile(3), bytes);
  }
  absl::Status Scrub() {
    const absl::Status found = At(3).Scrub([](std::int64_t) { return true; });
    log().NoticeDamage();
    CHECK(CodeOf(found) == ErrorCode::kPartitionOffline);
    CHECK(CodeOf(log().write_state()) == ErrorCode::kPartitionOffline);
    return found;
  }
  void ExpectOffline() {
    CHECK(absl::IsDataLoss(report().damage));
    CHECK(report().offline_from == Offset(4));
    Bytes batch = MakeBatch(1, 100);
    CHECK(CodeOf(log().Append(batch, kNow).status()) == ErrorCode::kPartitionOffline);
    ReadCursor cursor;
    const absl::StatusOr<LogRead> before = Read(Offset(3), Offset(4), 1, cursor);
    CHECK(before.ok());
    CHECK(before->next == Offset(4));
    CHECK(CodeOf(Read(Offset(4), Offset(12), 1, cursor).status()) == ErrorCode::kPartitionOffline);
  }
};

TEST_CASE("DamagedSegments: damage that was found at rest was forgotten at the next start",
          "[storage][damage]") {
  const bool stops_cleanly = GENERATE(true, false);
  FoundDamage orders;
  REQUIRE_FALSE(orders.Scrub().ok());
  for (int start = 0; start < 2; ++start) {
    stops_cleanly ? orders.Reopen() : orders.Crash();
    orders.ExpectOffline();
  }
}

TEST_CASE("DamagedSegments: damage in a complete segment that is not sealed was forgotten",
          "[storage][damage]") {
  FoundDamage orders(/*sealed=*/false);
  orders.Reopen();
  CHECK_FALSE(orders.At(3).Prepare(0).ok());
  orders.log().NoticeDamage();
  orders.Reopen();
  orders.ExpectOffline();
}

TEST_CASE("DamagedSegments: a segment that reads well again opens for writing",
          "[storage][damage]") {
  FoundDamage orders;
  REQUIRE_FALSE(orders.Scrub().ok());
  orders.StopCleanly();
  CHECK(std::filesystem::exists(orders.Memory()));
  orders.Flip();
  orders.Open();
  CHECK(orders.report().damage.ok());
  CHECK(orders.report().notes.size() == 1);
  CHECK(orders.Append(1) == Offset(12));
  CHECK_FALSE(std::filesystem::exists(orders.Memory()));
}

TEST_CASE("DamagedSegments: a repair removes the memory with the damage", "[storage][damage]") {
  FoundDamage orders;
  REQUIRE_FALSE(orders.Scrub().ok());
  orders.StopCleanly();
  {
    const auto repair = Repair::Open(orders.data());
    REQUIRE(repair.ok());
    const absl::StatusOr<RepairPlan> plan = (*repair)->Plan();
    REQUIRE(plan.ok());
    REQUIRE((*repair)->Execute(*plan).ok());
    CHECK((*repair)->Plan()->steps.empty());
  }
  CHECK_FALSE(std::filesystem::exists(orders.Memory()));
  orders.Open();
  CHECK(orders.report().damage.ok());
  CHECK(orders.Append(1) == Offset(4));
}

TEST_CASE("DamagedSegments: a memory that cannot be read makes every segment suspect",
          "[storage][damage]") {
  FoundDamage orders;
  REQUIRE_FALSE(orders.Scrub().ok());
  orders.StopCleanly();
  WriteFile(orders.Memory(), Bytes(3));
  orders.Open();
  orders.ExpectOffline();
}

TEST_CASE("DamagedSegments: what cannot be written down is said", "[storage][damage]") {
  FoundDamage orders;
  const FileSizeLimit limit(10);
  CHECK_THAT(std::string(orders.Scrub().message()),
             Catch::Contains("could not be noted") && Catch::Contains("position"));
}

}  // namespace
}  // namespace cairn::storage
