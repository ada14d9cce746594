// Unpacking: the first byte picks the codec and the bound; the rest is the block.
#include <cstddef>
#include <cstdint>

#include "protocol/check.h"
#include "protocol/compression.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  if (size == 0) return 0;
  const Codec codec = (data[0] & 1) != 0 ? Codec::kZstd : Codec::kLz4;
  const std::size_t bytes_max = std::size_t{1} << (data[0] >> 1 & 15);
  const ByteView block(reinterpret_cast<const std::byte*>(data + 1), size - 1);

  static Bytes plain;
  if (Decompress(codec, block, bytes_max, plain).ok()) CAIRN_CHECK(plain.size() <= bytes_max);

  Bytes packed;
  Bytes again;
  CAIRN_CHECK(Compress(codec, block, packed).ok());
  CAIRN_CHECK(Decompress(codec, packed, block.size(), again).ok());
  CAIRN_CHECK(AsText(again) == AsText(block));
  return 0;
}
