#include "tests/storage/file_size_limit.h"
#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

// What survives must be whole batches from the beginning; gives how many bytes.
std::size_t CheckPrefix(const Bytes& survived, const Bytes& whole) {
  REQUIRE(survived.size() <= whole.size());
  REQUIRE(std::equal(survived.begin(), survived.end(), whole.begin()));
  return survived.size();
}

std::filesystem::path CopyOf(const std::filesystem::path& data, const TempDir& to) {
  const std::filesystem::path copy = to.path() / "copy";
  std::filesystem::remove_all(copy);
  std::filesystem::copy(data, copy, std::filesystem::copy_options::recursive);
  return copy;
}

struct Outcome {
  RecoveryReport report;
  Bytes survived;
  absl::Status read_status;
  Offset log_end;
};

// Opens the log in a copy of a data directory and reads all that it gives.
Outcome OpenAndRead(const std::filesystem::path& data) {
  Outcome outcome;
  auto data_dir = DataDir::Open(data);
  REQUIRE(data_dir.ok());
  auto log = Log::Open(**data_dir, LogFixture::Identity(), {}, kNow, outcome.report);
  INFO(log.status().ToString());
  REQUIRE(log.ok());
  outcome.log_end = (*log)->log_end();
  ReadCursor cursor;
  Offset from = (*log)->log_start();
  for (int i = 0; i < 1000; ++i) {
    if (from >= (*log)->log_end()) break;
    auto read = (*log)->Read(from, (*log)->log_end(), 1 << 20, cursor);
    outcome.read_status = read.status();
    if (!read.ok()) break;
    if (read->cold != nullptr) {
      (void)read->cold->Prepare(read->cold_position);
      continue;
    }
    AppendBytes(outcome.survived, read->view.bytes);
    from = read->next;
  }
  // A log that found nothing wrong goes on.
  if (outcome.report.damage.ok() && outcome.read_status.ok()) {
    Bytes batch = MakeBatch(2, 10);
    const absl::StatusOr<Offset> base = (*log)->Append(batch, kNow);
    INFO(base.status().ToString());
    REQUIRE(base.ok());
    REQUIRE(*base == outcome.log_end);
  }
  return outcome;
}

bool IsDamage(const Outcome& outcome) {
  return !outcome.report.damage.ok() || CodeOf(outcome.read_status) == ErrorCode::kPartitionOffline;
}

// Three batches, of which `durable` are below the frontier.
struct ThreeBatches {
  explicit ThreeBatches(int durable) {
    for (int i = 0; i < 3; ++i) {
      if (i == durable) fixture.Sync();
      Bytes batch = MakeBatch(2, 20);
      fixture.AppendBytes(batch);
      AppendBytes(whole, batch);
      ends.push_back(whole.size());
    }
    if (durable == 3) fixture.Sync();
    floor = durable == 0 ? 0 : ends[static_cast<std::size_t>(durable - 1)];
    fixture.Kill();
  }
  LogFixture fixture;
  Bytes whole;
  std::vector<std::size_t> ends;
  std::size_t floor = 0;
};

TEST_CASE("Recovery: after a crash every cut of the log leaves whole batches",
          "[storage][recovery]") {
  const int durable = GENERATE(0, 1, 2, 3);
  ThreeBatches log(durable);
  TempDir temp(MemoryRoot());
  ForEveryCut(log.whole, [&](const Bytes& cut, std::size_t length) {
    const std::filesystem::path copy = CopyOf(log.fixture.data(), temp);
    WriteFile(copy / "orders-0" / "00000000000000000000.log", cut);
    const Outcome outcome = OpenAndRead(copy);
    const std::size_t survived = CheckPrefix(outcome.survived, log.whole);
    std::size_t wanted = 0;
    for (const std::size_t end : log.ends) {
      if (end <= length) wanted = end;
    }
    INFO("cut to " << length << " bytes, durable to " << log.floor);
    CHECK(survived == wanted);
    CHECK(outcome.report.damage.ok() == (length >= log.floor));
    if (length >= log.floor) {
      // Zeros at the end of what is cut do not count: they may never have been written.
      const auto torn = static_cast<std::int64_t>(length - wanted);
      CHECK(outcome.report.bytes_cut <= torn);
      CHECK(outcome.report.bytes_cut >= torn - 16);
    }
  });
}

