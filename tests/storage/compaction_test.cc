#include <algorithm>
#include <fstream>

#include "storage/key_map.h"
#include "tests/storage/compacted_log.h"
#include "tests/storage/file_size_limit.h"

namespace cairn::storage {
namespace {

using Offsets = std::vector<std::int64_t>;

constexpr std::int64_t kDay = 24LL * 3600 * 1000;

std::string Big(char c) { return std::string(400, c); }

std::size_t FilesEnding(const std::filesystem::path& directory, const std::string& ending) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    count += entry.path().filename().string().ends_with(ending) ? 1 : 0;
  }
  return count;
}

// Two keys again and again, in several segments, the last one sealed too.
void FillTwoKeys(CompactedLog& log, int rounds = 6) {
  for (int i = 0; i < rounds; ++i) {
    log.Send("a", Big(static_cast<char>('0' + i)));
    log.Send("b", Big(static_cast<char>('A' + i)));
  }
  log.SealEverything();
}

}  // namespace

TEST_CASE("KeyMap: the newest offset of each key, until it is full", "[storage][compaction]") {
  KeyMap map(24 * 16, 1'000'000, 7);
  CHECK(map.capacity() == 12);
  for (std::int64_t i = 0; i < 12; ++i) REQUIRE(map.Put(AsBytes(std::to_string(i)), Offset(i)));
  CHECK_FALSE(map.Put(AsBytes("one too many"), Offset(100)));
  CHECK(map.Put(AsBytes("3"), Offset(50)));
  CHECK(map.Put(AsBytes("3"), Offset(40)));
  CHECK(map.Find(AsBytes("3")) == Offset(50));
  CHECK(map.Find(AsBytes("0")) == Offset(0));
  CHECK_FALSE(map.Find(AsBytes("one too many")).has_value());
  CHECK_FALSE(map.Find(AsBytes("")).has_value());
  CHECK(map.size() == 12);
  CHECK(KeyMap(0, 0, 0).capacity() == 1);
  CHECK(KeyMap(64 << 20, 3, 0).capacity() <= 12);  // no more memory than the keys need
}

TEST_CASE("Compaction: the newest record of each key stays, with its offset",
          "[storage][compaction]") {
  CompactedLog log;
  FillTwoKeys(log);
  const std::int64_t before = log.log().bytes();
  log.CleanAll();
  CHECK(log.Offsets() == Offsets{10, 11});
  CHECK(log.Values() == std::map<std::string, std::string>{{"a", Big('5')}, {"b", Big('F')}});
  CHECK(log.log().log_start() == Offset(0));
  CHECK(log.log().log_end() == Offset(12));
  CHECK(log.log().bytes() < before / 3);
  CHECK(FilesEnding(log.directory(), ".log") ==
        static_cast<std::size_t>(log.log().segment_count()));
  CHECK(Damages(log.data()).empty());
  CHECK(log.Send("a", "next") == Offset(12));
  log.Reopen();
  CHECK(log.Offsets() == Offsets{10, 11, 12});
  log.Crash();
  CHECK(log.Offsets() == Offsets{10, 11, 12});
}

TEST_CASE("Compaction: the active segment is left alone, and its records count for nothing",
          "[storage][compaction]") {
  CompactedLog log;
  log.Send("a", Big('1'));
  log.Send("a", Big('2'));
  log.Send("a", Big('3'));  // rolls
  log.SealFull();
  REQUIRE(log.log().segment_count() == 2);
  log.CleanAll();
  CHECK(log.Offsets() == Offsets{1, 2});
}

TEST_CASE("Compaction: nothing beyond what is durable is touched", "[storage][compaction]") {
  CompactedLog log;
  FillTwoKeys(log);
  CHECK(log.log().CompactionNeed(Offset(1), kNow) == 0);
  CHECK_FALSE(log.log().PlanCompaction(Offset(1), kNow).has_value());
  const auto plan = log.log().PlanCompaction(Offset(6), kNow);
  REQUIRE(plan.has_value());
  CHECK(plan->segments.back()->next_offset() <= Offset(6));
}

TEST_CASE("Compaction: a log of another policy wants none", "[storage][compaction]") {
  LogOptions options = CompactedOptions();
  options.compaction.enabled = false;
  CompactedLog log(options);
  FillTwoKeys(log);
  CHECK(log.log().CompactionNeed(log.log().log_end(), kNow) == 0);
}

