#include "protocol/checksum.h"

#include <isa-l.h>
#define XXH_INLINE_ALL
#include <algorithm>
#include <limits>
#include <xxhash.h>

namespace cairn {

std::uint32_t Crc32c(ByteView bytes) {
  // ISA-L takes a pointer that is not const, an int length, and leaves both inversions to us.
  std::uint32_t crc = ~std::uint32_t{0};
  while (!bytes.empty()) {
    const std::size_t size =
        std::min<std::size_t>(bytes.size(), std::numeric_limits<std::int32_t>::max());
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
    crc = crc32_iscsi(data, static_cast<int>(size), crc);
    bytes = bytes.subspan(size);
  }
  return ~crc;
}

std::uint64_t Xxh3(ByteView bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Hash128 Xxh3Wide(ByteView bytes, std::uint64_t seed) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed);
  return {hash.high64, hash.low64};
}

}  // namespace cairn
