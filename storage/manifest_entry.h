#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "storage/manifest.h"

namespace cairn::storage {

// One entry of a manifest, as bytes. Little-endian:
//
//   at  size  field
//    0     4  length   of kind and payload
//    4     4  crc      CRC-32C of the length, the kind and the payload
//    8     1  kind     1 opened, 2 sealed, 3 reopened, 4 dropped, 5 log start, 6 leader epoch,
//                      7 swapped, 8 synced
//    9     .  payload  see FORMAT.md
void EncodeManifestEntry(const ManifestEntry& entry, Bytes& out);

struct DecodedEntry {
  ManifestEntry entry;
  std::size_t size = 0;  // on disk
};
// The entry in front of `bytes`.
//   kOutOfRange     it is not all there, or nothing but zeros follows
//   kDataLoss       damaged
//   kUnimplemented  whole, but of a kind or length that a newer program must have written
absl::StatusOr<DecodedEntry> DecodeManifestEntry(ByteView bytes);

// How far any synced entry that stands anywhere in `bytes` vouches for the file; 0: there is none.
std::int64_t FindVouchedEnd(ByteView bytes);

// What the entry does to the state. kDataLoss: it does not fit; `state` is unchanged.
absl::Status ApplyManifestEntry(const ManifestEntry& entry, ManifestState& state);

}  // namespace cairn::storage
