#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/limits.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"
#include "storage/frontier.h"

namespace cairn::storage {

// What one partition remembers of its idempotent producers: epoch, next sequence and the last five
// batches of each, so that a batch sent again is answered with its first offset instead of being
// appended twice, and a gap is noticed. The rules are Kafka's (ProducerStateManager).
//
// Pure: no clock, no disk. Rebuilt by applying the batches of the log in order; the snapshot is
// derived data that spares reading all of them.
class ProducerTable {
 public:
  struct Verdict {
    bool duplicate = false;
    Offset first_offset;  // of the duplicate, when it was appended
    Offset next_offset;   // one past its last record then
  };

  // May this batch be appended now? Batches without a producer id always may.
  //   ErrorCode::kOutOfOrderSequence  a gap, or a repeat that is older than the last five
  //   ErrorCode::kStaleProducerEpoch  a newer epoch has written here
  //   ErrorCode::kUnknownProducer     not the beginning (sequence > 0) and the producer is not
  //   known
  absl::StatusOr<Verdict> Check(const RecordBatchView& batch) const;

  // Notes an appended batch, with its final offsets. Live, and in replay.
  void Apply(const RecordBatchView& batch, Timestamp append_time);

  // Whether Check may need the batch of `id` that begins at `base_offset`, to know it again.
  bool Remembers(ProducerId id, Offset base_offset) const;

  // Forgets producers that have not written since `before`.
  void Expire(Timestamp before);
  std::size_t size() const { return producers_.size(); }

  // The whole table as bytes, checksummed, with the partition and the log end it belongs to, and
  // where that is, so that reading goes on from there; FORMAT.md has the layout.
  Bytes Snapshot(const DurableEnd& log_end) const;
  //   kDataLoss            not a snapshot, damaged, or of an unknown version
  //   kFailedPrecondition  of another partition
  static absl::StatusOr<std::pair<ProducerTable, DurableEnd>> FromSnapshot(
      ByteView bytes, const TopicPartition& partition = {});

  // Whether both give the same verdict on every batch. Append times, which only Expire looks at, do
  // not count: a replay knows them roughly.
  friend bool operator==(const ProducerTable& a, const ProducerTable& b) {
    return a.producers_ == b.producers_;
  }

 private:
  struct Batch {
    std::int32_t base_sequence = 0;
    std::int32_t last_offset_delta = 0;
    Offset base_offset;

    friend bool operator==(const Batch&, const Batch&) = default;
  };
  // One producer. Its batches are all of `epoch`, oldest first, and their sequences join up.
  struct Entry {
    ProducerEpoch epoch;
    Timestamp last_append_time;
    std::size_t count = 0;
    std::array<Batch, kProducerBatchesKept> batches;

    void Note(const Batch& batch);
    const Batch& newest() const { return batches[count - 1]; }
    std::span<const Batch> kept() const { return std::span(batches).first(count); }
    friend bool operator==(const Entry& a, const Entry& b) {
      return a.epoch == b.epoch &&
             std::equal(a.kept().begin(), a.kept().end(), b.kept().begin(), b.kept().end());
    }
  };
  static absl::Status ReadEntry(ByteReader& reader, Offset log_end, Entry& entry);

  absl::flat_hash_map<ProducerId, Entry> producers_;
};

}  // namespace cairn::storage
