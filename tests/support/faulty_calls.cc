#include "tests/support/faulty_calls.h"

#include <cerrno>
#include <cstdarg>
#include <fcntl.h>
#include <limits.h>
#include <mutex>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/support/power_cut.h"

namespace cairn::faults {
namespace {

// What a call is to the disk.
enum class Kind {
  kOther,   // reads, looks, takes away
  kPlaces,  // needs room: may meet a full disk
  kWrites,  // likewise, and may be done by half
};

class Plan {
 public:
  void Arm(const FaultPlan& plan) {
    const std::lock_guard lock(mutex_);
    plan_ = plan;
    count_ = {};
    armed_ = true;
    full_ = false;
  }
  FaultCount Disarm() {
    const std::lock_guard lock(mutex_);
    armed_ = false;
    return count_;
  }

  // 0, or what this call must fail with; kHalf: it does half of what it should.
  static constexpr int kHalf = -1;
  int Next(Kind kind, const char* call, const std::string& path) {
    const std::lock_guard lock(mutex_);
    if (!armed_) return 0;
    // What a torn write leaves room for: nothing, until somebody looks again.
    if (full_ && kind == Kind::kWrites) {
      full_ = false;
      return ENOSPC;
    }
    if (!CanFail(kind)) return 0;
    ++count_.calls;
    if (count_.calls < plan_.at || (count_.calls > plan_.at && !plan_.stays)) return 0;
    if (count_.failed++ == 0) count_.first = std::string(call) + " " + path;
    switch (plan_.fault) {
      case Fault::kIoError:
        return EIO;
      case Fault::kNoSpace:
        return ENOSPC;
      case Fault::kTornWrite:
        full_ = true;
        return kHalf;
      case Fault::kShortWrite:
        return kHalf;
    }
    return 0;
  }

 private:
  bool CanFail(Kind kind) const {
    switch (plan_.fault) {
      case Fault::kIoError:
        return true;
      case Fault::kNoSpace:
        return kind != Kind::kOther;
      default:
        return kind == Kind::kWrites;
    }
  }

  std::mutex mutex_;
  FaultPlan plan_;
  FaultCount count_;
  bool armed_ = false;
  bool full_ = false;
};

Plan& ThePlan() {
  static Plan plan;
  return plan;
}

std::string PathOf(int descriptor) {
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t length = ::readlink(link.c_str(), path, sizeof path);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : "?";
}

// Whether the call fails; errno says why.
bool Fails(Kind kind, const char* call, const std::string& path) {
  const int error = ThePlan().Next(kind, call, path);
  if (error != 0) errno = error;
  return error != 0;
}

}  // namespace

void ArmFaults(const FaultPlan& plan) { ThePlan().Arm(plan); }
FaultCount DisarmFaults() { return ThePlan().Disarm(); }

// What a sync made durable, or lost, is noted before the next one begins: a failed sync must not
// take back what another has just made durable.
static std::mutex sync_mutex;

}  // namespace cairn::faults

using cairn::faults::Fails;
using cairn::faults::Kind;
using cairn::faults::PathOf;
using cairn::faults::PowerCut;

// The linker leads calls of `x` to __wrap_x, and __real_x to x itself.
extern "C" {

int __real_open(const char* path, int flags, ...);
ssize_t __real_pwrite(int descriptor, const void* bytes, size_t size, off_t at);
ssize_t __real_pread(int descriptor, void* out, size_t size, off_t at);
int __real_fallocate(int descriptor, int mode, off_t at, off_t length);
int __real_ftruncate(int descriptor, off_t size);
int __real_rename(const char* from, const char* to);
int __real_renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags);
int __real_unlink(const char* path);
int __real_rmdir(const char* path);
int __real_mkdir(const char* path, mode_t mode);
int __real_fdatasync(int descriptor);
int __real_fsync(int descriptor);
int __real_syncfs(int descriptor);
int __real_posix_fadvise(int descriptor, off_t at, off_t length, int advice);
int __real_sync_file_range(int descriptor, off_t at, off_t length, unsigned flags);
int __real_fstat(int descriptor, struct stat* out);
off_t __real_lseek(int descriptor, off_t at, int whence);
void* __real_mmap(void* at, size_t length, int protection, int flags, int descriptor, off_t offset);

int __wrap_open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  if (Fails((flags & O_CREAT) != 0 ? Kind::kPlaces : Kind::kOther, "open", path)) return -1;
  return __real_open(path, flags, mode);
}

