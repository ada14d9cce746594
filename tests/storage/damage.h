#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::storage {

// What every byte of a file is worth: calls `check` with every shorter length of it, and with every
// byte changed in three ways.
template <typename Check>
void ForEveryCut(const Bytes& whole, const Check& check) {
  for (std::size_t length = 0; length < whole.size(); ++length) {
    check(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)), length);
  }
}
template <typename Check>
void ForEveryFlip(const Bytes& whole, const Check& check) {
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int mask : {0x01, 0x80, 0xff}) {
      Bytes damaged = whole;
      damaged[at] ^= static_cast<std::byte>(mask);
      check(damaged, at);
    }
  }
}

inline void WriteFile(const std::filesystem::path& path, ByteView bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

inline Bytes ReadBack(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const ByteView bytes = AsBytes(text);
  return Bytes(bytes.begin(), bytes.end());
}

inline TopicId IdOf(std::uint8_t number) {
  TopicId id;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    id.bytes[i] = static_cast<std::uint8_t>(number + i);
  }
  return id;
}

}  // namespace cairn::storage
