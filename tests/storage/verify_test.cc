#include "storage/verify.h"

#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

struct Verified {
  VerifySummary summary;
  std::vector<Finding> findings;
};

Verified Verify(const std::filesystem::path& path) {
  Verified verified;
  const absl::StatusOr<VerifySummary> summary = VerifyDataDirectory(
      path, [&](const Finding& finding) { verified.findings.push_back(finding); });
  INFO(summary.status().ToString());
  REQUIRE(summary.ok());
  verified.summary = *summary;
  for (const Finding& finding : verified.findings) {
    UNSCOPED_INFO(finding.file << " at " << finding.position << ": " << finding.reason);
  }
  return verified;
}

void Seal(LogFixture& fixture) {
  for (int i = 0; i < 6; ++i) fixture.Append(1, 100);
  fixture.Sync();
  fixture.SealAll();
}

TEST_CASE("Verify: a sound directory has no findings", "[storage][verify]") {
  LogFixture fixture({.segment_bytes = 400});
  Seal(fixture);
  Verified running = Verify(fixture.data());
  CHECK(running.summary.damages == 0);
  fixture.StopCleanly();
  Verified verified = Verify(fixture.data());
  CHECK(verified.summary.damages == 0);
  CHECK(verified.summary.notes == 0);
  CHECK(verified.summary.partitions == 1);
  CHECK(verified.summary.batches == 6);
  CHECK(Verify(fixture.directory()).summary.batches == 6);
}

TEST_CASE("Verify: after a crash what is beyond the frontier is no damage", "[storage][verify]") {
  LogFixture fixture;
  fixture.Append(3);
  fixture.Sync();
  fixture.Append(3);
  fixture.Kill();
  const Verified verified = Verify(fixture.data());
  CHECK(verified.summary.damages == 0);
  CHECK(verified.summary.batches == 1);
}

TEST_CASE("Verify: a flipped byte anywhere is found", "[storage][verify]") {
  LogFixture fixture({.segment_bytes = 400});
  Seal(fixture);
  fixture.StopCleanly();
  const std::vector<std::filesystem::path> files{
      fixture.LogFile(0), fixture.LogFile(4), fixture.directory() / kManifestFileName,
      fixture.directory() / "partition.meta", fixture.data() / "format"};
  const std::filesystem::path path = files[GENERATE(0u, 1u, 2u, 3u, 4u)];
  const Bytes whole = ReadBack(path);
  REQUIRE(whole.size() >= 40);
  ForEveryFlip(whole, [&](const Bytes& damaged, std::size_t at) {
    WriteFile(path, damaged);
    const absl::StatusOr<VerifySummary> summary =
        VerifyDataDirectory(fixture.data(), [&](const Finding& finding) {
          if (finding.severity != Finding::Severity::kDamage) return;
          if (path.extension() == ".log" && finding.file == path) {
            CHECK(finding.position <= static_cast<std::int64_t>(at));
          }
        });
    INFO(path << ": byte " << at << " flipped");
    CHECK((!summary.ok() || summary->damages > 0));
  });
  WriteFile(path, whole);
  CHECK(Verify(fixture.data()).summary.damages == 0);
}

TEST_CASE("Verify: a cut, lost or grown file is found", "[storage][verify]") {
  LogFixture fixture({.segment_bytes = 400});
  Seal(fixture);
  fixture.StopCleanly();
  const std::filesystem::path path = fixture.LogFile(GENERATE(0, 4));
  const Bytes whole = ReadBack(path);
  Bytes changed = whole;
  changed.pop_back();
  WriteFile(path, changed);
  CHECK(Verify(fixture.data()).summary.damages > 0);
  changed = whole;
  changed.push_back(std::byte{0});
  WriteFile(path, changed);
  CHECK(Verify(fixture.data()).summary.damages > 0);
  std::filesystem::remove(path);
  CHECK(Verify(fixture.data()).summary.damages > 0);
}

