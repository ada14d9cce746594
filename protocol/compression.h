#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"

namespace cairn {

// How the records of a batch are packed, as one block. The numbers are Kafka's and stand in bits
// 0-2 of the batch attributes; gzip (1) and snappy (2) are Kafka's too but not spoken here.
enum class Codec : std::uint8_t { kNone = 0, kLz4 = 3, kZstd = 4 };

// nothing: not a codec we speak.
std::optional<Codec> CodecOf(std::uint8_t number);
std::string_view ToString(Codec codec);  // "none", "lz4", "zstd"
//   kInvalidArgument  names the known ones
absl::StatusOr<Codec> ParseCodec(std::string_view name);

// Appends the compressed form of `plain` to `out`. lz4 is the frame format with independent
// blocks, since Kafka's Java reader refuses linked ones; zstd frames carry their content size.
absl::Status Compress(Codec codec, ByteView plain, Bytes& out);

// Replaces `out` with the plain form. Never grows `out` past bytes_max + 1 on the way, whatever the
// block claims; a zstd frame may ask for a window of 8 MiB at most.
//   kDataLoss           not a valid block of that codec
//   kResourceExhausted  it would unpack to more than bytes_max
absl::Status Decompress(Codec codec, ByteView packed, std::size_t bytes_max, Bytes& out);

}  // namespace cairn