TEST_CASE("Compaction: waits for its share of dirt and for the lag, but not beyond the longest",
          "[storage][compaction]") {
  LogOptions options = CompactedOptions();
  options.compaction.min_dirty_ratio = 0.5;
  CompactedLog log(options);
  for (int i = 0; i < 40; ++i) log.Send("key" + std::to_string(i), Big('x'));
  log.SealEverything();
  const Offset end = log.log().log_end();
  CHECK(log.log().CompactionNeed(end, kNow) == 1);
  log.CleanAll();
  CHECK(log.log().CompactionNeed(end, kNow) == 0);
  FillTwoKeys(log, 4);  // a fifth
  CHECK(log.log().CompactionNeed(log.log().log_end(), kNow) == 0);
  SECTION("until it is overdue") {
    log.options().compaction.max_lag_ms = 1000;
    log.log().set_options(log.options());
    CHECK(log.log().CompactionNeed(log.log().log_end(), kNow + 999) == 0);
    CHECK(log.log().CompactionNeed(log.log().log_end(), kNow + 1000) == 1);
  }
  SECTION("until there is more") {
    FillTwoKeys(log, 20);
    CHECK(log.log().CompactionNeed(log.log().log_end(), kNow) > 0.5);
    log.options().compaction.min_lag_ms = 5000;
    log.log().set_options(log.options());
    CHECK(log.log().CompactionNeed(log.log().log_end(), kNow + 4999) == 0);
    CHECK(log.log().CompactionNeed(log.log().log_end(), kNow + 5000) > 0.5);
  }
}

TEST_CASE("Compaction: a batch loses records, whatever its codec, and keeps all else",
          "[storage][compaction]") {
  const Codec codec = GENERATE(Codec::kNone, Codec::kLz4, Codec::kZstd);
  CompactedLog log;
  log.Send({{"a", "1", kNow + 5}, {"b", "2", kNow + 9}, {"c", std::nullopt, kNow + 7}}, codec,
           ProducerId(4), 0);
  log.Send({{"b", Big('n')}}, codec, ProducerId(4), 3);
  log.SealEverything();
  log.CleanAll();
  const Bytes bytes = log.ReadAll();
  const auto batch = RecordBatchView::Parse(bytes);
  REQUIRE(batch.ok());
  CHECK(batch->base_offset() == Offset(0));
  CHECK(batch->last_offset_delta() == 2);
  CHECK(batch->record_count() == 2);
  CHECK(batch->codec_number() == static_cast<int>(codec));
  CHECK(batch->producer_id() == ProducerId(4));
  CHECK(batch->base_sequence() == 0);
  CHECK(batch->max_timestamp() == kNow + 7);
  CHECK(log.Records() == std::vector<Seen>{{Offset(0), kNow + 5, "a", "1"},
                                           {Offset(2), kNow + 7, "c", std::nullopt},
                                           {Offset(3), kNow, "b", Big('n')}});
}

TEST_CASE("Compaction: a batch that loses nothing is the same byte for byte",
          "[storage][compaction]") {
  CompactedLog log;
  log.Send({{"a", "1"}, {"b", ""}}, Codec::kZstd);
  log.Send({{"c", Big('c')}}, Codec::kLz4);
  const Bytes before = log.ReadAll();
  log.SealEverything();
  log.CleanAll();
  CHECK(log.ReadAll() == before);
}

TEST_CASE("Compaction: records without a key, and what cannot be unpacked, stay",
          "[storage][compaction]") {
  CompactedLog log;
  log.Send({{std::nullopt, "x"}, {"a", "1"}});
  RecordBatchBuilder builder;
  builder.Add({.timestamp = kNow, .key = AsBytes("a"), .value = AsBytes("2")});
  Bytes broken = *builder.Finish({});
  StoreBe(MutableBytes(broken), kAttributesAt, std::int16_t{4});  // not zstd at all
  StampProducer(MutableBytes(broken), kNoProducer, ProducerEpoch(-1), -1);
  const Offset at = log.AppendBytes(broken);
  log.Send("a", "3");
  log.SealEverything();
  log.CleanAll();
  const Bytes bytes = log.ReadAll();
  const auto first = RecordBatchView::Parse(bytes);
  REQUIRE(first.ok());
  CHECK(first->record_count() == 1);
  const auto second = RecordBatchView::Parse(ByteView(bytes).subspan(first->size()));
  REQUIRE(second.ok());
  CHECK(second->base_offset() == at);
  CHECK(Damages(log.data()).empty());
}

