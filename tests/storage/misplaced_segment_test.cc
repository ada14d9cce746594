// A segment's file in the place of another's that begins at the same offset and is as long: batches
// do not say whose they are.

#include <string>

#include "absl/strings/match.h"

#include "storage/repair.h"
#include "storage/verify.h"
#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

enum class Stop { kClean, kKill };

// A log of two sealed segments and one that is not, of 2 records a batch.
class TwoAlike {
 public:
  explicit TwoAlike(Stop stop) : fixture_({.segment_bytes = 1000, .continue_bytes_max = 1000}) {
    Fill(fixture_, kNow, stop);
    LogFixture other({.segment_bytes = 1000, .continue_bytes_max = 1000});
    Fill(other, kNow + 1, stop);
    for (const std::int64_t base : kBases) others_.push_back(ReadBack(other.LogFile(base)));
  }

  static constexpr std::int64_t kBases[] = {0, 6, 12};

  LogFixture& fixture() { return fixture_; }
  void Misplace(std::size_t segment) {
    REQUIRE(others_[segment].size() == ReadBack(fixture_.LogFile(kBases[segment])).size());
    WriteFile(fixture_.LogFile(kBases[segment]), others_[segment]);
  }

 private:
  static void Fill(LogFixture& log, Timestamp time, Stop stop) {
    for (int i = 0; i < 7; ++i) log.Append(2, 100, time);
    log.Sync();
    log.SealAll();
    log.Sync();
    if (stop == Stop::kClean) {
      log.StopCleanly();
    } else {
      log.Kill();
    }
  }

  LogFixture fixture_;
  std::vector<Bytes> others_;
};

}  // namespace

TEST_CASE("Log: another partition's segment of the same offset and length was served as its own",
          "[storage][damage]") {
  const Stop stop = GENERATE(Stop::kClean, Stop::kKill);
  const std::size_t segment = GENERATE(0u, 1u, 2u);
  TwoAlike logs(stop);
  logs.Misplace(segment);
  logs.fixture().Open();
  const Offset base(TwoAlike::kBases[segment]);
  absl::Status status;
  Offset end(0);
  const Bytes served = logs.fixture().ReadAll(Offset(0), 1 << 20, status);
  for (ByteView rest = served; !rest.empty();) {
    const auto batch = RecordBatchView::Parse(rest);
    REQUIRE(batch.ok());
    CHECK(batch->base_timestamp() == kNow);
    end = batch->next_offset();
    rest = rest.subspan(batch->size());
  }
  CHECK(end == base);
  const absl::Status damage = status.ok() ? logs.fixture().report().damage : status;
  INFO(damage.ToString());
  CHECK(absl::StrContains(damage.message(), "position 0: expected a batch of"));
  CHECK(absl::StrContains(damage.message(), "the file of another segment"));
}

TEST_CASE("Recovery: a segment of which nothing was durable is not believed for another's records",
          "[storage][recovery]") {
  LogFixture ours;
  LogFixture other;
  ours.Append(2, 100, kNow);
  other.Append(2, 100, kNow + 1);
  other.Sync();
  ours.Kill();
  other.Kill();
  const Bytes others = ReadBack(other.LogFile(0));
  WriteFile(ours.LogFile(0), others);
  ours.Open();
  CHECK(ours.report().damage.ok());
  CHECK(ours.log().log_end() == Offset(0));
  CHECK(ours.report().batches_cut == 1);
  CHECK(ours.ReadAll().empty());
}

TEST_CASE("Log: a segment goes by the batch that got in first, not by the one it was begun for",
          "[storage][log]") {
  LogFixture log;
  log.Append(2, 100, kNow);
  log.Sync();
  log.Kill();
  // As if the first had not arrived when the power was cut.
  WriteFile(log.LogFile(0), Bytes{});
  std::filesystem::remove(log.data() / "frontier");
  log.Open();
  REQUIRE(log.log().log_end() == Offset(0));
  log.Append(2, 100, kNow + 5);
  log.Sync();
  const Bytes whole = log.ReadAll();
  log.Crash();
  CHECK(log.report().damage.ok());
  CHECK(log.ReadAll() == whole);
}

TEST_CASE("Verify and repair: another partition's segment of the same offset and length is moved",
          "[storage][verify][repair]") {
  const Stop stop = GENERATE(Stop::kClean, Stop::kKill);
  const std::size_t segment = GENERATE(0u, 1u, 2u);
  TwoAlike logs(stop);
  logs.Misplace(segment);
  const Bytes misplaced = ReadBack(logs.fixture().LogFile(TwoAlike::kBases[segment]));
  const absl::StatusOr<VerifySummary> verified =
      VerifyDataDirectory(logs.fixture().data(), [](const Finding&) {});
  REQUIRE(verified.ok());
  CHECK(verified->damages == 1);
  {
    const auto repair = Repair::Open(logs.fixture().data());
    REQUIRE(repair.ok());
    const auto plan = (*repair)->Plan();
    REQUIRE(plan.ok());
    REQUIRE(plan->lost.size() == 1);
    CHECK(plan->lost[0].from == Offset(TwoAlike::kBases[segment]));
    CHECK(plan->lost[0].end == Offset(14));
    REQUIRE((*repair)->Execute(*plan).ok());
  }
  const std::string name = logs.fixture().LogFile(TwoAlike::kBases[segment]).filename();
  CHECK(ReadBack(logs.fixture().data() / "quarantine" / ("orders-0+" + name)) == misplaced);
  logs.fixture().Open();
  CHECK(logs.fixture().log().log_end() == Offset(TwoAlike::kBases[segment]));
  CHECK(logs.fixture().report().damage.ok());
}

}  // namespace cairn::storage
