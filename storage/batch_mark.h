#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/record_batch.h"
#include "storage/file.h"

namespace cairn::storage {

// What a segment's first batch is known by. Batches do not say whose they are, and segments of
// other partitions begin at the same offset and are as long: a file that was put in another's place
// begins with another batch. Where it does not match because it is damaged, nothing stands before
// it that could be served.
struct BatchMark {
  std::uint32_t length = 0;  // of the batch, in bytes; 0: the segment has none
  std::uint32_t crc = 0;     // as its header says

  static BatchMark Of(ByteView batch);
  // What a file begins with; {} if that is no header of a batch.
  static absl::StatusOr<BatchMark> In(const File& file);

  // Whether the file begins with that batch: one look at its header, and none at what follows it.
  //   kDataLoss  it does not; names file, position, expected and found
  absl::Status CheckIn(const File& file) const;

  friend bool operator==(const BatchMark&, const BatchMark&) = default;
};

}  // namespace cairn::storage