TEST_CASE("Recovery: after a crash every flipped byte is damage or an unharmed prefix",
          "[storage][recovery]") {
  const int durable = GENERATE(0, 1, 3);
  ThreeBatches log(durable);
  TempDir temp(MemoryRoot());
  ForEveryFlip(log.whole, [&](const Bytes& damaged, std::size_t at) {
    const std::filesystem::path copy = CopyOf(log.fixture.data(), temp);
    WriteFile(copy / "orders-0" / "00000000000000000000.log", damaged);
    const Outcome outcome = OpenAndRead(copy);
    const std::size_t survived = CheckPrefix(outcome.survived, log.whole);
    INFO("byte " << at << " flipped, durable to " << log.floor);
    CHECK(survived <= at);
    if (at < log.floor) {
      // Found at once (in the headers that producers are rebuilt from) or when read; never cut.
      CHECK(IsDamage(outcome));
      CHECK(std::filesystem::file_size(copy / "orders-0" / "00000000000000000000.log") >=
            log.floor);
    } else {
      CHECK(outcome.report.damage.ok());
      CHECK(outcome.report.bytes_cut > 0);
      CHECK(!std::filesystem::is_empty(copy / "quarantine"));
    }
  });
}

TEST_CASE("Recovery: after a clean stop every cut or flip is damage", "[storage][recovery]") {
  LogFixture fixture;
  for (int i = 0; i < 3; ++i) fixture.Append(2);
  const Bytes whole = fixture.ReadAll();
  fixture.StopCleanly();
  REQUIRE(ReadBack(fixture.LogFile(0)) == whole);
  TempDir temp(MemoryRoot());
  ForEveryCut(whole, [&](const Bytes& cut, std::size_t) {
    const std::filesystem::path copy = CopyOf(fixture.data(), temp);
    WriteFile(copy / "orders-0" / "00000000000000000000.log", cut);
    const Outcome outcome = OpenAndRead(copy);
    CheckPrefix(outcome.survived, whole);
    CHECK(!outcome.report.damage.ok());
    CHECK(std::filesystem::file_size(copy / "orders-0" / "00000000000000000000.log") == cut.size());
  });
  ForEveryFlip(whole, [&](const Bytes& damaged, std::size_t at) {
    const std::filesystem::path copy = CopyOf(fixture.data(), temp);
    WriteFile(copy / "orders-0" / "00000000000000000000.log", damaged);
    const Outcome outcome = OpenAndRead(copy);
    CHECK(CheckPrefix(outcome.survived, whole) <= at);
    CHECK(IsDamage(outcome));
  });
}

TEST_CASE("Recovery: the index is derived, whatever stands in it", "[storage][recovery]") {
  LogFixture fixture({.index_interval_bytes = 100});
  for (int i = 0; i < 8; ++i) fixture.Append(2, 60);
  const Bytes whole = fixture.ReadAll();
  fixture.StopCleanly();
  const Bytes index = ReadBack(fixture.IndexFile(0));
  REQUIRE(index.size() > 100);
  TempDir temp(MemoryRoot());
  const auto check = [&](const Bytes& odd, std::size_t) {
    const std::filesystem::path copy = CopyOf(fixture.data(), temp);
    WriteFile(copy / "orders-0" / "00000000000000000000.index", odd);
    const Outcome outcome = OpenAndRead(copy);
    CHECK(outcome.survived == whole);
  };
  ForEveryCut(index, check);
  ForEveryFlip(index, check);
}

TEST_CASE("Recovery: zeros behind the end are no torn tail", "[storage][recovery]") {
  LogFixture fixture;
  fixture.Append(3);
  fixture.Sync();
  fixture.Append(3);
  const Bytes all = fixture.ReadAll();
  REQUIRE(std::filesystem::file_size(fixture.LogFile(0)) > all.size());
  fixture.Crash();
  CHECK(fixture.report().bytes_cut == 0);
  CHECK(fixture.report().damage.ok());
  CHECK(fixture.ReadAll() == all);
  fixture.StopCleanly();
  CHECK(std::filesystem::file_size(fixture.LogFile(0)) == all.size());
}

TEST_CASE("Recovery: whole batches behind a torn one are counted and saved, not served",
          "[storage][recovery]") {
  ThreeBatches log(1);
  Bytes file = log.whole;
  file[log.ends[0] + 70] ^= std::byte{1};
  WriteFile(log.fixture.LogFile(0), file);
  log.fixture.Open();
  CHECK(log.fixture.report().batches_cut == 1);
  CHECK(log.fixture.report().bytes_cut ==
        static_cast<std::int64_t>(log.whole.size() - log.ends[0]));
  CHECK(log.fixture.log().log_end() == Offset(2));
  CHECK(log.fixture.log().leader_epoch() == LeaderEpoch(1));
  CHECK(log.fixture.Append(1) == Offset(2));
}