TEST_CASE("Compaction: tombstones stay their time after the first cleaning, and then go",
          "[storage][compaction]") {
  CompactedLog log;
  log.Send({{"a", "1", kNow + 3}, {"k", Big('k'), kNow + 4}});
  log.Send({{"a", std::nullopt, kNow + 8}, {"other", "v", kNow + 2}}, Codec::kLz4);
  log.SealEverything();
  log.CleanAll(kNow);
  const std::vector<Seen> first = log.Records();
  CHECK(first == std::vector<Seen>{{Offset(1), kNow + 4, "k", Big('k')},
                                   {Offset(2), kNow + 8, "a", std::nullopt},
                                   {Offset(3), kNow + 2, "other", "v"}});
  const auto clean = [&](Timestamp now) {
    log.Send("noise", Big('n'));
    log.SealEverything();
    log.CleanAll(now);
    std::vector<Seen> records = log.Records();
    std::erase_if(records, [](const Seen& seen) { return seen.key == "noise"; });
    return records;
  };
  // The time counts from the first cleaning, not from a later one.
  CHECK(clean(kNow + kDay / 2) == first);
  CHECK(clean(kNow + kDay - 1) == first);
  log.Reopen();
  const std::vector<Seen> last = clean(kNow + kDay);
  CHECK(last == std::vector<Seen>{first[0], first[2]});
  CHECK(log.log().log_end() == Offset(7));
}

TEST_CASE("Compaction: a clock that was not believed yet took tombstones and let lags pass",
          "[storage][compaction]") {
  CompactedLog log;
  log.Send({{"a", "1"}, {"k", Big('k')}});
  log.Send({{"a", std::nullopt}, {"other", "v"}});
  log.SealEverything();
  log.CleanAll(kNow);
  CHECK(log.Offsets() == Offsets{1, 2, 3});  // the tombstone is dated
  log.Send("noise", Big('n'));
  log.SealEverything();
  const CompactionTime leapt(kNow + 100 * kDay, /*are_ages_trusted=*/false);
  log.CleanAll(leapt);
  CHECK(log.Offsets() == Offsets{1, 2, 3, 4});
  log.Send("noise", Big('n'));
  log.SealEverything();
  log.options().compaction.min_lag_ms = 1000;
  log.log().set_options(log.options());
  CHECK(log.log().CompactionNeed(log.log().log_end(), leapt) == 0);
  log.options().compaction = CompactedOptions().compaction;
  log.options().compaction.min_dirty_ratio = 1;
  log.options().compaction.max_lag_ms = 1000;
  log.log().set_options(log.options());
  CHECK(log.log().CompactionNeed(log.log().log_end(), leapt) == 0);
  // Once it is believed, they are.
  CHECK(log.log().CompactionNeed(log.log().log_end(), leapt.now) == 1);
  log.CleanAll(leapt.now);
  CHECK(log.Offsets() == Offsets{1, 3, 5});
}

TEST_CASE("Compaction: a tombstone is not taken before what it stands against",
          "[storage][compaction]") {
  LogOptions options = CompactedOptions();
  options.compaction.delete_retention_ms = 0;
  CompactedLog log(options);
  // More keys in one batch than the map has room for.
  std::vector<Sent> many;
  for (int i = 0; i < 50; ++i) many.push_back({"key" + std::to_string(i), "old"});
  log.Send(many);
  log.SealEverything();
  log.CleanAll();
  for (Sent& each : many) each.value = std::nullopt;
  log.Send(many);
  log.SealEverything();
  Compactor::Options small;
  small.map_bytes = 24 * 16;
  for (int i = 0; i < 5; ++i) {
    log.CleanAll(kNow + i, small);
    for (const auto& [key, value] : log.Values()) CHECK((value == "(none)" || key == "noise"));
    log.Send("noise", "n");
    log.SealEverything();
  }
}

TEST_CASE("Compaction: goes on in passes where the keys do not fit", "[storage][compaction]") {
  CompactedLog log;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 200; ++i) {
      log.Send("key" + std::to_string(i), "value" + std::to_string(round));
    }
  }
  log.SealEverything();
  Compactor::Options small;
  small.map_bytes = 24 * 40;
  int passes = 0;
  while (true) {
    const auto cleaned = log.Clean(kNow, small);
    if (absl::IsNotFound(cleaned.status())) break;
    REQUIRE(cleaned.ok());
    CHECK(cleaned->keys <= 30);
    ++passes;
  }
  CHECK(passes >= 20);
  CHECK(log.Records().size() == 200);
  CHECK(log.Values().size() == 200);
  CHECK(Damages(log.data()).empty());
}

