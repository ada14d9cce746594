#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::bench {

// Values and keys prepared beforehand, so that making them is no part of what is measured. The
// values are text-like: half of their bytes repeat, so that compression has something to do, but
// not everything.
class Payload {
 public:
  Payload(std::size_t value_bytes, std::int64_t keys, std::uint64_t seed);

  std::string_view value(std::uint64_t number) const { return values_[number % values_.size()]; }
  bool keyed() const { return !keys_.empty(); }
  // The keys come in a random but repeatable order.
  std::string_view key(std::uint64_t number) const { return keys_[order_[number % order_.size()]]; }

 private:
  std::vector<std::string> values_;
  std::vector<std::string> keys_;
  std::vector<std::uint32_t> order_;
};

}  // namespace cairn::bench
