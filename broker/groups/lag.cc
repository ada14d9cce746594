#include "broker/groups/lag.h"

#include <algorithm>

#include "protocol/limits.h"
#include "protocol/record_batch.h"
#include "storage/segment.h"

namespace cairn::broker {
namespace {

Timestamp FirstIn(ByteView bytes, Offset from) {
  while (!bytes.empty()) {
    const auto batch = RecordBatchView::ParseHeader(bytes);
    if (!batch.ok()) return kNoTimestamp;
    RecordReader reader;
    if (!reader.Open(*batch, kDecompressedBytesMax).ok()) return kNoTimestamp;
    for (RecordView record; reader.Next(record);) {
      if (record.offset >= from) return record.timestamp;
    }
    bytes = bytes.subspan(batch->size());
  }
  return kNoTimestamp;
}

}  // namespace

std::int64_t LagOf(const Partition::Ends& ends, Offset committed) {
  return std::max<std::int64_t>(0, ends.committed_end - std::max(committed, ends.log_start));
}

Timestamp FirstUnread(Partition& partition, Offset offset) {
  const Partition::Ends ends = partition.ends();
  storage::ReadCursor cursor;
  // A batch may hold nothing at or after `offset`: compaction leaves gaps.
  for (Offset from = std::max(offset, ends.log_start); from < ends.committed_end;) {
    const absl::StatusOr<storage::LogRead> read = partition.Read(from, 1, cursor);
    if (!read.ok()) return kNoTimestamp;
    if (read->cold != nullptr) {
      if (!read->cold->Prepare(read->cold_position).ok()) return kNoTimestamp;
      continue;
    }
    if (read->view.bytes.empty() || read->next <= from) return kNoTimestamp;
    const Timestamp found = FirstIn(read->view.bytes, offset);
    if (read->view.mapping->is_lost()) return kNoTimestamp;
    if (found != kNoTimestamp) return found;
    from = read->next;
  }
  return kNoTimestamp;
}

}  // namespace cairn::broker
