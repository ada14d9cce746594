#include "protocol/partitioner.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "protocol/checksum.h"

namespace cairn {
namespace {

Bytes Filled(std::size_t size, int value) { return Bytes(size, static_cast<std::byte>(value)); }

Bytes Counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i & 0xff);
  return bytes;
}

TEST_CASE("Crc32c: the vectors of RFC 3720 appendix B.4", "[protocol][checksum]") {
  CHECK(Crc32c(AsBytes("123456789")) == 0xe3069283u);
  CHECK(Crc32c({}) == 0u);
  CHECK(Crc32c(Filled(32, 0x00)) == 0x8a9136aau);
  CHECK(Crc32c(Filled(32, 0xff)) == 0x62a8ab43u);
  CHECK(Crc32c(Counting(32)) == 0x46dd794eu);
  Bytes descending = Counting(32);
  std::reverse(descending.begin(), descending.end());
  CHECK(Crc32c(descending) == 0x113fdb5cu);
}

TEST_CASE("Crc32c: alignment and length do not matter to a bitwise reading of the polynomial",
          "[protocol][checksum]") {
  const auto bitwise = [](ByteView bytes) {
    std::uint32_t crc = 0xffffffffu;
    for (const std::byte byte : bytes) {
      crc ^= static_cast<std::uint32_t>(byte);
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    }
    return ~crc;
  };
  const Bytes bytes = Counting(600);
  for (std::size_t from = 0; from < 16; ++from) {
    for (std::size_t size = 0; size + from <= bytes.size(); size += 13) {
      const ByteView part = ByteView(bytes).subspan(from, size);
      REQUIRE(Crc32c(part) == bitwise(part));
    }
  }
}

struct Vector {
  std::string name;
  Bytes key;
  std::uint64_t hash;
  std::int32_t of_4, of_7;
};

Bytes Text(std::string_view text) {
  const ByteView bytes = AsBytes(text);
  return Bytes(bytes.begin(), bytes.end());
}

// The same numbers stand in WIRE.md; they come from the reference implementation of XXH3.
TEST_CASE("Partitioner: the published vectors hold", "[protocol][partitioner]") {
  const std::vector<Vector> vectors = {
      {"empty", {}, 0x2d06800538d394c2u, 2, 4},
      {"a", Text("a"), 0xe6c632b61e964e1fu, 3, 1},
      {"one zero byte", Filled(1, 0), 0xc44bdff4074eecdbu, 3, 2},
      {"order-17", Text("order-17"), 0x234cefc81040cbbeu, 2, 1},
      {"16 x", Filled(16, 'x'), 0xdf76ff0d7f0d9edfu, 3, 4},
      {"17 x", Filled(17, 'x'), 0x89975e6b7d2f5a11u, 1, 0},
      {"128 x", Filled(128, 'x'), 0x4ca37e83f6cddd17u, 3, 6},
      {"129 x", Filled(129, 'x'), 0xe4f9742108fe27dcu, 0, 2},
      {"240 x", Filled(240, 'x'), 0x3e16ca8a0c6ccb68u, 0, 4},
      {"241 x", Filled(241, 'x'), 0x14da9e5c301a6a1du, 1, 2},
      {"1 MiB of zeros", Filled(1u << 20, 0), 0x918780b90550bf34u, 0, 4},
      {"1 MiB counting", Counting(1u << 20), 0xd36c0e13a3df139eu, 2, 2},
  };
  for (const Vector& vector : vectors) {
    CAPTURE(vector.name);
    CHECK(Xxh3(vector.key) == vector.hash);
    CHECK(PartitionForKey(vector.key, 4).value() == vector.of_4);
    CHECK(PartitionForKey(vector.key, 7).value() == vector.of_7);
    CHECK(PartitionForKey(vector.key, 1).value() == 0);
  }
  // Hashes above 2^63 must not turn negative on their way to a partition.
  CHECK(PartitionForKey(Text("a"), 10'000).value() == 8719);
}

}  // namespace
}  // namespace cairn
