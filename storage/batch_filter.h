#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"

#include "protocol/bytes.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"

namespace cairn::storage {

// Takes records out of a batch, unpacking and packing it where it is compressed.
//
// Threads: one at a time. Keeps its memory between calls, up to a few MiB; while it works it needs
// what the batch unpacks to, kDecompressedBytesMax at most, twice, and 40 bytes a record.
class BatchFilter {
 public:
  enum class Fate {
    kKeep,
    kKeepForNow,  // a tombstone that has nothing left to stand against
    kDrop,
  };
  using Judge = absl::FunctionRef<Fate(const RecordView&)>;

  struct Result {
    std::int32_t kept = 0;
    bool changed = false;  // `out` holds the new batch; otherwise the batch stays as it is
  };
  // What is left of `batch`; FORMAT.md, "a cleaned segment", says what it looks like. Tombstones
  // that are kept for now get `delete_horizon` as the time from which they may go, if all of the
  // batch's are and it has none. A batch that cannot be unpacked or walked, or that would not fit
  // its limits, stays as it is: what cannot be understood is not thrown away.
  Result Apply(const RecordBatchView& batch, Timestamp delete_horizon, Judge judge, Bytes& out);

  // The batch without any record: its offsets, epoch and producer fields.
  static void Empty(const RecordBatchView& batch, Bytes& out);

 private:
  struct Kept {
    ByteView bytes;
    Timestamp timestamp;
  };
  bool Walk(const RecordBatchView& batch, Judge judge);
  bool Pack(const RecordBatchView& batch, bool dated, Timestamp delete_horizon, Bytes& out);
  void Release();

  RecordReader reader_;
  RecordView record_;
  std::vector<Kept> kept_;
  bool holds_dated_ = false;
  bool holds_undated_ = false;
  Bytes plain_;
};

}  // namespace cairn::storage
