#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::storage {

// The newest offset of each key, in a fixed amount of memory: 24 bytes a slot, of which three in
// four are used. A key is known by 128 bits of a seeded hash, so that no two are ever taken for
// one.
//
// Pure. Threads: one at a time.
class KeyMap {
 public:
  // Takes bytes_max bytes at most, and less where keys_max keys need less; room for one key at
  // least.
  KeyMap(std::int64_t bytes_max, std::int64_t keys_max, std::uint64_t hash_seed);

  // Notes that `key` stands at `offset`, not before where it stood. False: no room for another
  // key, and nothing was noted.
  bool Put(ByteView key, Offset offset);
  // Where the newest record of `key` stands, of those noted.
  std::optional<Offset> Find(ByteView key) const;

  std::int64_t size() const { return size_; }
  std::int64_t capacity() const { return capacity_; }

 private:
  struct Slot {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    std::int64_t offset_plus_one = 0;  // 0: free
  };
  // The slot that holds the key, or the free one where it belongs.
  std::size_t SlotOf(ByteView key, std::uint64_t& high, std::uint64_t& low) const;

  const std::uint64_t hash_seed_;
  std::int64_t capacity_ = 0;
  std::int64_t size_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace cairn::storage
