#include "protocol/bytes.h"

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

namespace cairn {
namespace {

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

Bytes FromHex(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

Bytes Varint(std::int64_t value) {
  Bytes bytes(kVarintBytesMax);
  const std::byte* end = StoreVarint(bytes.data(), value);
  bytes.resize(static_cast<std::size_t>(end - bytes.data()));
  return bytes;
}

TEST_CASE("Bytes: integers have the byte order of their name", "[protocol][bytes]") {
  Bytes bytes(8);
  StoreBe(MutableBytes(bytes), 0, std::int32_t{0x01020304});
  StoreLe(MutableBytes(bytes), 4, std::int32_t{0x01020304});
  CHECK(bytes == FromHex({1, 2, 3, 4, 4, 3, 2, 1}));
  CHECK(LoadBe<std::int32_t>(bytes, 0) == 0x01020304);
  CHECK(LoadLe<std::int32_t>(bytes, 4) == 0x01020304);
  CHECK(LoadBe<std::int16_t>(bytes, 1) == 0x0203);
  CHECK(LoadBe<std::uint64_t>(bytes, 0) == 0x0102030404030201u);
}

TEST_CASE("Varint: known values have known bytes", "[protocol][bytes]") {
  const std::vector<std::pair<std::int64_t, Bytes>> vectors = {
      {0, FromHex({0x00})},
      {-1, FromHex({0x01})},
      {1, FromHex({0x02})},
      {63, FromHex({0x7e})},
      {-64, FromHex({0x7f})},
      {64, FromHex({0x80, 0x01})},
      {-65, FromHex({0x81, 0x01})},
      {300, FromHex({0xd8, 0x04})},
      {8191, FromHex({0xfe, 0x7f})},
      {8192, FromHex({0x80, 0x80, 0x01})},
      {2147483647, FromHex({0xfe, 0xff, 0xff, 0xff, 0x0f})},
      {-2147483648, FromHex({0xff, 0xff, 0xff, 0xff, 0x0f})},
      {kMax, FromHex({0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})},
      {kMin, FromHex({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})},
  };
  for (const auto& [value, bytes] : vectors) {
    CAPTURE(value);
    CHECK(Varint(value) == bytes);
    CHECK(VarintSize(value) == bytes.size());
    ByteReader reader(bytes);
    CHECK(reader.Varint() == value);
    CHECK(reader.ok());
    CHECK(reader.remaining() == 0);
  }
}

TEST_CASE("Varint: every power of two and its neighbours come back", "[protocol][bytes]") {
  for (int bit = 0; bit < 63; ++bit) {
    const std::int64_t power = std::int64_t{1} << bit;
    for (const std::int64_t value : {power - 1, power, power + 1, -power, -power - 1, -power + 1}) {
      const Bytes bytes = Varint(value);
      ByteReader reader(bytes);
      CAPTURE(value);
      CHECK(reader.Varint() == value);
      CHECK(VarintSize(value) == bytes.size());
    }
  }
}

TEST_CASE("Varint: one that is cut off or too long fails", "[protocol][bytes]") {
  const auto fails = [](const Bytes& bytes) {
    ByteReader reader(bytes);
    const std::int64_t value = reader.Varint();
    return !reader.ok() && value == 0;
  };
  CHECK(fails({}));
  CHECK(fails(FromHex({0x80})));
  CHECK(fails(FromHex({0xff, 0xff, 0xff})));
  // The tenth byte has room for one bit only, and there is no eleventh.
  CHECK(fails(FromHex({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02})));
  CHECK(fails(FromHex({0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00})));
  for (std::size_t size = 0; size < kVarintBytesMax; ++size) {
    Bytes cut = Varint(kMin);
    cut.resize(size);
    CHECK(fails(cut));
  }
}

TEST_CASE("ByteReader: after the first read that does not fit all others give nothing",
          "[protocol][bytes]") {
  const Bytes bytes = FromHex({1, 2, 3, 4, 5});
  ByteReader reader(bytes);
  CHECK(reader.Le<std::uint32_t>() == 0x04030201u);
  CHECK(reader.Be<std::uint16_t>() == 0);
  CHECK_FALSE(reader.ok());
  CHECK(reader.Le<std::uint8_t>() == 0);
  CHECK(reader.Varint() == 0);
  CHECK(reader.View(1).empty());
  CHECK(reader.View(0).empty());
  CHECK(reader.position() == 4);
}

TEST_CASE("ByteReader: a view of an impossible size does not wrap around", "[protocol][bytes]") {
  const Bytes bytes = FromHex({1, 2, 3});
  ByteReader reader(bytes);
  reader.Le<std::uint8_t>();
  CHECK(reader.View(std::numeric_limits<std::size_t>::max()).empty());
  CHECK_FALSE(reader.ok());
}

}  // namespace
}  // namespace cairn
