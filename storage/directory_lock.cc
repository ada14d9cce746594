#include "storage/directory_lock.h"

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/file.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "protocol/bytes.h"
#include "protocol/error_code.h"
#include "protocol/status.h"

namespace cairn::storage {
namespace {

// Who holds the lock, for the message; the pid in the file is only a hint.
std::string HolderOf(const std::filesystem::path& lock) {
  const absl::StatusOr<Bytes> text = ReadFile(lock, 64);
  if (!text.ok() || text->empty()) return "another process";
  std::string_view pid = AsText(*text);
  while (!pid.empty() && pid.back() == '\n') pid.remove_suffix(1);
  return absl::StrFormat("process %s", pid);
}

}  // namespace

absl::StatusOr<File> LockDirectory(const std::filesystem::path& data_dir) {
  const std::filesystem::path path = data_dir / kLockFileName;
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return ErrnoError("open", path, errno);
  ::close(descriptor);
  ASSIGN_OR_RETURN(File lock, File::OpenForWriting(path));
  if (::flock(lock.descriptor(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoError("lock", path, errno);
    return absl::FailedPreconditionError(
        absl::StrFormat("data directory %s is in use by %s: stop it, or use another directory",
                        data_dir.string(), HolderOf(path)));
  }
  RETURN_IF_ERROR(lock.Truncate(0));
  const absl::Status noted = lock.WriteAll(0, AsBytes(absl::StrFormat("%d\n", ::getpid())));
  // Only a hint, for which a full disk need not have room.
  if (!noted.ok() && CodeOf(noted) != ErrorCode::kStorageFull) return noted;
  return lock;
}

}  // namespace cairn::storage
