#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/statusor.h"

#include "protocol/types.h"
#include "storage/file.h"

namespace cairn::storage {

// How long a segment's file must be, and which offset comes behind it.
struct Expected {
  std::int64_t length = 0;
  Offset next_offset;
};

// Whether a .log file that is not as long as it should be holds that segment at all, or another one
// that was put in its place: batches do not say which partition they are of, and many segments
// begin at the same offset. It is the right one if a batch ends where the segment should, before
// the right offset; of a shorter file the index tells, which knows where batches begin and what
// their timestamps are. False where neither can tell.
absl::StatusOr<bool> IndexVouchesFor(const File& log, const std::filesystem::path& index_path,
                                     Offset base, const Expected& expected, bool cleaned);

}  // namespace cairn::storage
