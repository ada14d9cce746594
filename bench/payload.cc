#include "bench/payload.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_format.h"

namespace cairn::bench {
namespace {

constexpr std::size_t kValueBytesKept = 1u << 20;  // they must not push all else out of the caches
constexpr std::size_t kOrder = 1u << 14;

}  // namespace

Payload::Payload(std::size_t value_bytes, std::int64_t keys, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::size_t count =
      std::clamp<std::size_t>(kValueBytesKept / std::max<std::size_t>(value_bytes, 1), 1, 1024);
  values_.resize(count);
  for (std::string& value : values_) {
    value.resize(value_bytes);
    for (std::size_t i = 0; i < value_bytes; ++i) {
      const std::uint64_t bits = random();
      value[i] = (bits & 1) != 0 ? static_cast<char>('a' + (bits >> 8) % 26) : 'e';
    }
  }
  for (std::int64_t i = 0; i < keys; ++i) keys_.push_back(absl::StrFormat("key-%08d", i));
  if (keys == 0) return;
  order_.resize(kOrder);
  for (std::uint32_t& each : order_) {
    each = static_cast<std::uint32_t>(random() % static_cast<std::uint64_t>(keys));
  }
}

}  // namespace cairn::bench