TEST_CASE("Compaction: small neighbours become one, up to the size of a segment",
          "[storage][compaction]") {
  LogOptions options = CompactedOptions();
  options.segment_bytes = 2000;
  CompactedLog log(options);
  for (int i = 0; i < 60; ++i) log.Send("key" + std::to_string(i), Big('v'));
  log.SealEverything();
  log.CleanAll();
  const std::int32_t full = log.log().segment_count();
  CHECK(full > 10);
  for (int i = 0; i < 60; ++i) log.Send("key" + std::to_string(i), "short");
  log.SealEverything();
  log.CleanAll();
  CHECK(log.log().segment_count() <= 4);
  for (const auto& segment : log.log().Segments()) CHECK(segment->length() <= 2000);
  CHECK(log.Records().size() == 60);
}

TEST_CASE("Compaction: a small segment that stayed idle after a restart was never cleaned",
          "[storage][compaction]") {
  LogOptions options = CompactedOptions();
  options.segment_bytes = 1 << 20;
  options.continue_bytes_max = 4 << 20;
  options.compaction.max_lag_ms = 1000;
  CompactedLog log(options);
  log.Send("a", "1");
  log.Send("a", "2");
  log.Reopen();
  REQUIRE(log.log().RollIfOld(kNow + 999).ok());
  log.SealFull();
  CHECK_FALSE(log.log().Segments().back()->is_sealed());
  REQUIRE(log.log().RollIfOld(kNow + 1000).ok());
  log.SealFull();
  CHECK(log.log().Segments().back()->is_sealed());
  log.CleanAll(kNow + 1000);
  CHECK(log.Offsets() == Offsets{1});
  CHECK(log.Send("a", "3") == Offset(2));
}

TEST_CASE("Compaction: what is clean already is not written again", "[storage][compaction]") {
  LogOptions options = CompactedOptions();
  options.segment_bytes = 2000;
  CompactedLog log(options);
  for (int i = 0; i < 40; ++i) log.Send("key" + std::to_string(i), Big('v'));
  log.SealEverything();
  log.CleanAll();
  const auto before = log.log().Segments();
  log.Send("another", Big('v'));
  log.Send("and one more", Big('v'));
  log.SealEverything();
  log.CleanAll();
  const auto after = log.log().Segments();
  REQUIRE(after.size() >= before.size());
  for (std::size_t i = 0; i + 1 < before.size(); ++i) CHECK(after[i] == before[i]);
}

TEST_CASE("Compaction: the last offset stays though its record goes", "[storage][compaction]") {
  CompactedLog log;
  log.Send("a", Big('1'));
  log.Send("b", Big('2'));
  log.SealEverything();
  log.CleanAll();
  log.Send("b", Big('3'));
  log.Send("a", Big('4'));
  log.SealEverything();
  log.CleanAll();
  log.Reopen();
  CHECK(log.log().log_end() == Offset(4));
  CHECK(log.Offsets() == Offsets{2, 3});
  // Also when the newest is a tombstone that goes.
  log.options().compaction.delete_retention_ms = 0;
  log.log().set_options(log.options());
  log.Send("a", std::nullopt);
  log.Send("b", std::nullopt);
  log.SealEverything();
  log.CleanAll();
  log.Send("noise", Big('n'));
  log.SealEverything();
  log.CleanAll(kNow + 1);
  CHECK(log.Offsets() == Offsets{6});
  log.Crash();
  CHECK(log.log().log_end() == Offset(7));
  CHECK(log.Send("a", "5") == Offset(7));
}

TEST_CASE("Compaction: a producer's repeats are known though all its records are gone",
          "[storage][compaction]") {
  CompactedLog log;
  for (std::int32_t i = 0; i < 8; ++i) {
    log.Send({{"a", Big('x')}}, Codec::kNone, ProducerId(9), i);
  }
  log.Send("a", "the newest");
  log.SealEverything();
  log.CleanAll();
  CHECK(log.Records().size() == 1);
  const ProducerTable before = log.log().producers();
  log.StopCleanly();
  std::filesystem::remove(log.directory() / kProducerSnapshotName);
  log.Open();
  CHECK(log.log().producers() == before);
  Bytes repeat = MakeBatch(1, 10, kNow, ProducerId(9), 4);
  const auto verdict = log.log().producers().Check(*RecordBatchView::Parse(repeat));
  REQUIRE(verdict.ok());
  CHECK(verdict->duplicate);
  CHECK(verdict->first_offset == Offset(4));
}

