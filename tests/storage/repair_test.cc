#include "storage/repair.h"

#include <cstdlib>

#include "storage/internal_topics.h"
#include "storage/segment_name.h"
#include "storage/verify.h"
#include "tests/storage/compacted_log.h"

namespace cairn::storage {
namespace {

RepairPlan PlanFor(const std::filesystem::path& path) {
  const auto repair = Repair::Open(path);
  INFO(repair.status().ToString());
  REQUIRE(repair.ok());
  absl::StatusOr<RepairPlan> plan = (*repair)->Plan();
  INFO(plan.status().ToString());
  REQUIRE(plan.ok());
  return *std::move(plan);
}

RepairPlan RepairIt(const std::filesystem::path& path) {
  const auto repair = Repair::Open(path);
  REQUIRE(repair.ok());
  absl::StatusOr<RepairPlan> plan = (*repair)->Plan();
  INFO(plan.status().ToString());
  REQUIRE(plan.ok());
  const absl::Status done = (*repair)->Execute(*plan);
  INFO(done.ToString());
  REQUIRE(done.ok());
  return *std::move(plan);
}

std::int64_t DamageCount(const std::filesystem::path& path) {
  const absl::StatusOr<VerifySummary> summary = VerifyDataDirectory(path, [](const Finding& found) {
    if (found.severity == Finding::Severity::kDamage) {
      WARN(found.file << " at " << found.position << ": " << found.reason);
    }
  });
  REQUIRE(summary.ok());
  return summary->damages;
}

void Flip(const std::filesystem::path& path, std::size_t at) {
  Bytes bytes = ReadBack(path);
  REQUIRE(at < bytes.size());
  bytes[at] ^= std::byte{0x10};
  WriteFile(path, bytes);
}

// Without a catalog there would always be something to repair.
void AddCatalog(LogFixture& fixture) {
  RecoveryReport report;
  auto catalog = Log::Open(fixture.data_dir(), {kCatalogId, kCatalogName, PartitionIndex(0)}, {},
                           kNow, report);
  REQUIRE(catalog.ok());
  Bytes batch = MakeBatch(1, 10);
  REQUIRE((*catalog)->Append(batch, kNow).ok());
  const SyncPlan plan = (*catalog)->TakeUnsynced();
  REQUIRE(plan.Sync().ok());
  (*catalog)->MarkSynced(plan);
  const auto end = (*catalog)->CloseClean();
  REQUIRE(end.ok());
  REQUIRE(fixture.data_dir().frontier().Note({&**end, 1}).ok());
}

// Twelve records in segments of three, each a batch; and a clean stop.
struct Orders : LogFixture {
  Orders() : LogFixture({.segment_bytes = 600}) {
    for (int i = 0; i < 12; ++i) Append(1, 100);
    Sync();
    SealAll();
    whole = ReadAll();
    AddCatalog(*this);
    StopCleanly();
  }
  // Opens, expects what stood before `end`, and appends.
  void ExpectUpTo(std::int64_t end) {
    Open();
    INFO(report().damage.ToString());
    REQUIRE(report().damage.ok());
    AddCatalog(*this);
    REQUIRE(log().log_end() == Offset(end));
    const Bytes now = ReadAll();
    REQUIRE(now.size() <= whole.size());
    CHECK(std::equal(now.begin(), now.end(), whole.begin()));
    CHECK(Append(1, 100) == Offset(end));
    Sync();
    Reopen();
    CHECK(report().damage.ok());
    CHECK(log().log_end() == Offset(end + 1));
    StopCleanly();
    CHECK(DamageCount(data()) == 0);
  }
  Bytes whole;
};

TEST_CASE("Repair: of a sound directory there is nothing to do", "[storage][repair]") {
  Orders orders;
  const RepairPlan plan = PlanFor(orders.data());
  for (const RepairStep& step : plan.steps) UNSCOPED_INFO(step.entry << ": " << step.why);
  CHECK(plan.steps.empty());
  CHECK(plan.lost.empty());
}

TEST_CASE("Repair: refuses a directory that is in use", "[storage][repair]") {
  LogFixture fixture;
  const auto repair = Repair::Open(fixture.data());
  CHECK(absl::IsFailedPrecondition(repair.status()));
  CHECK(std::string(repair.status().message()).find("in use by process") != std::string::npos);
}

TEST_CASE("Repair: a damaged batch ends the log there, and what follows is kept in quarantine",
          "[storage][repair]") {
  Orders orders;
  const Bytes segment = ReadBack(orders.LogFile(3));
  Flip(orders.LogFile(3), segment.size() / 2 + 70);
  const RepairPlan plan = RepairIt(orders.data());
  REQUIRE(plan.lost.size() == 1);
  CHECK(plan.lost[0].end == Offset(12));
  CHECK(plan.lost[0].from == Offset(4));
  CHECK(
      std::filesystem::exists(orders.data() / "quarantine" / "orders-0+00000000000000000006.log"));
  CHECK(DamageCount(orders.data()) == 0);
  CHECK(PlanFor(orders.data()).steps.empty());
  orders.ExpectUpTo(plan.lost[0].from.value());
}

TEST_CASE(
    "Repair: a segment's file below the log start that never was this log's is found and moved",
    "[storage][repair]") {
  Orders orders;
  const Bytes foreign = ReadBack(orders.LogFile(3));
  orders.Open();
  REQUIRE(orders.Trim(Offset(6)).ok());
  orders.StopCleanly();
  REQUIRE(DamageCount(orders.data()) == 0);
  WriteFile(orders.LogFile(0), foreign);
  CHECK(DamageCount(orders.data()) == 1);
  const RepairPlan plan = RepairIt(orders.data());
  CHECK(plan.lost.empty());
  CHECK(ReadBack(orders.data() / "quarantine" / "orders-0+00000000000000000000.log") == foreign);
  CHECK(DamageCount(orders.data()) == 0);
  CHECK(PlanFor(orders.data()).steps.empty());
}

TEST_CASE(
    "Repair: a frontier that was cut between two entries was believed and written anew as it was",
    "[storage][repair]") {
  Orders orders;
  const std::filesystem::path path = orders.data() / "frontier";
  // The header, and the note of the first start.
  WriteFile(path, ByteView(ReadBack(path)).first(32 + 48));
  CHECK(DamageCount(orders.data()) > 0);
  const RepairPlan plan = RepairIt(orders.data());
  CHECK(plan.lost.empty());
  REQUIRE_FALSE(plan.steps.empty());
  CHECK(plan.steps.back().entry == "frontier");
  CHECK(plan.steps.back().why == "it has lost entries at its end");
  CHECK(DamageCount(orders.data()) == 0);
  CHECK(PlanFor(orders.data()).steps.empty());
  orders.ExpectUpTo(12);
}

TEST_CASE("Repair: segments that a manifest cut short no longer listed were lost",
          "[storage][repair]") {
  Orders orders;
  const bool was_clean = GENERATE(true, false);
  if (!was_clean) {
    orders.Open();
    orders.Append(1, 100);
    orders.Sync();
    orders.whole = orders.ReadAll();
    orders.Kill();
  }
  const std::int64_t end = was_clean ? 12 : 13;
  const std::filesystem::path path = orders.directory() / "manifest";
  const Bytes whole = ReadBack(path);
  // Between two entries or within one, up to where the last segment is not listed any more.
  const std::size_t size = GENERATE(40u, 60u, 120u, 150u);
  WriteFile(path, ByteView(whole).first(size));
  INFO("the manifest's first " << size << " bytes of " << whole.size());
  // However often it is started before, for the first start cannot tell the second what it saw.
  const int starts = GENERATE(0, 2);
  for (int i = 0; i < starts; ++i) {
    orders.Open();
    CHECK_FALSE(orders.report().damage.ok());
    CHECK(orders.log().log_end() == Offset(0));
    orders.StopCleanly();
  }
  CHECK_FALSE(std::filesystem::exists(orders.data() / "quarantine"));
  CHECK(DamageCount(orders.data()) > 0);
  const RepairPlan plan = RepairIt(orders.data());
  CHECK(plan.lost.empty());
  CHECK(DamageCount(orders.data()) == 0);
  orders.ExpectUpTo(end);
}

TEST_CASE("Repair: a directory under another's name was mended as what its name said",
          "[storage][repair]") {
  Orders orders;
  std::filesystem::rename(orders.directory(), orders.data() / "bills-0");
  const RepairPlan plan = PlanFor(orders.data());
  for (const RepairStep& step : plan.steps) CHECK(step.entry.find("bills-0") == std::string::npos);
  CHECK(std::any_of(plan.remarks.begin(), plan.remarks.end(), [](const std::string& remark) {
    return remark.find("bills-0: left as it is, because its files say that it is orders-0") == 0;
  }));
  std::filesystem::rename(orders.data() / "bills-0", orders.directory());
  CHECK(PlanFor(orders.data()).steps.empty());
  orders.ExpectUpTo(12);
}

TEST_CASE("Repair: whoever saw what was lost is told by a higher epoch", "[storage][repair]") {
  Orders orders;
  orders.Open();
  const LeaderEpoch seen = orders.log().EpochBefore(Offset(12));
  orders.StopCleanly();
  std::filesystem::remove(orders.LogFile(6));
  RepairIt(orders.data());
  orders.Open();
  REQUIRE(orders.log().log_end() == Offset(6));
  CHECK(orders.log().leader_epoch() > seen);
  CHECK(orders.log().EndOfEpoch(seen) == Offset(6));
}

TEST_CASE("Repair: each file lost, empty, cut or of another partition is mended",
          "[storage][repair]") {
  Orders orders;
  LogFixture other({.segment_bytes = 500});
  for (int i = 0; i < 7; ++i) other.Append(2, 120);
  other.Sync();
  other.SealAll();
  other.StopCleanly();
  const std::vector<std::string> files{"format",
                                       "frontier",
                                       "orders-0/manifest",
                                       "orders-0/partition.meta",
                                       "orders-0/producers.snapshot",
                                       "orders-0/00000000000000000000.log",
                                       "orders-0/00000000000000000003.log",
                                       "orders-0/00000000000000000009.log",
                                       "orders-0/00000000000000000003.index"};
  const std::string file = files[static_cast<std::size_t>(GENERATE(range(0, 9)))];
  const int how = GENERATE(range(0, 5));
  INFO(file << ", damage " << how);
  const std::filesystem::path path = orders.data() / file;
  if (!std::filesystem::exists(path)) return;
  const Bytes bytes = ReadBack(path);
  if (how == 0) std::filesystem::remove(path);
  if (how == 1) WriteFile(path, {});
  if (how == 2) WriteFile(path, ByteView(bytes).first(bytes.size() / 2));
  if (how == 3) Flip(path, bytes.size() - 7);
  if (how == 4) {
    if (!std::filesystem::exists(other.data() / file)) return;
    WriteFile(path, ReadBack(other.data() / file));
  }
  const RepairPlan plan = RepairIt(orders.data());
  CHECK(DamageCount(orders.data()) == 0);
  const RepairPlan again = PlanFor(orders.data());
  for (const RepairStep& step : again.steps) UNSCOPED_INFO("again " << step.entry << step.why);
  CHECK(again.steps.empty());
  std::int64_t end = 12;
  for (const LostRange& lost : plan.lost) end = lost.from.value();
  orders.ExpectUpTo(end);
}

TEST_CASE("Repair: interrupted at any step, the next one completes it", "[storage][repair]") {
  for (std::size_t steps = 0;; ++steps) {
    Orders orders;
    Flip(orders.LogFile(3), 80);
    std::filesystem::remove(orders.directory() / "partition.meta");
    {
      const auto repair = Repair::Open(orders.data());
      REQUIRE(repair.ok());
      RepairPlan plan = *(*repair)->Plan();
      if (plan.steps.size() < steps) break;
      plan.steps.resize(steps);
      REQUIRE((*repair)->Execute(plan).ok());
    }
    const RepairPlan rest = RepairIt(orders.data());
    INFO(steps << " steps, then " << rest.steps.size());
    CHECK(PlanFor(orders.data()).steps.empty());
    orders.ExpectUpTo(3);
  }
}

TEST_CASE("Repair: a lost directory comes back empty behind its offsets", "[storage][repair]") {
  LogFixture fixture;
  fixture.Append(5);
  fixture.StopCleanly();
  std::filesystem::rename(fixture.directory(), fixture.data() / "kept");
  // Nothing tells the topic's name.
  const RepairPlan plan = PlanFor(fixture.data());
  CHECK(plan.steps.empty());
  REQUIRE(plan.remarks.size() == 1);
  CHECK(plan.remarks[0].find("put it back") != std::string::npos);
}

TEST_CASE("Repair: a crash's torn tail is left to the next start", "[storage][repair]") {
  LogFixture fixture;
  AddCatalog(fixture);
  fixture.Append(3);
  fixture.Sync();
  fixture.Append(3);
  fixture.Kill();
  CHECK(PlanFor(fixture.data()).steps.empty());
  fixture.Open();
  CHECK(fixture.log().log_end() == Offset(6));
}

// Twelve keys, cleaned into two segments at least, and a clean stop.
struct Cleaned : CompactedLog {
  Cleaned() {
    for (int i = 0; i < 24; ++i) {
      Send("key " + std::to_string(i % 12), std::string(100, static_cast<char>('a' + i)));
    }
    SealEverything();
    CleanAll();
    const std::vector<ManifestSegment> segments = Listed();
    REQUIRE(segments.size() >= 2);
    for (const ManifestSegment& segment : segments) {
      REQUIRE(segment.generation > 0);
      REQUIRE(segment.clean_end == segment.sealed->next_offset);
    }
    before = Records();
    StopCleanly();
  }
  std::vector<ManifestSegment> Listed() const {
    const auto manifest = Manifest::Read(directory());
    REQUIRE(manifest.ok());
    return manifest->state.segments;
  }
  std::filesystem::path FileOf(const ManifestSegment& segment) const {
    return directory() / LogFileName(segment.base, segment.generation);
  }
  // The records up to `end` are there, a new one goes behind them, and cleaning goes on.
  void ExpectUpTo(Offset end) {
    CHECK(DamageCount(data()) == 0);
    CHECK(PlanFor(data()).steps.empty());
    Open();
    INFO(report().damage.ToString());
    REQUIRE(report().damage.ok());
    REQUIRE(log().log_end() == end);
    std::erase_if(before, [&](const Seen& seen) { return seen.offset >= end; });
    CHECK(Records() == before);
    CHECK(Send("key 0", "newer") == end);
    SealEverything();
    CleanAll();
    CHECK(Values()["key 0"] == "newer");
    StopCleanly();
    CHECK(DamageCount(data()) == 0);
  }
  std::vector<Seen> before;
};

TEST_CASE("Repair: a cleaned segment that is cut is clean no further than it reaches",
          "[storage][repair]") {
  Cleaned log;
  const std::vector<ManifestSegment> segments = log.Listed();
  const std::size_t which = GENERATE(0, 1);
  const std::filesystem::path file = log.FileOf(segments[which]);
  Flip(file, static_cast<std::size_t>(segments[which].sealed->length) - 10);
  const RepairPlan plan = RepairIt(log.data());
  REQUIRE(plan.lost.size() == 1);
  CHECK(plan.lost[0].from > segments[which].base);
  CHECK(plan.lost[0].from < segments[which].sealed->next_offset);
  log.ExpectUpTo(plan.lost[0].from);
}

TEST_CASE("Repair: a manifest made anew lists cleaned segments wherever they begin",
          "[storage][repair]") {
  Cleaned log;
  const Offset end = log.Listed().back().sealed->next_offset;
  std::filesystem::remove(log.directory() / kManifestFileName);
  CHECK(RepairIt(log.data()).lost.empty());
  log.ExpectUpTo(end);
}

TEST_CASE("Repair: a manifest made anew ends before a cleaned segment with a damaged beginning",
          "[storage][repair]") {
  Cleaned log;
  const ManifestSegment last = log.Listed().back();
  std::filesystem::remove(log.directory() / kManifestFileName);
  const bool has_frontier = GENERATE(true, false);
  if (!has_frontier) std::filesystem::remove(log.data() / "frontier");
  INFO((has_frontier ? "with" : "without") << " its frontier");
  Flip(log.FileOf(last), 16);  // the first batch's magic
  RepairIt(log.data());
  log.ExpectUpTo(last.base);
}

}  // namespace
}  // namespace cairn::storage
