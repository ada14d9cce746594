#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "protocol/bytes.h"

namespace cairn::storage {

// Keeps the process alive when mapped bytes cannot be read any more: the file was cut under the
// mapping, or the disk fails to read a page of it. The kernel then sends SIGBUS to whoever touches
// such a byte. A handler, installed with the first guard, puts a page of zeros where the missing
// one should be, and notes that and where the mapping was lost. A fault anywhere else gets what it
// would get without us.
//
// So zeros may stand where a batch should be. Whoever parses mapped bytes believes the result only
// if lost_at() is nothing afterwards. A system call that is given such bytes fails with EFAULT
// instead.
//
// Threads: any. The bytes must stay mapped, at the same place, while they are guarded.
class MappingGuard {
 public:
  MappingGuard() = default;  // guards nothing
  // Not active when there are as many guards as there can be.
  explicit MappingGuard(ByteView bytes);
  MappingGuard(const MappingGuard&) = delete;
  MappingGuard& operator=(const MappingGuard&) = delete;
  ~MappingGuard();

  bool is_active() const { return slot_ != nullptr; }
  // The first position that is known to be unreadable; nothing: none so far.
  std::optional<std::int64_t> lost_at() const;
  // The same found out in another way.
  void NoteLost(std::int64_t position) const;

  // What the signal handler looks at.
  struct Slot {
    std::atomic<std::uintptr_t> begin{0};  // 0: not in use
    std::atomic<std::uintptr_t> end{0};
    std::atomic<std::int64_t> lost_at{-1};
  };

 private:
  Slot* slot_ = nullptr;
};

}  // namespace cairn::storage
