#include "tests/fuzz/storage_seeds.h"

#include "protocol/record_batch_builder.h"
#include "storage/frontier.h"
#include "storage/manifest.h"
#include "storage/producer_table.h"
#include "tests/storage/damage.h"
#include "tests/storage/temp_dir.h"

namespace cairn::fuzz {
namespace {

using namespace storage;

// Behind the byte that says how the input is to be read.
Bytes Prefixed(std::uint8_t mode, ByteView bytes) {
  Bytes out = {static_cast<std::byte>(mode)};
  AppendBytes(out, bytes);
  return out;
}

Bytes Manifest() {
  const TempDir scratch(MemoryRoot());
  auto manifest = *storage::Manifest::Create(
      scratch.path(), {.topic = TopicId{{7}}, .name = "orders", .partition = PartitionIndex(1)});
  const Timestamp now(1'700'000'000'000);
  const ManifestEntry entries[] = {
      SegmentOpened{.base = Offset(0), .first_append_time = now},
      SegmentSealed{.base = Offset(0),
                    .sealed = {.next_offset = Offset(10),
                               .length = 1000,
                               .first_append_time = now,
                               .last_append_time = now,
                               .max_timestamp = now,
                               .fingerprint = 7}},
      SegmentOpened{.base = Offset(10), .first_append_time = now},
      LeaderEpochRaised{.epoch = LeaderEpoch(1), .first_offset = Offset(10)},
      LogStartMoved{.log_start = Offset(10)},
      SegmentDropped{.base = Offset(0)},
  };
  CAIRN_CHECK(manifest->Append(entries).ok());
  return ReadBack(scratch.path() / kManifestFileName);
}

Bytes Frontier() {
  const TempDir scratch(MemoryRoot());
  auto frontier = *storage::Frontier::Open(scratch.path(), TopicId{{9}});
  const DurableEnd end{.partition = {TopicId{{1}}, PartitionIndex(0)},
                       .end = Offset(5),
                       .segment_base = Offset(0),
                       .position = 500};
  CAIRN_CHECK(frontier->Note({&end, 1}).ok());
  CAIRN_CHECK(frontier->CloseClean().ok());
  return ReadBack(scratch.path() / "frontier");
}

Bytes Snapshot() {
  ProducerTable table;
  RecordBatchBuilder builder;
  builder.Add(
      {.timestamp = Timestamp(1), .key = std::nullopt, .value = AsBytes("v"), .headers = {}});
  const Bytes batch = *builder.Finish({.codec = Codec::kNone,
                                       .producer_id = ProducerId(5),
                                       .producer_epoch = ProducerEpoch(0),
                                       .base_sequence = 0});
  table.Apply(*RecordBatchView::Parse(batch), Timestamp(1));
  return table.Snapshot({{}, Offset(1), Offset(0), 0});
}

Bytes SegmentTail() {
  RecordBatchBuilder builder;
  builder.Add(
      {.timestamp = Timestamp(1), .key = std::nullopt, .value = AsBytes("v"), .headers = {}});
  Bytes batch = *builder.Finish({});
  StampBatch(batch, Offset(2), LeaderEpoch(0));
  return batch;
}

}  // namespace

std::vector<StorageSeed> StorageSeeds() {
  const Bytes manifest = Manifest();
  const Bytes frontier = Frontier();
  Bytes tail = {std::byte{150}, std::byte{0}};
  AppendBytes(tail, SegmentTail());
  const Bytes opened = {std::byte{16}, std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0},
                        std::byte{0},  std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}};
  return {
      {"manifest", "file", Prefixed(0, manifest)},
      {"manifest", "entries", Prefixed(1, opened)},
      {"frontier", "file", Prefixed(0, frontier)},
      {"frontier", "entries", Prefixed(1, ByteView(frontier).subspan(32))},
      {"producer_table", "snapshot", Snapshot()},
      {"segment_recovery", "tail", tail},
  };
}

}  // namespace cairn::fuzz
