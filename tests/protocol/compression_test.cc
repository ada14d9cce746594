#include "protocol/compression.h"

#include <cstddef>
#include <lz4frame.h>
#include <random>
#include <string>
#include <zstd.h>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "protocol/limits.h"

namespace cairn {
namespace {

constexpr Codec kPacking[] = {Codec::kLz4, Codec::kZstd};

Bytes Pack(Codec codec, ByteView plain) {
  Bytes packed;
  REQUIRE(Compress(codec, plain, packed).ok());
  return packed;
}

Bytes Noise(std::size_t size) {
  std::mt19937_64 random(size);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

TEST_CASE("Compression: blocks of every size come back, compressible or not",
          "[protocol][compression]") {
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    for (const std::size_t size : {0u, 1u, 100u, 65535u, 65536u, 65537u, 300'000u}) {
      for (const Bytes& plain : {Bytes(size, std::byte{'x'}), Noise(size)}) {
        CAPTURE(ToString(codec), size);
        Bytes unpacked = Noise(10);
        REQUIRE(Decompress(codec, Pack(codec, plain), size, unpacked).ok());
        CHECK(unpacked == plain);
      }
    }
  }
}

TEST_CASE("Compression: what stood in the output stays in front", "[protocol][compression]") {
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    Bytes out = Noise(61);
    REQUIRE(Compress(codec, Noise(500), out).ok());
    CHECK(Bytes(out.begin(), out.begin() + 61) == Noise(61));
    Bytes unpacked;
    REQUIRE(Decompress(codec, ByteView(out).subspan(61), 500, unpacked).ok());
    CHECK(unpacked == Noise(500));
  }
}

TEST_CASE("Compression: a bomb is stopped at the bound", "[protocol][compression]") {
  const Bytes plain(50u << 20, std::byte{0});
  for (const Codec codec : kPacking) {
    CAPTURE(ToString(codec));
    const Bytes bomb = Pack(codec, plain);
    REQUIRE(bomb.size() < plain.size() / 100);
    for (const std::size_t bytes_max : {std::size_t{0}, std::size_t{1000}, plain.size() - 1}) {
      Bytes out;
      CHECK(absl::IsResourceExhausted(Decompress(codec, bomb, bytes_max, out)));
      CHECK(out.capacity() <= 2 * bytes_max + (64u << 10));
    }
  }
}

TEST_CASE("Compression: the bound itself is allowed", "[protocol][compression]") {
  for (const Codec codec : kPacking) {
    const Bytes packed = Pack(codec, Noise(70'000));
    Bytes out;
    CHECK(Decompress(codec, packed, 70'000, out).ok());
    CHECK(absl::IsResourceExhausted(Decompress(codec, packed, 69'999, out)));
  }
}

TEST_CASE("Compression: a zstd frame that asks for a large window is refused",
          "[protocol][compression]") {
  // No content size; a window of 2^(10 + w / 8); one raw block of one byte, the last.
  const auto unpack = [](unsigned char w) {
    const unsigned char frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0, w, 9, 0, 0, 'x'};
    Bytes out;
    return Decompress(Codec::kZstd, std::as_bytes(std::span(frame)), 1000, out);
  };
  CHECK(unpack(13 << 3).ok());  // 8 MiB
  CHECK(absl::IsDataLoss(unpack(14 << 3)));
}

TEST_CASE("Compression: a block that claims much and holds little costs little",
          "[protocol][compression]") {
  // A zstd frame header with a content size of 2^40, and then nothing.
  const unsigned char claim[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0};
  Bytes out;
  const absl::Status status =
      Decompress(Codec::kZstd, std::as_bytes(std::span(claim)), kDecompressedBytesMax, out);
  CHECK(absl::IsDataLoss(status));
  CHECK(out.capacity() <= (1u << 20));
}

TEST_CASE("Compression: cut anywhere, a block is broken and never half a success",
          "[protocol][compression]") {
  const Bytes plain = Noise(300);
  for (const Codec codec : kPacking) {
    const Bytes packed = Pack(codec, plain);
    for (std::size_t size = 0; size < packed.size(); ++size) {
      const Bytes cut(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size));
      Bytes out;
      CAPTURE(ToString(codec), size);
      REQUIRE(absl::IsDataLoss(Decompress(codec, cut, 1000, out)));
    }
  }
}

TEST_CASE("Compression: bytes behind the end of a block are refused", "[protocol][compression]") {
  for (const Codec codec : kPacking) {
    Bytes packed = Pack(codec, Noise(300));
    Bytes twice = packed;
    AppendBytes(twice, packed);
    packed.push_back(std::byte{0});
    Bytes out;
    CHECK(absl::IsDataLoss(Decompress(codec, packed, 1000, out)));
    CHECK(absl::IsDataLoss(Decompress(codec, twice, 1000, out)));
  }
}

TEST_CASE("Compression: flipped bytes end in an error or within the bound",
          "[protocol][compression]") {
  const Bytes plain(2000, std::byte{'y'});
  for (const Codec codec : kPacking) {
    const Bytes good = Pack(codec, plain);
    for (std::size_t at = 0; at < good.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        Bytes packed = good;
        packed[at] ^= static_cast<std::byte>(1 << bit);
        Bytes out;
        if (Decompress(codec, packed, 5000, out).ok()) REQUIRE(out.size() <= 5000);
      }
    }
    // A thread's codec works on after an error.
    Bytes out;
    REQUIRE(Decompress(codec, good, 5000, out).ok());
    CHECK(out == plain);
  }
}

TEST_CASE("Compression: lz4 blocks are independent, as Kafka's Java reader wants them",
          "[protocol][compression]") {
  const Bytes packed = Pack(Codec::kLz4, Noise(200'000));
  CHECK(LoadLe<std::uint32_t>(packed, 0) == 0x184d2204u);
  CHECK((static_cast<unsigned>(packed[4]) & 0x20) != 0);  // FLG: block independence
}

TEST_CASE("Compression: zstd frames carry their content size", "[protocol][compression]") {
  const Bytes packed = Pack(Codec::kZstd, Noise(12'345));
  CHECK(ZSTD_getFrameContentSize(packed.data(), packed.size()) == 12'345);
}

TEST_CASE("Compression: blocks of other makers are read", "[protocol][compression]") {
  const Bytes plain = Noise(150'000);
  // lz4 with linked blocks and checksums; zstd without a content size and with a checksum.
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockMode = LZ4F_blockLinked;
  preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  Bytes lz4(LZ4F_compressFrameBound(plain.size(), &preferences));
  lz4.resize(LZ4F_compressFrame(lz4.data(), lz4.size(), plain.data(), plain.size(), &preferences));

  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  Bytes zstd(ZSTD_compressBound(plain.size()));
  zstd.resize(ZSTD_compress2(context, zstd.data(), zstd.size(), plain.data(), plain.size()));
  ZSTD_freeCCtx(context);

  Bytes out;
  REQUIRE(Decompress(Codec::kLz4, lz4, plain.size(), out).ok());
  CHECK(out == plain);
  REQUIRE(Decompress(Codec::kZstd, zstd, plain.size(), out).ok());
  CHECK(out == plain);
}

TEST_CASE("Codec: names and numbers", "[protocol][compression]") {
  CHECK(CodecOf(0) == Codec::kNone);
  CHECK(CodecOf(3) == Codec::kLz4);
  CHECK(CodecOf(4) == Codec::kZstd);
  for (const int number : {1, 2, 5, 6, 7, 255}) {
    CHECK_FALSE(CodecOf(static_cast<std::uint8_t>(number)).has_value());
  }
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    CHECK(ParseCodec(ToString(codec)).value() == codec);
  }
  for (const std::string_view name : {"", "gzip", "snappy", "LZ4", "zstd "}) {
    CHECK(CodeOf(ParseCodec(name).status()) == ErrorCode::kUnsupportedCodec);
  }
}

}  // namespace
}  // namespace cairn