TEST_CASE("Recovery: without a frontier only a tail that nothing follows is cut",
          "[storage][recovery]") {
  const int broken = GENERATE(1, 2);
  ThreeBatches log(3);
  Bytes file = log.whole;
  file[log.ends[static_cast<std::size_t>(broken - 1)] + 70] ^= std::byte{1};
  WriteFile(log.fixture.LogFile(0), file);
  Bytes frontier = ReadBack(log.fixture.data() / "frontier");
  frontier[0] ^= std::byte{1};
  WriteFile(log.fixture.data() / "frontier", frontier);
  log.fixture.Open();
  REQUIRE(!log.fixture.data_dir().frontier_damage().ok());
  CHECK(log.fixture.report().damage.ok() == (broken == 2));
  CHECK(log.fixture.log().log_end() == Offset(broken * 2));
  CHECK(log.fixture.ReadAll().size() == log.ends[static_cast<std::size_t>(broken - 1)]);
}

TEST_CASE("Recovery: a manifest that forgot a reopening takes no durable records with it",
          "[storage][recovery]") {
  LogFixture fixture;
  fixture.options().continue_bytes_max = 0;
  fixture.Append(1, 300);
  fixture.Reopen();
  fixture.Sync();
  fixture.SealAll();  // too large to be continued, so sealed
  fixture.options().continue_bytes_max = 1 << 20;
  fixture.Reopen();
  const Bytes manifest = ReadBack(fixture.directory() / "manifest");
  fixture.Append(1, 300);  // reopens it
  fixture.Sync();
  fixture.Kill();
  const Bytes log = ReadBack(fixture.LogFile(0));
  WriteFile(fixture.directory() / "manifest", manifest);
  fixture.Open();
  CHECK(!fixture.report().damage.ok());
  CHECK(fixture.report().offline_from == Offset(1));
  CHECK(ReadBack(fixture.LogFile(0)) == log);
}

TEST_CASE("Recovery: several unsealed segments in a row", "[storage][recovery]") {
  LogFixture fixture({.segment_bytes = 1000});
  for (int i = 0; i < 3; ++i) fixture.Append(1, 300);
  fixture.Sync();
  for (int i = 0; i < 9; ++i) fixture.Append(1, 300);
  REQUIRE(fixture.log().segment_count() >= 4);
  const Bytes all = fixture.ReadAll();
  fixture.Crash();
  CHECK(fixture.report().damage.ok());
  CHECK(fixture.ReadAll() == all);
  CHECK(fixture.log().log_end() == Offset(12));
  fixture.Sync();
  fixture.SealAll();
  fixture.Crash();
  CHECK(fixture.ReadAll() == all);
}

TEST_CASE("Recovery: durable segments that waited to be sealed were read whole after a kill",
          "[storage][recovery]") {
  LogFixture fixture({.segment_bytes = 1000});
  for (int i = 0; i < 12; ++i) fixture.Append(1, 300);
  fixture.Sync();
  REQUIRE(fixture.log().segment_count() >= 4);
  const std::int64_t second = fixture.log().Segments()[1]->base().value();
  const Bytes all = fixture.ReadAll();
  fixture.Kill();
  Bytes file = ReadBack(fixture.LogFile(second));
  file[kBatchHeaderBytes + 10] ^= std::byte{1};
  WriteFile(fixture.LogFile(second), file);
  fixture.Open();
  // Nothing in it can be torn, so a start only looks for its end. Who reads the record finds it.
  CHECK(fixture.report().damage.ok());
  CHECK(fixture.log().log_end() == Offset(12));
  absl::Status status;
  const Bytes before = fixture.ReadAll(Offset(0), 1, status);
  CHECK(CodeOf(status) == ErrorCode::kPartitionOffline);
  CHECK(std::equal(before.begin(), before.end(), all.begin()));
  CHECK(CodeOf(fixture.log().write_state()) == ErrorCode::kPartitionOffline);
}

