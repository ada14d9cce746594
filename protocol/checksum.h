#pragma once

#include <cstdint>

#include "protocol/bytes.h"

namespace cairn {

// CRC-32C (Castagnoli) as in RFC 3720 appendix B.4: 0xe3069283 for "123456789". Computed by ISA-L.
std::uint32_t Crc32c(ByteView bytes);

// XXH3, 64 bits, seed 0. Names partitions of keys and fingerprints sealed segments.
std::uint64_t Xxh3(ByteView bytes);

// XXH3, 128 bits. For tables whose keys come from strangers: without the seed nobody can make two
// keys that collide.
struct Hash128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  friend bool operator==(const Hash128&, const Hash128&) = default;
};
Hash128 Xxh3Wide(ByteView bytes, std::uint64_t seed);

}  // namespace cairn
