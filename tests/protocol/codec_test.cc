#include <cstdint>
#include <limits>
#include <string>
#include <zstd.h>

#include <catch2/catch.hpp>

#include "protocol/bytes.h"
#include "protocol/checksum.h"
#include "protocol/compression.h"
#include "protocol/partitioner.h"
#include "tests/protocol/sample.h"

namespace cairn {
namespace {

Bytes Varint(std::int64_t value) {
  Bytes bytes(VarintSize(value));
  const std::byte* end = StoreVarint(bytes.data(), value);
  REQUIRE(end == bytes.data() + bytes.size());
  return bytes;
}

// Bytes that do not compress, the same at every run.
Bytes Noise(std::size_t size) {
  Bytes bytes(size);
  std::uint64_t state = 0x9e3779b97f4a7c15;
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

TEST_CASE("Varint: known values have their known bytes", "[protocol][bytes]") {
  CHECK(ToHex(Varint(0)) == "00");
  CHECK(ToHex(Varint(-1)) == "01");
  CHECK(ToHex(Varint(1)) == "02");
  CHECK(ToHex(Varint(63)) == "7e");
  CHECK(ToHex(Varint(-64)) == "7f");
  CHECK(ToHex(Varint(64)) == "8001");
  CHECK(ToHex(Varint(300)) == "d804");
  CHECK(ToHex(Varint(std::numeric_limits<std::int64_t>::max())) == "feffffffffffffffff01");
  CHECK(ToHex(Varint(std::numeric_limits<std::int64_t>::min())) == "ffffffffffffffffff01");
}

TEST_CASE("Varint: every edge of every size reads back", "[protocol][bytes]") {
  for (unsigned bits = 0; bits < 64; ++bits) {
    const auto edge = static_cast<std::int64_t>(std::uint64_t{1} << bits);
    for (const std::int64_t value : {edge, -(edge - 1), edge - 1, ~edge}) {
      const Bytes bytes = Varint(value);
      ByteReader reader(bytes);
      CHECK(reader.Varint() == value);
      CHECK(reader.ok());
      CHECK(reader.remaining() == 0);
      if (bits == 63) break;
    }
  }
}

TEST_CASE("Varint: one that is cut short or too long is refused", "[protocol][bytes]") {
  const Bytes longest = Varint(std::numeric_limits<std::int64_t>::min());
  for (std::size_t size = 0; size < longest.size(); ++size) {
    ByteReader reader(ByteView(longest).first(size));
    CHECK(reader.Varint() == 0);
    CHECK_FALSE(reader.ok());
  }
  for (const int last : {0x02, 0x7f, 0x81}) {
    Bytes over(9, std::byte{0xff});
    over.push_back(static_cast<std::byte>(last));
    over.push_back(std::byte{0});
    ByteReader reader(over);
    reader.Varint();
    CHECK_FALSE(reader.ok());
  }
}

TEST_CASE("ByteReader: after a read that does not fit, nothing is read any more",
          "[protocol][bytes]") {
  const Bytes bytes = BytesOf("\x01\x02\x03");
  ByteReader reader(bytes);
  CHECK(reader.Be<std::uint16_t>() == 0x0102);
  CHECK(reader.Le<std::uint32_t>() == 0);
  CHECK_FALSE(reader.ok());
  CHECK(reader.Le<std::uint8_t>() == 0);
  CHECK(reader.View(1).empty());
  CHECK(reader.position() == 2);
}

TEST_CASE("CRC-32C: the vectors of RFC 3720", "[protocol][checksum]") {
  CHECK(Crc32c(AsBytes("")) == 0);
  CHECK(Crc32c(AsBytes("123456789")) == 0xe3069283);
  CHECK(Crc32c(Bytes(32, std::byte{0})) == 0x8a9136aa);
  CHECK(Crc32c(Bytes(32, std::byte{0xff})) == 0x62a8ab43);
  Bytes up(32), down(32);
  for (std::size_t i = 0; i < 32; ++i) {
    up[i] = static_cast<std::byte>(i);
    down[i] = static_cast<std::byte>(31 - i);
  }
  CHECK(Crc32c(up) == 0x46dd794e);
  CHECK(Crc32c(down) == 0x113fdb5c);
}

// The numbers are those of another program, python3-xxhash; WIRE.md publishes them.
TEST_CASE("Partitioner: keys go where the published vectors say", "[protocol][partitioner]") {
  struct Vector {
    Bytes key;
    std::uint64_t hash;
    std::int32_t of_4, of_12, of_1000, of_max;
  };
  const Vector vectors[] = {
      {BytesOf(""), 0x2d06800538d394c2, 2, 10, 138, 316708045},
      {BytesOf("a"), 0xe6c632b61e964e1f, 3, 7, 719, 1814213518},
      {BytesOf("customer-42"), 0xf40925ac7f7b5e61, 1, 9, 433, 1737337277},
      {Counting(240), 0x375a384d957fe865, 1, 5, 517, 70539521},
      {Counting(241), 0x02e8cd95421c6d02, 2, 10, 418, 1206781996},
      {Counting(1 << 20), 0x6e0d7ac36b8c10ff, 3, 7, 383, 1202128519},
  };
  for (const Vector& vector : vectors) {
    INFO(vector.key.size() << " bytes");
    CHECK(Xxh3(vector.key) == vector.hash);
    CHECK(PartitionForKey(vector.key, 1) == PartitionIndex(0));
    CHECK(PartitionForKey(vector.key, 4) == PartitionIndex(vector.of_4));
    CHECK(PartitionForKey(vector.key, 12) == PartitionIndex(vector.of_12));
    CHECK(PartitionForKey(vector.key, 1000) == PartitionIndex(vector.of_1000));
    CHECK(PartitionForKey(vector.key, 2147483647) == PartitionIndex(vector.of_max));
  }
}

TEST_CASE("Codec: names and numbers are Kafka's", "[protocol][compression]") {
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    CHECK(CodecOf(static_cast<std::uint8_t>(codec)) == codec);
    const auto parsed = ParseCodec(ToString(codec));
    REQUIRE(parsed.ok());
    CHECK(*parsed == codec);
  }
  CHECK(static_cast<int>(Codec::kLz4) == 3);
  CHECK(static_cast<int>(Codec::kZstd) == 4);
  for (const int number : {1, 2, 5, 6, 7}) {
    CHECK_FALSE(CodecOf(static_cast<std::uint8_t>(number)).has_value());
  }
  const auto unknown = ParseCodec("snappy");
  CHECK(std::string(unknown.status().message()).find("lz4") != std::string::npos);
}

TEST_CASE("Compression: what goes in comes out, behind what was there", "[protocol][compression]") {
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    for (const std::size_t size : {0u, 1u, 100u, 65536u, 300000u}) {
      for (const Bytes& plain : {Counting(size), Noise(size)}) {
        INFO(ToString(codec) << ", " << size << " bytes");
        Bytes packed = BytesOf("head");
        REQUIRE(Compress(codec, plain, packed).ok());
        CHECK(AsText(ByteView(packed).first(4)) == "head");
        Bytes out = BytesOf("old content");
        REQUIRE(Decompress(codec, ByteView(packed).subspan(4), size, out).ok());
        CHECK(out == plain);
      }
    }
  }
}

TEST_CASE("Compression: lz4 frames have independent blocks, zstd frames name their size",
          "[protocol][compression]") {
  const Bytes plain = Counting(200'000);
  Bytes lz4, zstd;
  REQUIRE(Compress(Codec::kLz4, plain, lz4).ok());
  REQUIRE(Compress(Codec::kZstd, plain, zstd).ok());
  CHECK(ToHex(ByteView(lz4).first(4)) == "04224d18");
  CHECK((lz4[4] & std::byte{0x20}) != std::byte{0});
  CHECK(ToHex(ByteView(zstd).first(4)) == "28b52ffd");
  CHECK(ZSTD_getFrameContentSize(zstd.data(), zstd.size()) == plain.size());
}

TEST_CASE("Compression: a block that unpacks to one byte too many is refused",
          "[protocol][compression]") {
  for (const Codec codec : {Codec::kNone, Codec::kLz4, Codec::kZstd}) {
    INFO(ToString(codec));
    const Bytes plain = Counting(70'000);
    Bytes packed, out;
    REQUIRE(Compress(codec, plain, packed).ok());
    CHECK(Decompress(codec, packed, plain.size(), out).ok());
    const absl::Status over = Decompress(codec, packed, plain.size() - 1, out);
    CHECK(over.code() == absl::StatusCode::kResourceExhausted);
    CHECK(out.size() <= plain.size());
  }
}

TEST_CASE("Compression: a bomb costs no more than its bound", "[protocol][compression]") {
  constexpr std::size_t kBound = 1u << 20;
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    INFO(ToString(codec));
    Bytes packed, out;
    REQUIRE(Compress(codec, Bytes(64u << 20), packed).ok());
    REQUIRE(packed.size() < kBound);
    const absl::Status refused = Decompress(codec, packed, kBound, out);
    CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
    CHECK(out.capacity() <= 2 * kBound + 2);
  }
}

TEST_CASE("Compression: a zstd frame that lies about its size is not believed",
          "[protocol][compression]") {
  // A header that announces 2^62 bytes (8-byte content size, single segment), and no block.
  const Bytes lie = BytesOf(std::string("\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x40", 13));
  Bytes out;
  const absl::Status refused = Decompress(Codec::kZstd, lie, 1u << 20, out);
  CHECK_FALSE(refused.ok());
  CHECK(out.capacity() <= 2u << 20);
}

TEST_CASE("Compression: every cut and every trailing byte is noticed", "[protocol][compression]") {
  const Bytes plain = Counting(3000);
  for (const Codec codec : {Codec::kLz4, Codec::kZstd}) {
    Bytes packed, out;
    REQUIRE(Compress(codec, plain, packed).ok());
    for (std::size_t size = 0; size < packed.size(); ++size) {
      INFO(ToString(codec) << " cut to " << size << " of " << packed.size());
      const absl::Status cut = Decompress(codec, ByteView(packed).first(size), plain.size(), out);
      CHECK(cut.code() == absl::StatusCode::kDataLoss);
    }
    packed.push_back(std::byte{0});
    CHECK(Decompress(codec, packed, plain.size(), out).code() == absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace cairn
