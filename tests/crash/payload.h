#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "tests/support/history.h"

namespace cairn::test {

// The bytes of a record: its value, and a filling that follows from it, so that a single wrong byte
// is seen.
class Payloads {
 public:
  Payloads() {
    std::uint64_t state = 1;
    for (char& byte : noise_) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<char>(state >> 56);
    }
  }

  std::string Make(Value value) const {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes += FillingOf(value);
  }

  // Nothing: these are not the bytes of any record.
  std::optional<Value> Parse(std::string_view bytes) const {
    Value value = 0;
    if (bytes.size() < sizeof value) return std::nullopt;
    std::memcpy(&value, bytes.data(), sizeof value);
    if (bytes.substr(sizeof value) != FillingOf(value)) return std::nullopt;
    return value;
  }

 private:
  static constexpr std::size_t kFillingMax = 300;

  std::string_view FillingOf(Value value) const {
    const std::uint64_t mixed = (value + 1) * 0x9e3779b97f4a7c15u;
    return std::string_view(noise_, sizeof noise_)
        .substr((mixed >> 20) % (sizeof noise_ - kFillingMax), (mixed >> 48) % kFillingMax);
  }

  char noise_[8192];
};

}  // namespace cairn::test