TEST_CASE("Verify: derived files are only noted", "[storage][verify]") {
  LogFixture fixture({.segment_bytes = 400});
  Seal(fixture);
  fixture.StopCleanly();
  Bytes index = ReadBack(fixture.IndexFile(0));
  index[index.size() / 2] ^= std::byte{1};
  WriteFile(fixture.IndexFile(0), index);
  WriteFile(fixture.directory() / kProducerSnapshotName, AsBytes("nonsense"));
  WriteFile(fixture.directory() / "notes.txt", AsBytes("hello"));
  const Verified verified = Verify(fixture.data());
  CHECK(verified.summary.damages == 0);
  CHECK(verified.summary.notes == 3);
}

TEST_CASE("Verify: a frontier cut between two entries is found", "[storage][verify]") {
  LogFixture fixture({.segment_bytes = 400});
  Seal(fixture);
  fixture.StopCleanly();
  const std::filesystem::path path = fixture.data() / "frontier";
  const Bytes whole = ReadBack(path);
  // Nothing; a part of its header; the header alone; with the note of the start; and one more.
  for (const std::size_t size : {0u, 8u, 32u, 80u, 128u}) {
    WriteFile(path, ByteView(whole).first(size));
    INFO("the frontier's first " << size << " bytes of " << whole.size());
    bool named = false;
    const absl::StatusOr<VerifySummary> summary =
        VerifyDataDirectory(fixture.data(), [&](const Finding& finding) {
          named |= finding.file == path && finding.severity == Finding::Severity::kDamage;
        });
    CHECK(summary->damages > 0);
    CHECK(named);
  }
}

TEST_CASE("Verify: files of another partition are found, and where they stand",
          "[storage][verify]") {
  LogFixture fixture({.segment_bytes = 400});
  Seal(fixture);
  fixture.StopCleanly();
  LogFixture other({.segment_bytes = 500});
  for (int i = 0; i < 7; ++i) other.Append(2, 120);
  other.Sync();
  other.SealAll();
  other.StopCleanly();
  const std::string name = GENERATE("manifest", "00000000000000000000.log");
  std::filesystem::copy_file(other.directory() / name, fixture.directory() / name,
                             std::filesystem::copy_options::overwrite_existing);
  CHECK(Verify(fixture.data()).summary.damages > 0);
  CHECK(Verify(other.data()).summary.damages == 0);
  std::filesystem::rename(other.LogFile(0), other.LogFile(9000));
  CHECK(Verify(other.data()).summary.damages > 1);
}

TEST_CASE("Verify: the directory of a partition twice, and a lost catalog", "[storage][verify]") {
  LogFixture fixture;
  fixture.Append(3);
  fixture.StopCleanly();
  CHECK(Verify(fixture.data()).summary.damages == 0);
  std::filesystem::copy(fixture.directory(), fixture.data() / "orders-0.copy");
  std::filesystem::rename(fixture.data() / "orders-0.copy", fixture.data() / "other-0");
  CHECK(Verify(fixture.data()).summary.damages >= 2);
}

TEST_CASE("Verify: a walk gives every batch with its place", "[storage][verify]") {
  LogFixture fixture({.segment_bytes = 400});
  Seal(fixture);
  std::int64_t next = 0;
  const absl::Status walked = WalkBatches(
      fixture.directory(),
      [&](const std::filesystem::path& file, std::int64_t position, const RecordBatchView& batch) {
        CHECK(batch.base_offset() == Offset(next));
        const Bytes bytes = ReadBack(file);
        CHECK(RecordBatchView::Parse(ByteView(bytes).subspan(static_cast<std::size_t>(position)))
                  ->base_offset() == Offset(next));
        ++next;
        return next < 5;
      });
  CHECK(walked.ok());
  CHECK(next == 5);
  CHECK(absl::IsNotFound(WalkBatches(fixture.data() / "none-0", {})));
}

}  // namespace
}  // namespace cairn::storage
