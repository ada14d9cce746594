#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Spans of bytes and the integers in them. Nothing is ever cast to a struct: fields are loaded by
// position, whatever the alignment.
namespace cairn {

using ByteView = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;
using Bytes = std::vector<std::byte>;

inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

static_assert(std::endian::native == std::endian::little, "Cairn runs on x86-64 and arm64");

template <std::integral T>
constexpr T ByteSwap(T value) {
  if constexpr (sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2)
    return static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(value)));
  if constexpr (sizeof(T) == 4)
    return static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
  if constexpr (sizeof(T) == 8)
    return static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(value)));
}

// Loads and stores at `position`; the caller has checked that the bytes are there.
template <std::integral T>
T LoadLe(ByteView bytes, std::size_t position) {
  T value;
  std::memcpy(&value, bytes.data() + position, sizeof(T));
  return value;
}
template <std::integral T>
T LoadBe(ByteView bytes, std::size_t position) {
  return ByteSwap(LoadLe<T>(bytes, position));
}
template <std::integral T>
void StoreLe(MutableBytes bytes, std::size_t position, T value) {
  std::memcpy(bytes.data() + position, &value, sizeof(T));
}
template <std::integral T>
void StoreBe(MutableBytes bytes, std::size_t position, T value) {
  StoreLe(bytes, position, ByteSwap(value));
}

template <std::integral T>
void AppendLe(Bytes& out, T value) {
  const std::size_t at = out.size();
  out.resize(at + sizeof(T));
  StoreLe(MutableBytes(out), at, value);
}
inline void AppendBytes(Bytes& out, ByteView bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// Variable-length integers as Kafka's records use them: zig-zag, seven bits a byte, low bits first.
// Source: Kafka's ByteUtils; the encoding is that of Protocol Buffers' sint32 and sint64.
inline constexpr std::size_t kVarintBytesMax = 10;
constexpr std::uint64_t ZigZag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
constexpr std::int64_t UnZigZag(std::uint64_t value) {
  return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}
constexpr std::size_t VarintSize(std::int64_t value) {
  return (static_cast<std::size_t>(std::bit_width(ZigZag(value) | 1)) + 6) / 7;
}
// Writes at `out`, which has room for VarintSize(value) bytes; returns the byte after.
inline std::byte* StoreVarint(std::byte* out, std::int64_t value) {
  std::uint64_t rest = ZigZag(value);
  while (rest >= 0x80) {
    *out++ = static_cast<std::byte>(rest | 0x80);
    rest >>= 7;
  }
  *out++ = static_cast<std::byte>(rest);
  return out;
}

inline void AppendVarint(Bytes& out, std::int64_t value) {
  const std::size_t at = out.size();
  out.resize(at + VarintSize(value));
  StoreVarint(out.data() + at, value);
}

// Reads forward through borrowed bytes and never past their end: after the first read that does
// not fit, ok() is false, every further read gives zero or nothing, and position() stays.
class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }

  template <std::integral T>
  T Le() {
    return Take(sizeof(T)) ? LoadLe<T>(bytes_, position_ - sizeof(T)) : T{};
  }
  template <std::integral T>
  T Be() {
    return Take(sizeof(T)) ? LoadBe<T>(bytes_, position_ - sizeof(T)) : T{};
  }
  // A zig-zag varint of at most 10 bytes; longer ones fail.
  std::int64_t Varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && ok_; shift += 7) {
      if (!Take(1)) return 0;
      const auto byte = static_cast<std::uint64_t>(bytes_[position_ - 1]);
      if (shift == 63 && byte > 1) break;
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return UnZigZag(value);
    }
    ok_ = false;
    return 0;
  }
  ByteView View(std::size_t size) {
    return Take(size) ? bytes_.subspan(position_ - size, size) : ByteView{};
  }

 private:
  bool Take(std::size_t size) {
    if (!ok_ || size > remaining()) return ok_ = false;
    position_ += size;
    return true;
  }

  ByteView bytes_;
  std::size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace cairn
