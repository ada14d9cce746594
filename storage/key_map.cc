#include "storage/key_map.h"

#include <algorithm>

#include "protocol/checksum.h"

namespace cairn::storage {
namespace {

// Slots are found by 32 bits of the hash.
constexpr std::int64_t kSlotsMax = std::int64_t{1} << 31;
constexpr std::int64_t kSlotsMin = 2;

}  // namespace

KeyMap::KeyMap(std::int64_t bytes_max, std::int64_t keys_max, std::uint64_t hash_seed)
    : hash_seed_(hash_seed) {
  const std::int64_t affordable = bytes_max / static_cast<std::int64_t>(sizeof(Slot));
  const std::int64_t needed = std::min(keys_max, kSlotsMax) / 3 * 4 + 4;
  const std::int64_t slots = std::clamp(std::min(affordable, needed), kSlotsMin, kSlotsMax);
  slots_.resize(static_cast<std::size_t>(slots));
  capacity_ = std::max<std::int64_t>(slots * 3 / 4, 1);
}

std::size_t KeyMap::SlotOf(ByteView key, std::uint64_t& high, std::uint64_t& low) const {
  const Hash128 hash = Xxh3Wide(key, hash_seed_);
  high = hash.high;
  low = hash.low;
  // The upper 32 bits, scaled to the number of slots.
  auto at = static_cast<std::size_t>(((high >> 32) * slots_.size()) >> 32);
  while (slots_[at].offset_plus_one != 0 && (slots_[at].high != high || slots_[at].low != low)) {
    if (++at == slots_.size()) at = 0;
  }
  return at;
}

bool KeyMap::Put(ByteView key, Offset offset) {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  Slot& slot = slots_[SlotOf(key, high, low)];
  if (slot.offset_plus_one == 0) {
    if (size_ == capacity_) return false;
    ++size_;
    slot.high = high;
    slot.low = low;
  }
  slot.offset_plus_one = std::max(slot.offset_plus_one, offset.value() + 1);
  return true;
}

std::optional<Offset> KeyMap::Find(ByteView key) const {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  const Slot& slot = slots_[SlotOf(key, high, low)];
  if (slot.offset_plus_one == 0) return std::nullopt;
  return Offset(slot.offset_plus_one - 1);
}

}  // namespace cairn::storage
