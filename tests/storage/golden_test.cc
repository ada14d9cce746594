// The bytes of every file but .log, pinned. The files in tests/golden/data are hex; FORMAT.md shows
// the same bytes with explanations, and is checked against them. Bytes that change need a new
// version number and new files beside the old ones.
#include <cctype>
#include <fstream>
#include <sstream>

#include "absl/strings/str_format.h"
#include <catch2/catch.hpp>

#include "protocol/record_batch_builder.h"
#include "storage/damaged_segments.h"
#include "storage/data_dir.h"
#include "storage/format_file.h"
#include "storage/frontier.h"
#include "storage/index.h"
#include "storage/manifest.h"
#include "storage/partition_meta.h"
#include "storage/producer_table.h"
#include "storage/scrub_state.h"
#include "tests/storage/compacted_log.h"
#include "tests/storage/damage.h"
#include "tests/storage/temp_dir.h"

namespace cairn::storage {
namespace {

const std::filesystem::path kGolden = CAIRN_GOLDEN_DATA;
const char* const kNames[] = {
    "format-v2", "partition.meta-v1", "manifest-v2",           "log-v1",   "cleaned-log-v1",
    "index-v1",  "frontier-v1",       "producers.snapshot-v1", "scrub-v1", "damaged-v1"};

const TopicId kCluster = *ParseTopicId("c0ffee00-1234-4abc-8def-001122334455");
const LogIdentity kOrders{*ParseTopicId("0badcafe-5678-4abc-8def-66778899aabb"), "orders",
                          PartitionIndex(1)};
const TopicPartition kPartition{kOrders.topic, kOrders.partition};

const std::set<SegmentFileName> kDamagedSegments{{Offset(0), 3}, {Offset(4096), 0}};

const ScrubState kScrubState{.round_began = Timestamp(1'700'000'061'000),
                             .completed = Timestamp(1'700'000'000'000),
                             .segments = 2,
                             .bytes = 1'057'576,
                             .damages = 1,
                             .partition = kPartition,
                             .segment_base = Offset(4096)};

// Hex digits, in any grouping; what follows ";" in a line is for people.
Bytes FromHex(std::istream& in) {
  std::string digits;
  for (std::string line; std::getline(in, line);) {
    for (const char c : line.substr(0, line.find(';'))) {
      if (!std::isspace(static_cast<unsigned char>(c))) digits.push_back(c);
    }
  }
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string ToHex(const Bytes& bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    text += absl::StrFormat("%02x%s", static_cast<unsigned>(bytes[i]),
                            i % 16 == 15 || i + 1 == bytes.size() ? "\n" : " ");
  }
  return text;
}

Bytes Golden(const std::string& name) {
  std::ifstream file(kGolden / (name + ".hex"));
  REQUIRE(file.is_open());
  return FromHex(file);
}

std::vector<ManifestEntry> GoldenEntries() {
  return {
      LeaderEpochRaised{LeaderEpoch(1), Offset(0)},
      SegmentOpened{Offset(0), Timestamp(1'700'000'000'000), {.length = 3000, .crc = 0x76543210}},
      SegmentSealed{Offset(0),
                    {.next_offset = Offset(4096),
                     .length = 1'048'576,
                     .first_append_time = Timestamp(1'700'000'000'000),
                     .last_append_time = Timestamp(1'700'000'060'000),
                     .max_timestamp = Timestamp(1'700'000'059'999),
                     .fingerprint = 0x0123456789abcdef}},
      SegmentOpened{
          Offset(4096), Timestamp(1'700'000'061'000), {.length = 2000, .crc = 0x76543210}},
      SegmentReopened{Offset(4096)},
      LogStartMoved{Offset(4096)},
      SegmentDropped{Offset(0)},
      SegmentSwapped{Offset(4096),
                     1,
                     Offset(8000),
                     {.next_offset = Offset(8192),
                      .length = 65'536,
                      .first_append_time = Timestamp(1'700'000'061'000),
                      .last_append_time = Timestamp(1'700'000'120'000),
                      .max_timestamp = Timestamp(1'700'000'119'999),
                      .fingerprint = 0x0123456789abcdef},
                     {.length = 1000, .crc = 0x76543211}}};
}

Index GoldenIndex() {
  Index index(Offset(4096), 4096);
  index.Note(Offset(4096), Offset(4106), 3000, Timestamp(1'700'000'061'000));
  index.Note(Offset(4106), Offset(4116), 3000, Timestamp(1'700'000'063'000));
  index.Note(Offset(4116), Offset(4126), 3000, Timestamp(1'700'000'062'000));
  return index;
}

ProducerTable GoldenProducers() {
  ProducerTable table;
  for (std::int32_t i = 0; i < 2; ++i) {
    Bytes batch(kBatchHeaderBytes);
    const MutableBytes out(batch);
    StoreBe(out, kBaseOffsetAt, std::int64_t{4096 + i * 10});
    StoreBe(out, kBatchLengthAt, std::int32_t{kBatchHeaderBytes - kBatchLengthOverhead});
    StoreBe(out, kMagicAt, kBatchMagic);
    StoreBe(out, kLastOffsetDeltaAt, std::int32_t{9});
    StoreBe(out, kProducerIdAt, std::int64_t{1000});
    StoreBe(out, kProducerEpochAt, std::int16_t{2});
    StoreBe(out, kBaseSequenceAt, i * 10);
    StoreBe(out, kRecordCountAt, std::int32_t{10});
    table.Apply(*RecordBatchView::ParseHeader(batch), Timestamp(1'700'000'061'000 + i));
  }
  return table;
}

// One batch of two records, and 32 bytes of reserved blocks behind it.
Bytes MadeLog() {
  RecordBatchBuilder builder;
  builder.Add({.timestamp = Timestamp(1'700'000'061'000),
               .key = AsBytes("k"),
               .value = AsBytes("one"),
               .headers = {}});
  builder.Add({.timestamp = Timestamp(1'700'000'061'007),
               .key = std::nullopt,
               .value = AsBytes(""),
               .headers = {}});
  auto batch = builder.Finish({.codec = Codec::kNone,
                               .producer_id = ProducerId(1000),
                               .producer_epoch = ProducerEpoch(2),
                               .base_sequence = 0});
  REQUIRE(batch.ok());
  StampBatch(MutableBytes(*batch), Offset(4096), LeaderEpoch(1));
  Bytes file = *std::move(batch);
  file.resize(file.size() + 32);
  return file;
}

// What compaction leaves of five batches: one that lost a record, none of the second, one with a
// tombstone, one that the producer is known by, and one that is as it was.
Bytes MadeCleanedLog() {
  CompactedLog log;
  const ProducerId producer(1000);
  log.Send({{"a", "1", kNow}, {"b", "2", kNow + 7}}, Codec::kNone, producer, 0);
  log.Send({{"e", "old", kNow}});
  log.Send({{"a", std::nullopt, kNow + 8}, {"c", "3", kNow + 9}});
  log.Send({{"d", "old", kNow}}, Codec::kNone, producer, 2);
  log.Send({{"e", "new", kNow}, {"d", "new", kNow}});
  log.SealEverything();
  log.CleanAll(kNow + 60'000);
  REQUIRE(log.log().segment_count() == 1);
  return ReadBack(log.log().Segments().front()->LogPath());
}

Bytes MadeManifest() {
  TempDir dir;
  auto manifest = Manifest::Create(dir.path(), kOrders);
  REQUIRE(manifest.ok());
  const std::vector<ManifestEntry> entries = GoldenEntries();
  const auto all = std::span(entries);
  REQUIRE((*manifest)->Append(all.first(5)).ok());
  REQUIRE((*manifest)->Sync().ok());
  REQUIRE((*manifest)->Append(all.subspan(5)).ok());
  return ReadBack(dir / "manifest");
}

Bytes MadeFrontier() {
  TempDir dir;
  auto frontier = Frontier::Open(dir.path(), kCluster, {.start = 3, .unknown = {kPartition}});
  REQUIRE(frontier.ok());
  const DurableEnd end{kPartition, Offset(4126), Offset(4096), 9000};
  REQUIRE((*frontier)->Note({&end, 1}).ok());
  REQUIRE((*frontier)->Forget(kPartition).ok());
  REQUIRE((*frontier)->CloseClean().ok());
  return ReadBack(dir / "frontier");
}

Bytes Made(const std::string& name) {
  if (name == "scrub-v1") return EncodeScrubState(kScrubState);
  if (name == "damaged-v1") return EncodeDamagedSegments(kPartition, kDamagedSegments);
  if (name == "format-v2") return EncodeFormat({kCluster, 16});
  if (name == "partition.meta-v1") return EncodePartitionMeta(kOrders);
  if (name == "log-v1") return MadeLog();
  if (name == "cleaned-log-v1") return MadeCleanedLog();
  if (name == "manifest-v2") return MadeManifest();
  if (name == "index-v1") return GoldenIndex().Encode();
  if (name == "frontier-v1") return MadeFrontier();
  return GoldenProducers().Snapshot({kPartition, Offset(4126), Offset(4096), 9000});
}

}  // namespace

TEST_CASE("Golden: this program writes the pinned bytes", "[storage][golden]") {
  for (const char* name : kNames) {
    INFO(name);
    CHECK(ToHex(Made(name)) == ToHex(Golden(name)));
  }
}

TEST_CASE("Golden: format and partition.meta are read", "[storage][golden]") {
  const auto format = DecodeFormat("format", Golden("format-v2"));
  REQUIRE(format.ok());
  CHECK(format->cluster_id == kCluster);
  CHECK(format->offsets_partitions == 16);
  const auto meta = DecodePartitionMeta("partition.meta", Golden("partition.meta-v1"));
  REQUIRE(meta.ok());
  CHECK(meta->topic == kOrders.topic);
  CHECK(meta->name == "orders");
  CHECK(meta->partition == PartitionIndex(1));
}

TEST_CASE("Golden: a list of damaged segments is read, and only by its partition",
          "[storage][golden]") {
  const Bytes file = Golden("damaged-v1");
  const auto segments = DecodeDamagedSegments(kPartition, file);
  REQUIRE(segments.ok());
  CHECK(*segments == kDamagedSegments);
  const TopicPartition other{kPartition.topic, PartitionIndex(2)};
  CHECK(absl::IsDataLoss(DecodeDamagedSegments(other, file).status()));
}

// Before the first release; then every older version is to be read.
TEST_CASE("Golden: the format before is refused by name", "[storage][golden]") {
  const auto format = DecodeFormat("DATA/format", Golden("format-v1"));
  CHECK(absl::IsFailedPrecondition(format.status()));
  CHECK(std::string(format.status().message()).find("DATA/format says format 1") == 0);
}

TEST_CASE("Golden: a manifest is read", "[storage][golden]") {
  TempDir dir;
  WriteFile(dir / "manifest", Golden("manifest-v2"));
  const auto contents = Manifest::Read(dir.path());
  REQUIRE(contents.ok());
  CHECK(contents->partition == kPartition);
  CHECK(contents->torn_tail.empty());
  CHECK(contents->state.log_start == Offset(4096));
  CHECK(contents->state.epochs == std::vector<EpochStart>{{LeaderEpoch(1), Offset(0)}});
  CHECK(
      contents->state.segments ==
      std::vector<ManifestSegment>{{Offset(4096), Timestamp(1'700'000'061'000),
                                    SealedSegment{.next_offset = Offset(8192),
                                                  .length = 65'536,
                                                  .first_append_time = Timestamp(1'700'000'061'000),
                                                  .last_append_time = Timestamp(1'700'000'120'000),
                                                  .max_timestamp = Timestamp(1'700'000'119'999),
                                                  .fingerprint = 0x0123456789abcdef},
                                    1, Offset(8000), BatchMark{1000, 0x76543211}}});
}

TEST_CASE("Golden: a segment's batches are read", "[storage][golden]") {
  const Bytes file = Golden("log-v1");
  const auto batch = RecordBatchView::Parse(file);
  REQUIRE(batch.ok());
  CHECK(batch->base_offset() == Offset(4096));
  CHECK(batch->next_offset() == Offset(4098));
  CHECK(batch->leader_epoch() == LeaderEpoch(1));
  CHECK(batch->size() == file.size() - 32);
}

TEST_CASE("Golden: what compaction left of a segment is read", "[storage][golden]") {
  const Bytes file = Golden("cleaned-log-v1");
  CHECK(CompactedLog::RecordsOf(file, Offset(0)) ==
        std::vector<Seen>{{Offset(1), kNow + 7, "b", "2"},
                          {Offset(3), kNow + 8, "a", std::nullopt},
                          {Offset(4), kNow + 9, "c", "3"},
                          {Offset(6), kNow, "e", "new"},
                          {Offset(7), kNow, "d", "new"}});
  std::vector<std::int64_t> bases;
  for (ByteView rest = file; !rest.empty();) {
    const auto batch = RecordBatchView::Parse(rest);
    REQUIRE(batch.ok());
    bases.push_back(batch->base_offset().value());
    CHECK(batch->has_delete_horizon() == (batch->base_offset() == Offset(3)));
    rest = rest.subspan(batch->size());
  }
  CHECK(bases == std::vector<std::int64_t>{0, 3, 5, 6});
}

TEST_CASE("Golden: a frontier is read", "[storage][golden]") {
  TempDir dir;
  const Bytes whole = Golden("frontier-v1");
  WriteFile(dir / "frontier", whole);
  const auto clean = Frontier::OpenForReading(dir.path(), kCluster);
  REQUIRE(clean.ok());
  CHECK((*clean)->was_clean());
  CHECK((*clean)->All().empty());
  CHECK((*clean)->start() == 4);
  // Of a partition whose entry was lost with an earlier file: header, in use, one entry.
  WriteFile(dir / "frontier", ByteView(whole).first(32 + 2 * 48));
  const auto unknown = Frontier::OpenForReading(dir.path(), kCluster);
  REQUIRE(unknown.ok());
  CHECK_FALSE((*unknown)->Knows(kPartition));
  CHECK_FALSE((*unknown)->Find(kPartition).has_value());
  // Before the partition was forgotten: header, in use, unknown, synced, one end.
  WriteFile(dir / "frontier", ByteView(whole).first(32 + 4 * 48));
  const auto before = Frontier::OpenForReading(dir.path(), kCluster);
  REQUIRE(before.ok());
  CHECK_FALSE((*before)->was_clean());
  const auto end = (*before)->Find(kPartition);
  REQUIRE(end.has_value());
  CHECK((*before)->Knows(kPartition));
  CHECK(end->end == Offset(4126));
  CHECK(end->segment_base == Offset(4096));
  CHECK(end->position == 9000);
}

TEST_CASE("Golden: an index and a producer snapshot are read", "[storage][golden]") {
  const auto index = Index::Decode(Golden("index-v1"), Offset(4096), 9000);
  REQUIRE(index.ok());
  CHECK(index->next_offset() == Offset(4126));
  CHECK(index->max_timestamp() == Timestamp(1'700'000'063'000));
  CHECK(index->FindOffset(Offset(4120)) == Index::Place{Offset(4116), 6000});
  const auto producers = ProducerTable::FromSnapshot(Golden("producers.snapshot-v1"), kPartition);
  REQUIRE(producers.ok());
  CHECK(producers->first == GoldenProducers());
  CHECK(producers->second.end == Offset(4126));
  CHECK(producers->second.segment_base == Offset(4096));
  CHECK(producers->second.position == 9000);
}

TEST_CASE("Golden: a scrub's progress is read, and what is none is not believed",
          "[storage][golden]") {
  const Bytes whole = Golden("scrub-v1");
  const auto state = DecodeScrubState(whole);
  REQUIRE(state.ok());
  CHECK(*state == kScrubState);
  const auto check = [](const Bytes& damaged, std::size_t at) {
    INFO("damaged at " << at);
    CHECK_FALSE(DecodeScrubState(damaged).ok());
  };
  ForEveryCut(whole, check);
  ForEveryFlip(whole, check);
}

TEST_CASE("Golden: the examples in FORMAT.md are these files", "[storage][golden]") {
  std::ifstream page(kGolden / "../../../storage/FORMAT.md");
  REQUIRE(page.is_open());
  std::size_t examples = 0;
  for (std::string line; std::getline(page, line);) {
    if (line.rfind("```hex ", 0) != 0) continue;
    const std::string name = line.substr(7);
    std::stringstream block;
    while (std::getline(page, line) && line != "```") block << line << "\n";
    INFO(name);
    CHECK(ToHex(FromHex(block)) == ToHex(Golden(name)));
    ++examples;
  }
  CHECK(examples == std::size(kNames));
}

// Only for a new version: storage_files_test "[.write-golden]".
TEST_CASE("Golden: write the files", "[.write-golden]") {
  for (const char* name : kNames) {
    std::ofstream file(kGolden / (std::string(name) + ".hex"));
    file << ToHex(Made(name));
    CHECK(file.good());
  }
}

}  // namespace cairn::storage