TEST_CASE("Recovery: a durable segment that waited to be sealed and lost its end is damage",
          "[storage][recovery]") {
  LogFixture fixture({.segment_bytes = 1000});
  for (int i = 0; i < 12; ++i) fixture.Append(1, 300);
  fixture.Sync();
  const auto second = fixture.log().Segments()[1];
  fixture.Kill();
  Bytes file = ReadBack(fixture.LogFile(second->base().value()));
  const auto end = static_cast<std::size_t>(second->length());
  // In its last batch: cut short, or zeros where its header was.
  if (GENERATE(true, false)) {
    file.resize(end - 1);
  } else {
    std::fill(file.begin() + second->length() / 2, file.end(), std::byte{0});
  }
  WriteFile(fixture.LogFile(second->base().value()), file);
  fixture.Open();
  CHECK_FALSE(fixture.report().damage.ok());
  CHECK(fixture.report().offline_from < second->next_offset());
  CHECK(fixture.report().offline_from > second->base());
  CHECK(ReadBack(fixture.LogFile(second->base().value())) == file);
}

TEST_CASE("Recovery: a torn segment takes the later ones with it", "[storage][recovery]") {
  LogFixture fixture({.segment_bytes = 1000});
  for (int i = 0; i < 3; ++i) fixture.Append(1, 300);
  fixture.Sync();
  for (int i = 0; i < 9; ++i) fixture.Append(1, 300);
  const std::int64_t second = fixture.log().Segments()[2]->base().value();
  fixture.Kill();
  Bytes file = ReadBack(fixture.LogFile(second));
  file[100] ^= std::byte{1};
  WriteFile(fixture.LogFile(second), file);
  fixture.Open();
  CHECK(fixture.report().damage.ok());
  CHECK(fixture.log().log_end() == Offset(second));
  CHECK(fixture.log().segment_count() == 2);
  CHECK(fixture.Append(1) == Offset(second));
  const Bytes all = fixture.ReadAll();
  fixture.Crash();
  CHECK(fixture.ReadAll() == all);
}

TEST_CASE("Recovery: damage in an older segment serves what stands before it",
          "[storage][recovery]") {
  LogFixture fixture({.segment_bytes = 1000});
  for (int i = 0; i < 12; ++i) fixture.Append(1, 300);
  fixture.Sync();
  fixture.SealAll();
  const std::int64_t second = fixture.log().Segments()[1]->base().value();
  fixture.StopCleanly();
  Bytes file = ReadBack(fixture.LogFile(second));
  file[100] ^= std::byte{1};
  WriteFile(fixture.LogFile(second), file);
  fixture.Open();
  CHECK(fixture.report().damage.ok());  // nobody has read it yet
  absl::Status status;
  const Bytes before = fixture.ReadAll(Offset(0), 1 << 20, status);
  CHECK(!before.empty());
  CHECK(CodeOf(status) == ErrorCode::kPartitionOffline);
  CHECK(std::string(status.message()).find("position 0") != std::string::npos);
  CHECK(CodeOf(fixture.log().write_state()) == ErrorCode::kPartitionOffline);
  Bytes batch = MakeBatch(1, 1);
  CHECK(CodeOf(fixture.log().Append(batch, kNow).status()) == ErrorCode::kPartitionOffline);
  CHECK(fixture.ReadAll(Offset(0), 1, status) == before);
  ReadCursor cursor;
  CHECK(CodeOf(fixture.Read(Offset(11), Offset(12), 1, cursor).status()) ==
        ErrorCode::kPartitionOffline);
}

TEST_CASE("Recovery: a lost file or manifest is damage, not an empty log", "[storage][recovery]") {
  LogFixture fixture;
  fixture.Append(5);
  fixture.Sync();
  const bool clean = GENERATE(false, true);
  if (clean) {
    fixture.StopCleanly();
  } else {
    fixture.Kill();
  }
  std::filesystem::remove(GENERATE(true, false) ? fixture.LogFile(0)
                                                : fixture.directory() / kManifestFileName);
  fixture.Open();
  CHECK(!fixture.report().damage.ok());
  Bytes batch = MakeBatch(1, 1);
  CHECK(CodeOf(fixture.log().Append(batch, kNow).status()) == ErrorCode::kPartitionOffline);
  ReadCursor cursor;
  CHECK(CodeOf(fixture.log().Read(Offset(0), Offset(5), 1, cursor).status()) ==
        ErrorCode::kPartitionOffline);
}

TEST_CASE("Recovery: another topic's files are refused", "[storage][recovery]") {
  LogFixture fixture;
  fixture.Append(5);
  fixture.Sync();
  fixture.StopCleanly();
  auto data_dir = DataDir::Open(fixture.data());
  REQUIRE(data_dir.ok());
  LogIdentity other = LogFixture::Identity();
  other.topic = IdOf(99);
  RecoveryReport report;
  CHECK(absl::IsFailedPrecondition(Log::Open(**data_dir, other, {}, kNow, report).status()));
}

