#include "storage/mapping_guard.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "protocol/check.h"

namespace cairn::storage {
namespace {

using Slot = MappingGuard::Slot;

// As many as vm.max_map_count usually allows. Pages of the table that were never used cost nothing.
constexpr std::size_t kSlots = 1 << 16;
std::array<Slot, kSlots> slots;
std::atomic<std::size_t> slots_used{0};  // none at or above it was ever in use

// How slots are shared out; the handler has no part in it.
std::mutex slots_mutex;
std::vector<Slot*>& FreeSlots() {
  static auto* const free = new std::vector<Slot*>();
  return *free;
}

std::uintptr_t page_bytes = 0;
struct sigaction previous_action;

bool Contains(const Slot& slot, std::uintptr_t address) {
  const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
  const std::uintptr_t end = slot.end.load(std::memory_order_acquire);
  // Begun anew meanwhile: then it is not what the fault was in, for that is still mapped.
  if (begin == 0 || slot.begin.load(std::memory_order_acquire) != begin) return false;
  return begin <= address && address < end;
}

void NoteFirst(Slot& slot, std::int64_t position) {
  std::int64_t known = slot.lost_at.load(std::memory_order_relaxed);
  while ((known < 0 || position < known) &&
         !slot.lost_at.compare_exchange_weak(known, position, std::memory_order_release)) {
  }
}

// Only what may be called in a signal handler: mmap is a plain system call.
bool PutZerosAt(std::uintptr_t address) {
  const std::size_t used = slots_used.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < used; ++i) {
    if (!Contains(slots[i], address)) continue;
    const std::uintptr_t page = address - address % page_bytes;
    NoteFirst(slots[i], static_cast<std::int64_t>(page - slots[i].begin.load()));
    return ::mmap(reinterpret_cast<void*>(page), page_bytes, PROT_READ,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
  }
  return false;
}

void OnSigbus(int signal, siginfo_t* info, void*) {
  const int saved_errno = errno;
  const bool mended = PutZerosAt(reinterpret_cast<std::uintptr_t>(info->si_addr));
  if (!mended) {
    // Not ours. What was there before us hears of it: the instruction is tried again, and a signal
    // that somebody sent is sent again.
    ::sigaction(SIGBUS, &previous_action, nullptr);
    if (info->si_code <= 0) ::raise(signal);
  }
  errno = saved_errno;
}

void InstallHandler() {
  page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction action {};
  action.sa_sigaction = &OnSigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  CAIRN_CHECK(::sigaction(SIGBUS, &action, &previous_action) == 0);
}

Slot* TakeSlot() {
  const std::lock_guard lock(slots_mutex);
  std::vector<Slot*>& free = FreeSlots();
  if (!free.empty()) {
    Slot* const slot = free.back();
    free.pop_back();
    return slot;
  }
  const std::size_t next = slots_used.load(std::memory_order_relaxed);
  if (next == kSlots) return nullptr;
  slots_used.store(next + 1, std::memory_order_release);
  return &slots[next];
}

}  // namespace

MappingGuard::MappingGuard(ByteView bytes) {
  static std::once_flag installed;
  std::call_once(installed, InstallHandler);
  slot_ = TakeSlot();
  if (slot_ == nullptr) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  slot_->lost_at.store(-1, std::memory_order_relaxed);
  slot_->end.store(begin + bytes.size(), std::memory_order_release);
  slot_->begin.store(begin, std::memory_order_release);
}

MappingGuard::~MappingGuard() {
  if (slot_ == nullptr) return;
  slot_->begin.store(0, std::memory_order_release);
  slot_->end.store(0, std::memory_order_release);
  const std::lock_guard lock(slots_mutex);
  FreeSlots().push_back(slot_);
}

std::optional<std::int64_t> MappingGuard::lost_at() const {
  if (slot_ == nullptr) return std::nullopt;
  const std::int64_t position = slot_->lost_at.load(std::memory_order_acquire);
  return position < 0 ? std::nullopt : std::optional<std::int64_t>(position);
}

void MappingGuard::NoteLost(std::int64_t position) const {
  if (slot_ != nullptr) NoteFirst(*slot_, position);
}

}  // namespace cairn::storage
