#include "tools/cairn/utf8.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cairn::tools {
namespace {

bool EightAreAscii(const char* at) {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return (word & 0x8080808080808080u) == 0;
}

bool IsContinuation(unsigned char byte) { return (byte & 0xc0) == 0x80; }

// The length of the sequence that a lead byte begins and the range its second byte must lie in
// (RFC 3629, section 4); length 0: not a lead byte.
struct Sequence {
  std::size_t length;
  unsigned char second_min, second_max;
};

Sequence SequenceOf(unsigned char lead) {
  if (lead >= 0xc2 && lead <= 0xdf) return {2, 0x80, 0xbf};
  if (lead == 0xe0) return {3, 0xa0, 0xbf};
  if (lead == 0xed) return {3, 0x80, 0x9f};
  if (lead >= 0xe1 && lead <= 0xef) return {3, 0x80, 0xbf};
  if (lead == 0xf0) return {4, 0x90, 0xbf};
  if (lead >= 0xf1 && lead <= 0xf3) return {4, 0x80, 0xbf};
  if (lead == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

}  // namespace

bool IsUtf8(std::string_view bytes) {
  std::size_t at = 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  while (at < bytes.size()) {
    if (bytes.size() - at >= 8 && EightAreAscii(bytes.data() + at)) {
      at += 8;
      continue;
    }
    if (byte(at) < 0x80) {
      ++at;
      continue;
    }
    const Sequence sequence = SequenceOf(byte(at));
    if (sequence.length == 0 || bytes.size() - at < sequence.length) return false;
    if (byte(at + 1) < sequence.second_min || byte(at + 1) > sequence.second_max) return false;
    for (std::size_t i = 2; i < sequence.length; ++i) {
      if (!IsContinuation(byte(at + i))) return false;
    }
    at += sequence.length;
  }
  return true;
}

}  // namespace cairn::tools
