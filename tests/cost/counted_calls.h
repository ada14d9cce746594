#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cairn::cost {

// What a program asks of the heap, of memcpy and of the system, counted on all threads but the
// one that has exempted itself. A test binary that links cairn_counted_calls has these led through
// here (tests/cost/CMakeLists.txt names the calls). Not seen: waits for locks and wakings of
// threads, which the C library does without a call that could be led elsewhere, and copies that a
// compiler writes out as a loop.
//
// CAIRN_COST_TRACE=1 prints the stack of each allocation that is counted.

// Smaller ones are the price of a message, not of its payload.
inline constexpr std::size_t kCopyBytesMin = 1024;

inline constexpr std::array kCalls = {
    "recv",   "sendmsg",    "read",      "write",          "pread",
    "pwrite", "fstat",      "lseek",     "open",           "close",
    "mmap",   "munmap",     "fallocate", "fdatasync",      "sync_file_range",
    "syncfs", "epoll_wait", "epoll_ctl", "timerfd_settime"};

struct Counts {
  std::int64_t allocations = 0;
  std::int64_t bytes_copied = 0;  // by memcpy and memmove, of kCopyBytesMin at least
  std::array<std::int64_t, kCalls.size()> calls{};

  std::int64_t all_calls() const;
  // "recv 1.00, sendmsg 1.00": those that were made, for each of `units`.
  std::string CallsPer(double units) const;
};

// From now on nothing that this thread does is counted.
void ExemptThisThread();
// Begins at zero.
void StartCounting();
Counts StopCounting();
// So far; for a test that waits until another thread has come to that call.
std::int64_t CallsSoFar(std::string_view name);

}  // namespace cairn::cost