ssize_t __wrap_pwrite(int descriptor, const void* bytes, size_t size, off_t at) {
  if (Fails(Kind::kWrites, "pwrite", PathOf(descriptor))) {
    if (errno != cairn::faults::Plan::kHalf) return -1;
    size = (size + 1) / 2;
  }
  const ssize_t written = __real_pwrite(descriptor, bytes, size, at);
  PowerCut::Get().Wrote(descriptor, at, written);
  return written;
}

ssize_t __wrap_pread(int descriptor, void* out, size_t size, off_t at) {
  if (Fails(Kind::kOther, "pread", PathOf(descriptor))) return -1;
  return __real_pread(descriptor, out, size, at);
}

int __wrap_fallocate(int descriptor, int mode, off_t at, off_t length) {
  if (Fails(Kind::kPlaces, "fallocate", PathOf(descriptor))) return -1;
  return __real_fallocate(descriptor, mode, at, length);
}

int __wrap_ftruncate(int descriptor, off_t size) {
  if (Fails(Kind::kOther, "ftruncate", PathOf(descriptor))) return -1;
  return __real_ftruncate(descriptor, size);
}

int __wrap_rename(const char* from, const char* to) {
  if (Fails(Kind::kPlaces, "rename", from)) return -1;
  return __real_rename(from, to);
}

int __wrap_renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  if (Fails(Kind::kPlaces, "renameat2", from)) return -1;
  return __real_renameat2(from_dir, from, to_dir, to, flags);
}

int __wrap_unlink(const char* path) {
  if (Fails(Kind::kOther, "unlink", path)) return -1;
  return __real_unlink(path);
}

int __wrap_rmdir(const char* path) {
  if (Fails(Kind::kOther, "rmdir", path)) return -1;
  return __real_rmdir(path);
}

int __wrap_mkdir(const char* path, mode_t mode) {
  if (Fails(Kind::kPlaces, "mkdir", path)) return -1;
  return __real_mkdir(path, mode);
}

int __wrap_fdatasync(int descriptor) {
  const std::lock_guard one_at_a_time(cairn::faults::sync_mutex);
  if (Fails(Kind::kPlaces, "fdatasync", PathOf(descriptor))) {
    const int error = errno;
    PowerCut::Get().SyncFailed(descriptor);
    errno = error;
    return -1;
  }
  const int result = __real_fdatasync(descriptor);
  if (result == 0) PowerCut::Get().Synced(descriptor);
  return result;
}

int __wrap_fsync(int descriptor) { return __wrap_fdatasync(descriptor); }

int __wrap_syncfs(int descriptor) {
  const std::lock_guard one_at_a_time(cairn::faults::sync_mutex);
  if (Fails(Kind::kPlaces, "syncfs", PathOf(descriptor))) return -1;
  const int result = __real_syncfs(descriptor);
  if (result == 0) PowerCut::Get().SyncedAll();
  return result;
}

int __wrap_posix_fadvise(int descriptor, off_t at, off_t length, int advice) {
  if (Fails(Kind::kOther, "posix_fadvise", PathOf(descriptor))) return errno;
  const int result = __real_posix_fadvise(descriptor, at, length, advice);
  if (result == 0 && advice == POSIX_FADV_DONTNEED) PowerCut::Get().DroppedCache(descriptor);
  return result;
}

int __wrap_sync_file_range(int descriptor, off_t at, off_t length, unsigned flags) {
  if (Fails(Kind::kOther, "sync_file_range", PathOf(descriptor))) return -1;
  return __real_sync_file_range(descriptor, at, length, flags);
}

int __wrap_fstat(int descriptor, struct stat* out) {
  if (Fails(Kind::kOther, "fstat", PathOf(descriptor))) return -1;
  return __real_fstat(descriptor, out);
}

off_t __wrap_lseek(int descriptor, off_t at, int whence) {
  if (Fails(Kind::kOther, "lseek", PathOf(descriptor))) return -1;
  return __real_lseek(descriptor, at, whence);
}

void* __wrap_mmap(void* at, size_t length, int protection, int flags, int descriptor,
                  off_t offset) {
  if (Fails(Kind::kOther, "mmap", PathOf(descriptor))) return MAP_FAILED;
  return __real_mmap(at, length, protection, flags, descriptor, offset);
}

}  // extern "C"
