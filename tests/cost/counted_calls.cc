#include "tests/cost/counted_calls.h"

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <execinfo.h>
#include <fcntl.h>
#include <numeric>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <unistd.h>

namespace cairn::cost {
namespace {

// All of it works before any constructor ran: the first allocations come that early.
std::atomic<bool> counting{false};
std::atomic<std::int64_t> allocations{0};
std::atomic<std::int64_t> bytes_copied{0};
std::array<std::atomic<std::int64_t>, kCalls.size()> calls{};
std::atomic<bool> tracing{false};
thread_local bool exempt = false;

bool Counted() { return counting.load(std::memory_order_relaxed) && !exempt; }

void Trace() {
  exempt = true;  // the trace allocates, too
  std::array<void*, 24> frames;
  const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  std::fprintf(stderr, "allocation:\n");
  ::backtrace_symbols_fd(frames.data(), count, STDERR_FILENO);
  exempt = false;
}

void NoteAllocation() {
  if (!Counted()) return;
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (tracing.load(std::memory_order_relaxed)) Trace();
}

void NoteCopy(std::size_t bytes) {
  if (bytes >= kCopyBytesMin && Counted()) {
    bytes_copied.fetch_add(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
  }
}

// Where the call of this name is counted.
constexpr std::size_t Named(std::string_view name) {
  std::size_t i = 0;
  while (name != kCalls[i]) ++i;
  return i;
}

void NoteCall(std::size_t call) {
  if (Counted()) calls[call].fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

std::int64_t Counts::all_calls() const {
  return std::accumulate(calls.begin(), calls.end(), std::int64_t{0});
}

std::string Counts::CallsPer(double units) const {
  std::string text;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (calls[i] == 0) continue;
    char number[32];
    std::snprintf(number, sizeof number, " %.3f", static_cast<double>(calls[i]) / units);
    text += (text.empty() ? "" : ", ") + std::string(kCalls[i]) + number;
  }
  return text;
}

void ExemptThisThread() { exempt = true; }

void StartCounting() {
  tracing = std::getenv("CAIRN_COST_TRACE") != nullptr;
  allocations = 0;
  bytes_copied = 0;
  for (auto& call : calls) call = 0;
  counting = true;
}

Counts StopCounting() {
  counting = false;
  Counts counts;
  counts.allocations = allocations;
  counts.bytes_copied = bytes_copied;
  for (std::size_t i = 0; i < calls.size(); ++i) counts.calls[i] = calls[i];
  return counts;
}

std::int64_t CallsSoFar(std::string_view name) { return calls[Named(name)]; }

}  // namespace cairn::cost

using cairn::cost::Named;
using cairn::cost::NoteAllocation;
using cairn::cost::NoteCall;
using cairn::cost::NoteCopy;

// ---- the heap and copies ----
//
// A program's own definitions take the calls of all its libraries, those of operator new among
// them. The C library has its own under other names as well.

extern "C" {

void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void* __memcpy_chk(void* to, const void* from, std::size_t size, std::size_t room);
void* __memmove_chk(void* to, const void* from, std::size_t size, std::size_t room);

void* malloc(std::size_t size) {
  NoteAllocation();
  return __libc_malloc(size);
}

void* calloc(std::size_t count, std::size_t size) {
  NoteAllocation();
  return __libc_calloc(count, size);
}

void* realloc(void* old, std::size_t size) {
  NoteAllocation();
  return __libc_realloc(old, size);
}

void* memalign(std::size_t alignment, std::size_t size) {
  NoteAllocation();
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  *out = memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

void* memcpy(void* to, const void* from, std::size_t size) {
  NoteCopy(size);
  return __memcpy_chk(to, from, size, SIZE_MAX);
}

void* memmove(void* to, const void* from, std::size_t size) {
  NoteCopy(size);
  return __memmove_chk(to, from, size, SIZE_MAX);
}

// ---- system calls ----
//
// The linker leads calls of `x` to __wrap_x, and __real_x to x itself.

ssize_t __real_recv(int socket, void* out, std::size_t size, int flags);
ssize_t __real_sendmsg(int socket, const msghdr* message, int flags);
ssize_t __real_read(int descriptor, void* out, std::size_t size);
ssize_t __real_write(int descriptor, const void* bytes, std::size_t size);
ssize_t __real_pread(int descriptor, void* out, std::size_t size, off_t at);
ssize_t __real_pwrite(int descriptor, const void* bytes, std::size_t size, off_t at);
int __real_fstat(int descriptor, struct stat* out);
off_t __real_lseek(int descriptor, off_t at, int whence);
int __real_open(const char* path, int flags, ...);
int __real_close(int descriptor);
void* __real_mmap(void* at, std::size_t size, int protection, int flags, int descriptor,
                  off_t from);
int __real_munmap(void* at, std::size_t size);
int __real_fallocate(int descriptor, int mode, off_t at, off_t size);
int __real_fdatasync(int descriptor);
int __real_sync_file_range(int descriptor, off_t at, off_t size, unsigned flags);
int __real_syncfs(int descriptor);
int __real_epoll_wait(int epoll, epoll_event* out, int count, int timeout);
int __real_epoll_ctl(int epoll, int operation, int descriptor, epoll_event* event);
int __real_timerfd_settime(int timer, int flags, const itimerspec* wanted, itimerspec* before);

ssize_t __wrap_recv(int socket, void* out, std::size_t size, int flags) {
  NoteCall(Named("recv"));
  return __real_recv(socket, out, size, flags);
}

ssize_t __wrap_sendmsg(int socket, const msghdr* message, int flags) {
  NoteCall(Named("sendmsg"));
  return __real_sendmsg(socket, message, flags);
}

ssize_t __wrap_read(int descriptor, void* out, std::size_t size) {
  NoteCall(Named("read"));
  return __real_read(descriptor, out, size);
}

ssize_t __wrap_write(int descriptor, const void* bytes, std::size_t size) {
  NoteCall(Named("write"));
  return __real_write(descriptor, bytes, size);
}

ssize_t __wrap_pread(int descriptor, void* out, std::size_t size, off_t at) {
  NoteCall(Named("pread"));
  return __real_pread(descriptor, out, size, at);
}

ssize_t __wrap_pwrite(int descriptor, const void* bytes, std::size_t size, off_t at) {
  NoteCall(Named("pwrite"));
  return __real_pwrite(descriptor, bytes, size, at);
}

int __wrap_fstat(int descriptor, struct stat* out) {
  NoteCall(Named("fstat"));
  return __real_fstat(descriptor, out);
}

off_t __wrap_lseek(int descriptor, off_t at, int whence) {
  NoteCall(Named("lseek"));
  return __real_lseek(descriptor, at, whence);
}

int __wrap_open(const char* path, int flags, ...) {
  NoteCall(Named("open"));
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  return __real_open(path, flags, mode);
}

int __wrap_close(int descriptor) {
  NoteCall(Named("close"));
  return __real_close(descriptor);
}

void* __wrap_mmap(void* at, std::size_t size, int protection, int flags, int descriptor,
                  off_t from) {
  NoteCall(Named("mmap"));
  return __real_mmap(at, size, protection, flags, descriptor, from);
}

int __wrap_munmap(void* at, std::size_t size) {
  NoteCall(Named("munmap"));
  return __real_munmap(at, size);
}

int __wrap_fallocate(int descriptor, int mode, off_t at, off_t size) {
  NoteCall(Named("fallocate"));
  return __real_fallocate(descriptor, mode, at, size);
}

int __wrap_fdatasync(int descriptor) {
  NoteCall(Named("fdatasync"));
  return __real_fdatasync(descriptor);
}

int __wrap_sync_file_range(int descriptor, off_t at, off_t size, unsigned flags) {
  NoteCall(Named("sync_file_range"));
  return __real_sync_file_range(descriptor, at, size, flags);
}

int __wrap_syncfs(int descriptor) {
  NoteCall(Named("syncfs"));
  return __real_syncfs(descriptor);
}

int __wrap_epoll_wait(int epoll, epoll_event* out, int count, int timeout) {
  NoteCall(Named("epoll_wait"));
  return __real_epoll_wait(epoll, out, count, timeout);
}

int __wrap_epoll_ctl(int epoll, int operation, int descriptor, epoll_event* event) {
  NoteCall(Named("epoll_ctl"));
  return __real_epoll_ctl(epoll, operation, descriptor, event);
}

int __wrap_timerfd_settime(int timer, int flags, const itimerspec* wanted, itimerspec* before) {
  NoteCall(Named("timerfd_settime"));
  return __real_timerfd_settime(timer, flags, wanted, before);
}

}  // extern "C"