TEST_CASE("Compaction: readers keep the bytes they have, and go on in the cleaned segment",
          "[storage][compaction]") {
  CompactedLog log;
  FillTwoKeys(log);
  ReadCursor cursor;
  const auto held = log.Read(Offset(0), kEverything, 10, cursor);
  REQUIRE(held.ok());
  const Bytes copy(held->view.bytes.begin(), held->view.bytes.end());
  ReadCursor other;
  log.log().CloseIdle();
  const auto cold = log.log().Read(Offset(2), kEverything, 10, other);
  REQUIRE(cold.ok());
  REQUIRE(cold->cold != nullptr);
  log.CleanAll();
  CHECK(std::equal(copy.begin(), copy.end(), held->view.bytes.begin(), held->view.bytes.end()));
  // What was cold is no more: that is no damage, the log knows where to look.
  CHECK(absl::IsAborted(cold->cold->Prepare(cold->cold_position)));
  const auto next = log.Read(held->next, kEverything, 1 << 20, cursor);
  REQUIRE(next.ok());
  CHECK(next->next > held->next);
  CHECK(log.Records(held->next).front().offset == Offset(10));
  CHECK(log.log().write_state().ok());
}

TEST_CASE("Compaction: what was trimmed meanwhile is not put back", "[storage][compaction]") {
  CompactedLog log;
  FillTwoKeys(log);
  auto plan = log.log().PlanCompaction(log.log().log_end(), kNow);
  REQUIRE(plan.has_value());
  Compactor compactor(*std::move(plan), {}, kNow);
  REQUIRE(compactor.ReadKeys().ok());
  const auto cleaned = compactor.Next();
  REQUIRE(cleaned.ok());
  REQUIRE(cleaned->has_value());
  REQUIRE(log.Trim(Offset(5)).ok());
  CHECK(absl::IsAborted(log.log().Swap(**cleaned).status()));
  REQUIRE((*cleaned)->segment->Remove().ok());
  CHECK(log.Offsets() == Offsets{5, 6, 7, 8, 9, 10, 11});
  log.Crash();
  CHECK(log.Offsets() == Offsets{5, 6, 7, 8, 9, 10, 11});
}

TEST_CASE("Compaction: what was trimmed before it is read ends it, and is no failure",
          "[storage][compaction]") {
  CompactedLog log;
  FillTwoKeys(log);
  auto plan = log.log().PlanCompaction(log.log().log_end(), kNow);
  REQUIRE(plan.has_value());
  Compactor compactor(*std::move(plan), {}, kNow);
  SECTION("while the keys are read") {
    REQUIRE(log.Trim(Offset(3)).ok());
    CHECK(absl::IsAborted(compactor.ReadKeys()));
  }
  SECTION("while it cleans") {
    REQUIRE(compactor.ReadKeys().ok());
    REQUIRE(log.Trim(Offset(3)).ok());
    CHECK(absl::IsAborted(compactor.Next().status()));
  }
  CHECK(log.log().write_state().ok());
  CHECK(FilesEnding(log.directory(), ".new") == 0);
  log.CleanAll();
  CHECK(log.Offsets() == Offsets{10, 11});
}

TEST_CASE("Compaction: a segment that somebody took away is damage", "[storage][compaction]") {
  CompactedLog log;
  FillTwoKeys(log);
  const auto segments = log.log().Segments();
  std::filesystem::remove(segments[1]->LogPath());
  CHECK(CodeOf(log.Clean().status()) == ErrorCode::kPartitionOffline);
  log.log().NoticeDamage();
  CHECK_FALSE(log.log().write_state().ok());
}