// What a power cut leaves of a log whose files were durable when this was made.
class DurableState {
 public:
  explicit DurableState(const LogFixture& fixture) : from_(fixture.directory()) {
    if (std::filesystem::exists(from_)) std::filesystem::copy(from_, kept_.path() / "kept");
  }
  // Requires that nobody has the log open.
  void Restore() const {
    std::filesystem::remove_all(from_);
    if (std::filesystem::exists(kept_.path() / "kept")) {
      std::filesystem::copy(kept_.path() / "kept", from_);
    }
  }

 private:
  TempDir kept_;
  std::filesystem::path from_;
};

TEST_CASE("Recovery: two power cuts in a row hid from a reader that what it had seen was lost",
          "[storage][recovery]") {
  LogFixture fixture;
  fixture.Append(5);
  fixture.Sync();
  const DurableState durable(fixture);
  fixture.Kill();  // the first
  durable.Restore();
  fixture.Open();
  fixture.Append(2);  // on a `written` topic: seen at once, not synced yet
  const Offset seen = fixture.log().log_end();
  const LeaderEpoch epoch = fixture.log().EpochBefore(seen);
  REQUIRE(seen == Offset(7));
  fixture.Kill();  // the second, before the group commit
  durable.Restore();
  fixture.Open();
  REQUIRE(fixture.log().log_end() == Offset(5));
  fixture.Append(3);
  CHECK(fixture.log().EndOfEpoch(epoch) == Offset(5));  // so 5 to 7 are truncated
  fixture.ReadAll();
}

TEST_CASE("Recovery: a log that a power cut took back whole was begun again under the same epoch",
          "[storage][recovery]") {
  LogFixture fixture;
  const DurableState nothing(fixture);
  fixture.Append(2);
  const LeaderEpoch first = fixture.log().EpochBefore(Offset(2));
  fixture.Kill();
  nothing.Restore();
  fixture.Open();
  const bool stopped_between = GENERATE(false, true);
  if (stopped_between) fixture.Reopen();
  fixture.Append(5);
  CHECK(fixture.log().EndOfEpoch(first) == Offset(0));
  fixture.Reopen();
  CHECK(fixture.log().EndOfEpoch(first) == Offset(0));
  fixture.ReadAll();
}

TEST_CASE("Recovery: a lost frontier brings no epoch back that was used before",
          "[storage][recovery]") {
  LogFixture fixture;
  fixture.Append(5);
  fixture.Sync();
  const DurableState durable(fixture);
  for (int i = 0; i < 3; ++i) fixture.Crash();
  fixture.Append(2);
  const LeaderEpoch used = fixture.log().leader_epoch();
  fixture.Kill();
  durable.Restore();
  std::filesystem::remove(fixture.data() / "frontier");
  fixture.Open();
  CHECK(fixture.log().leader_epoch() > used);
  const LeaderEpoch after = fixture.log().leader_epoch();
  fixture.Crash();
  CHECK(fixture.log().leader_epoch() > after);
}

TEST_CASE("Recovery: the second start after a lost frontier cut what the first had found damaged",
          "[storage][recovery]") {
  ThreeBatches log(3);
  std::filesystem::remove(log.fixture.data() / "frontier");
  Bytes damaged = ReadBack(log.fixture.LogFile(0));
  damaged[log.ends[0] + 70] ^= std::byte{1};
  WriteFile(log.fixture.LogFile(0), damaged);
  log.fixture.Open();
  REQUIRE_FALSE(log.fixture.report().damage.ok());
  const bool stopped_between = GENERATE(false, true);
  stopped_between ? log.fixture.Reopen() : log.fixture.Crash();
  CHECK_FALSE(log.fixture.report().damage.ok());
  CHECK(log.fixture.report().bytes_cut == 0);
  CHECK(log.fixture.log().log_end() == Offset(2));
  CHECK(ReadBack(log.fixture.LogFile(0)).size() >= log.whole.size());
}

