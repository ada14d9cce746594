#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::storage {

// DATA/format: what a data directory is as a whole. Written once, as the last step of its creation.
// FORMAT.md has the bytes.
struct DataFormat {
  TopicId cluster_id;
  std::int32_t offsets_partitions = 16;  // of __consumer_offsets
};

inline constexpr const char* kFormatFileName = "format";

Bytes EncodeFormat(const DataFormat& format);
//   kFailedPrecondition  of another version
//   kDataLoss            not a format file, or damaged; `file_name` is what messages call it
absl::StatusOr<DataFormat> DecodeFormat(std::string_view file_name, ByteView file);

}  // namespace cairn::storage