TEST_CASE("Compaction: stops when it is told to, and leaves nothing behind",
          "[storage][compaction]") {
  LogOptions options = CompactedOptions();
  options.segment_bytes = 1 << 20;
  CompactedLog log(options);
  for (int i = 0; i < 60; ++i) log.Send("a", std::string(50'000, 'x'));
  log.SealEverything();
  const std::int64_t before = log.log().bytes();
  Compactor::Options stopping;
  int asked = 0;
  stopping.pace = [&](std::int64_t bytes) {
    CHECK(bytes <= 512 << 10);
    return ++asked > 15 ? absl::CancelledError("enough") : absl::OkStatus();
  };
  CHECK(absl::IsCancelled(log.Clean(kNow, stopping).status()));
  CHECK(log.log().bytes() == before);
  CHECK(FilesEnding(log.directory(), ".new") == 0);
  log.CleanAll();
  CHECK(log.Records().size() == 1);
}

TEST_CASE("Compaction: a disk that fails while it writes leaves the log as it was",
          "[storage][compaction]") {
  LogOptions options = CompactedOptions();
  options.segment_bytes = 1 << 20;
  CompactedLog log(options);
  for (int i = 0; i < 4; ++i) log.Send("key" + std::to_string(i), std::string(50'000, 'x'));
  log.Send("key0", "newer");
  log.SealEverything();
  absl::Status status;
  {
    const FileSizeLimit limit(100'000);
    status = log.Clean().status();
  }
  CHECK_FALSE(status.ok());
  CHECK(log.log().write_state().ok());
  CHECK(log.Records().size() == 5);
  CHECK(FilesEnding(log.directory(), ".new") == 0);
  log.CleanAll();
  CHECK(log.Offsets() == Offsets{1, 2, 3, 4});
}

TEST_CASE("Compaction: damage stops it, and nothing is deleted", "[storage][compaction]") {
  CompactedLog log;
  FillTwoKeys(log);
  const auto segments = log.log().Segments();
  REQUIRE(segments.size() > 2);
  const std::filesystem::path file = segments[1]->LogPath();
  Bytes bytes = ReadBack(file);
  bytes[bytes.size() / 2] ^= std::byte{1};
  WriteFile(file, bytes);
  const absl::Status status = log.Clean().status();
  CHECK(CodeOf(status) == ErrorCode::kPartitionOffline);
  CHECK_THAT(std::string(status.message()), Catch::Contains(file.string()));
  CHECK(FilesEnding(log.directory(), ".log") == segments.size());
  ReadCursor cursor;
  CHECK(log.Read(Offset(0), kEverything, 100, cursor).ok());
  CHECK(CodeOf(log.log().Read(segments[1]->next_offset(), kEverything, 100, cursor).status()) ==
        ErrorCode::kPartitionOffline);
  CHECK_FALSE(log.log().write_state().ok());
  CHECK(log.log().CompactionNeed(log.log().log_end(), kNow) == 0);
}

TEST_CASE("Compaction: verify finds every changed byte of a cleaned segment",
          "[storage][compaction]") {
  CompactedLog log;
  log.Send({{"a", "1"}, {"b", "2"}}, Codec::kNone, ProducerId(3), 0);
  log.Send({{"a", "3"}, {"c", std::nullopt}}, Codec::kZstd);
  log.SealEverything();
  log.CleanAll();
  const std::filesystem::path file = log.log().Segments().front()->LogPath();
  log.StopCleanly();
  REQUIRE(Damages(log.data()).empty());
  const Bytes whole = ReadBack(file);
  ForEveryFlip(whole, [&](const Bytes& damaged, std::size_t at) {
    INFO(at);
    WriteFile(file, damaged);
    CHECK_FALSE(Damages(log.data()).empty());
  });
  WriteFile(file, whole);
  std::filesystem::remove(file.parent_path() / "00000000000000000000.g1.index");
  log.Open();
  CHECK(log.Offsets() == Offsets{1, 2, 3});
}

TEST_CASE("Compaction: what walks the batches of a directory finds those of the newest side",
          "[storage][compaction]") {
  CompactedLog log;
  FillTwoKeys(log);
  std::vector<std::pair<std::filesystem::path, Bytes>> old;
  for (const auto& segment : log.log().Segments()) {
    old.emplace_back(segment->LogPath(), ReadBack(segment->LogPath()));
  }
  log.CleanAll();
  for (const auto& [path, bytes] : old) WriteFile(path, bytes);  // removal was interrupted
  std::vector<std::int64_t> bases;
  const absl::Status walked =
      WalkBatches(log.directory(), [&](const auto&, std::int64_t, const RecordBatchView& batch) {
        if (batch.record_count() > 0) bases.push_back(batch.base_offset().value());
        return true;
      });
  REQUIRE(walked.ok());
  CHECK(bases == std::vector<std::int64_t>{10, 11});
  log.Crash();
  CHECK(FilesEnding(log.directory(), ".log") ==
        static_cast<std::size_t>(log.log().segment_count()));
}

}  // namespace cairn::storage