TEST_CASE("Recovery: a trim of a damaged log told the frontier that it ends at the damage",
          "[storage][recovery]") {
  LogFixture fixture({.segment_bytes = 600});
  for (int i = 0; i < 12; ++i) fixture.Append(1, 100);
  fixture.Sync();
  fixture.Kill();
  Bytes file = ReadBack(fixture.LogFile(6));
  file[100] ^= std::byte{1};
  WriteFile(fixture.LogFile(6), file);
  std::filesystem::remove(fixture.LogFile(3));
  fixture.Open();
  REQUIRE_FALSE(fixture.report().damage.ok());
  REQUIRE(fixture.log().TrimTo(Offset(1)).ok());
  fixture.Reopen();
  const TopicPartition id{LogFixture::Identity().topic, PartitionIndex(0)};
  CHECK(fixture.data_dir().frontier().Find(id)->end == Offset(12));
  CHECK(fixture.report().bytes_cut == 0);
  CHECK_FALSE(fixture.report().damage.ok());
}

TEST_CASE("Recovery: what stood right before the damage was cold for ever", "[storage][recovery]") {
  ThreeBatches log(3);
  std::filesystem::remove(log.fixture.data() / "frontier");
  Bytes damaged = ReadBack(log.fixture.LogFile(0));
  damaged[log.ends[0] + 70] ^= std::byte{1};
  WriteFile(log.fixture.LogFile(0), damaged);
  log.fixture.Open();
  REQUIRE(log.fixture.report().offline_from == Offset(2));
  absl::Status status;
  const Bytes before = log.fixture.ReadAll(Offset(0), 1 << 20, status);
  CHECK(status.ok());
  CHECK(before.size() == log.ends[0]);
}

TEST_CASE("Recovery: a log that a lost frontier had covered is known again once it was recovered",
          "[storage][recovery]") {
  ThreeBatches log(3);
  std::filesystem::remove(log.fixture.data() / "frontier");
  log.fixture.Open();
  REQUIRE(log.fixture.report().damage.ok());
  log.fixture.Crash();
  CHECK(log.fixture.data_dir().frontier().Knows(
      {LogFixture::Identity().topic, LogFixture::Identity().partition}));
  CHECK(log.fixture.ReadAll().size() == log.whole.size());
}

TEST_CASE("Recovery: after a clean stop nothing is scanned", "[storage][recovery]") {
  LogFixture fixture({.segment_bytes = 2000});
  for (int i = 0; i < 50; ++i) {
    Bytes batch = MakeBatch(3, 50, kNow, ProducerId(7), 3 * i);
    fixture.AppendBytes(batch);
  }
  fixture.Crash();
  CHECK(fixture.report().has_work());
  CHECK(fixture.report().bytes_scanned > 0);
  CHECK(fixture.report().raised_to != kNoEpoch);
  fixture.Append(3);
  fixture.Reopen();
  CHECK_FALSE(fixture.report().has_work());
  CHECK(fixture.report().bytes_scanned == 0);
  CHECK(fixture.report().raised_to == kNoEpoch);
}

TEST_CASE("Recovery: the producers are read from where their snapshot ends",
          "[storage][recovery]") {
  LogFixture fixture;
  const auto append = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      Bytes batch = MakeBatch(1, 1000, kNow, ProducerId(7), i);
      fixture.AppendBytes(batch);
    }
  };
  append(0, 100);
  fixture.Sync();
  const auto snapshot = fixture.log().TakeProducerSnapshot();
  REQUIRE(snapshot.has_value());
  REQUIRE(snapshot->Write().ok());
  append(100, 103);
  fixture.Sync();
  const ProducerTable table = fixture.log().producers();
  fixture.Crash();
  CHECK(fixture.report().producers_rebuilt);
  CHECK(fixture.report().bytes_scanned < 4 * 1200);
  CHECK(fixture.log().producers() == table);
}

TEST_CASE("Recovery: a start that failed while it dropped an empty segment left the log offline",
          "[storage][recovery]") {
  LogFixture fixture({.segment_bytes = 1});
  fixture.Append(2);
  fixture.Sync();
  fixture.Append(2);  // in a segment of its own, of which nothing got to the disk
  fixture.Kill();
  std::filesystem::resize_file(fixture.LogFile(2), 0);
  std::filesystem::remove(fixture.data() / "frontier");
  {
    auto data_dir = DataDir::Open(fixture.data());
    REQUIRE(data_dir.ok());
    const FileSizeLimit limit(10);  // the manifest cannot be written
    RecoveryReport report;
    REQUIRE_FALSE(
        Log::Open(**data_dir, LogFixture::Identity(), fixture.options(), kNow, report).ok());
  }
  fixture.Open();
  CHECK(fixture.report().damage.ok());
  CHECK(fixture.log().log_end() == Offset(2));
  CHECK(fixture.Append(1) == Offset(2));
  fixture.ReadAll();
}

}  // namespace
}  // namespace cairn::storage
