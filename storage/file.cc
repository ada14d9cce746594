#include "storage/file.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/seeded_bug.h"

namespace cairn::storage {
namespace {

constexpr std::int64_t kLargestPage = std::int64_t{64} << 10;

// Repeats a system call that a signal interrupted.
template <typename Call>
auto Repeat(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

// fallocate is not everywhere; writing the zeros does the same, slowly.
absl::Status WriteZeros(const File& file, std::int64_t from, std::int64_t end) {
  const Bytes zeros(std::size_t{64} << 10);
  while (from < end) {
    const std::int64_t step = std::min(end - from, static_cast<std::int64_t>(zeros.size()));
    RETURN_IF_ERROR(file.WriteAll(from, ByteView(zeros).first(static_cast<std::size_t>(step))));
    from += step;
  }
  return absl::OkStatus();
}

const char* NameOfKind(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

absl::Status NotRegular(const std::filesystem::path& path, std::string_view kind) {
  return absl::DataLossError(absl::StrFormat("%s is no regular file, but %s", path.string(), kind));
}

std::filesystem::path DirectoryOf(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

std::filesystem::path TemporaryFor(const std::filesystem::path& path) {
  std::filesystem::path temporary = path;
  temporary += ".new";
  return temporary;
}

absl::Status SyncDirectoriesOf(const std::filesystem::path& from, const std::filesystem::path& to) {
  RETURN_IF_ERROR(SyncDirectory(DirectoryOf(to)));
  if (DirectoryOf(from) == DirectoryOf(to)) return absl::OkStatus();
  return SyncDirectory(DirectoryOf(from));
}

absl::Status WriteTemporary(const std::filesystem::path& temporary, ByteView bytes, bool sync) {
  ASSIGN_OR_RETURN(const File file, File::CreateOrEmpty(temporary));
  RETURN_IF_ERROR(file.WriteAll(0, bytes));
  return sync ? file.Sync() : absl::OkStatus();
}

absl::Status Replace(const std::filesystem::path& path, ByteView bytes, bool sync) {
  const std::filesystem::path temporary = TemporaryFor(path);
  // First, so that a want of descriptors leaves everything as it was.
  File directory;
  if (sync) {
    ASSIGN_OR_RETURN(directory, File::OpenDirectory(DirectoryOf(path)));
  }
  absl::Status status = WriteTemporary(temporary, bytes, sync);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = ErrnoError("rename to", path, errno);
  }
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return sync ? directory.Sync() : absl::OkStatus();
}

}  // namespace

absl::Status ErrnoError(std::string_view what, const std::filesystem::path& path, int error) {
  const std::string message =
      absl::StrFormat("%s %s: %s", what, path.string(), std::generic_category().message(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return MakeError(ErrorCode::kStorageFull, message);
    case ENOENT:
      return absl::NotFoundError(message);
    case EEXIST:
    case ENOTEMPTY:
      return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EMFILE:
    case ENFILE:
      return absl::UnavailableError(message);
    default:
      return MakeError(ErrorCode::kStorageFailed, message);
  }
}

absl::StatusOr<File> File::Open(const std::filesystem::path& path, int flags) {
  const int descriptor = Repeat([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0644); });
  if (descriptor >= 0) return File(descriptor, path);
  const int error = errno;
  if (error == EISDIR) return NotRegular(path, NameOfKind(S_IFDIR));
  if (error == ENXIO) return NotRegular(path, NameOfKind(S_IFSOCK));
  return ErrnoError("open", path, error);
}

// What is not our doing may be anything: a FIFO would be waited for without end.
absl::StatusOr<File> File::OpenRegular(const std::filesystem::path& path, int flags) {
  ASSIGN_OR_RETURN(File file, Open(path, flags | O_NONBLOCK));
  struct stat info;
  if (::fstat(file.descriptor_, &info) != 0) return ErrnoError("stat", path, errno);
  if (!S_ISREG(info.st_mode)) return NotRegular(path, NameOfKind(info.st_mode));
  return file;
}

absl::StatusOr<File> File::OpenForReading(const std::filesystem::path& path) {
  return OpenRegular(path, O_RDONLY);
}
absl::StatusOr<File> File::OpenForWriting(const std::filesystem::path& path) {
  return OpenRegular(path, O_RDWR);
}
absl::StatusOr<File> File::Create(const std::filesystem::path& path) {
  return Open(path, O_RDWR | O_CREAT | O_EXCL);
}
absl::StatusOr<File> File::CreateOrEmpty(const std::filesystem::path& path) {
  return Open(path, O_RDWR | O_CREAT | O_TRUNC);
}
absl::StatusOr<File> File::OpenDirectory(const std::filesystem::path& path) {
  return Open(path, O_RDONLY | O_DIRECTORY);
}

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::move(other.path_)),
      sync_outcome_(std::move(other.sync_outcome_)) {}

File& File::operator=(File&& other) noexcept {
  if (this == &other) return *this;
  Close();
  descriptor_ = std::exchange(other.descriptor_, -1);
  path_ = std::move(other.path_);
  sync_outcome_ = std::move(other.sync_outcome_);
  return *this;
}

File::~File() { Close(); }

void File::Close() {
  // Not repeated on EINTR: Linux has closed it by then. What matters was synced before.
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

absl::Status File::WriteAll(std::int64_t position, ByteView bytes) const {
  while (!bytes.empty()) {
    const ssize_t written =
        Repeat([&] { return ::pwrite(descriptor_, bytes.data(), bytes.size(), position); });
    if (written < 0) return ErrnoError("write to", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    position += written;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::size_t> File::Read(std::int64_t position, MutableBytes out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const MutableBytes rest = out.subspan(done);
    const ssize_t got = Repeat([&] {
      return ::pread(descriptor_, rest.data(), rest.size(),
                     position + static_cast<std::int64_t>(done));
    });
    if (got < 0) {
      const int error = errno;
      return ErrnoError(
          absl::StrFormat("read at position %d of", position + static_cast<std::int64_t>(done)),
          path_, error);
    }
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

absl::Status File::ReadAll(std::int64_t position, MutableBytes out) const {
  ASSIGN_OR_RETURN(const std::size_t got, Read(position, out));
  if (got == out.size()) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrFormat(
      "%s ends at %d, but bytes up to %d were wanted", path_.string(),
      position + static_cast<std::int64_t>(got), position + static_cast<std::int64_t>(out.size())));
}

absl::Status File::Reserve(std::int64_t position, std::int64_t length) const {
  if (Repeat([&] { return ::fallocate(descriptor_, 0, position, length); }) == 0) {
    return absl::OkStatus();
  }
  if (errno != EOPNOTSUPP) return ErrnoError("reserve blocks in", path_, errno);
  ASSIGN_OR_RETURN(const std::int64_t size, Size());
  return WriteZeros(*this, std::max(size, position), position + length);
}

absl::Status File::ReserveBehindEnd(std::int64_t position, std::int64_t length) const {
  if (length == 0) return absl::OkStatus();
  const int result =
      Repeat([&] { return ::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, position, length); });
  if (result == 0 || errno == EOPNOTSUPP) return absl::OkStatus();
  return ErrnoError("reserve blocks in", path_, errno);
}

absl::Status File::Truncate(std::int64_t size) const {
  if (Repeat([&] { return ::ftruncate(descriptor_, size); }) == 0) return absl::OkStatus();
  return ErrnoError("truncate", path_, errno);
}

absl::Status File::RenameTo(const std::filesystem::path& path) {
  if (::rename(path_.c_str(), path.c_str()) != 0) return ErrnoError("rename to", path, errno);
  path_ = path;
  return absl::OkStatus();
}

void File::StartWriteback(std::int64_t position, std::int64_t length) const {
  // An error will show in Sync.
  (void)::sync_file_range(descriptor_, position, length, SYNC_FILE_RANGE_WRITE);
}

absl::Status File::Sync() const {
  const std::lock_guard one_at_a_time(sync_outcome_->mutex);
  if (HasBug(SeededBug::kSyncTriedAgain)) sync_outcome_->failure = absl::OkStatus();
  RETURN_IF_ERROR(sync_outcome_->failure);
  // For a directory fdatasync does what fsync does: its entries are its data.
  if (Repeat([&] { return ::fdatasync(descriptor_); }) == 0) return absl::OkStatus();
  // Even a full disk is final here: the bytes were taken, and are not what stands on the disk.
  sync_outcome_->failure =
      MakeError(ErrorCode::kStorageFailed, std::string(ErrnoError("sync", path_, errno).message()));
  return sync_outcome_->failure;
}

absl::Status File::SyncFailure() const {
  const std::lock_guard one_at_a_time(sync_outcome_->mutex);
  return sync_outcome_->failure;
}

absl::Status File::DropCache(std::int64_t position, std::int64_t length) const {
  if (HasBug(SeededBug::kCacheBelieved)) return absl::OkStatus();
  // A page that is only begun with would stay.
  const std::int64_t begun = position % kLargestPage;
  if (length > 0) length += begun;
  const int error = ::posix_fadvise(descriptor_, position - begun, length, POSIX_FADV_DONTNEED);
  return error == 0 ? absl::OkStatus() : ErrnoError("drop cached pages of", path_, error);
}

absl::StatusOr<std::int64_t> File::EndOfWritten(std::int64_t position) const {
  for (std::int64_t end = position;;) {
    const off_t data = ::lseek(descriptor_, end, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return end;
    const off_t hole = data < 0 ? data : ::lseek(descriptor_, data, SEEK_HOLE);
    if (hole < 0 && errno == EINVAL) return Size();
    if (hole < 0) return ErrnoError("look for data in", path_, errno);
    end = hole;
  }
}

// Not by fstat: since Linux 6.13 the write after one dirties the inode, for whoever asked for its
// times must see that they change. This is asked before every append.
absl::StatusOr<std::int64_t> File::Size() const {
  const off_t size = ::lseek(descriptor_, 0, SEEK_END);
  if (size < 0) return ErrnoError("find the end of", path_, errno);
  return std::int64_t{size};
}

absl::StatusOr<Timestamp> File::ModifiedAt() const {
  struct stat info;
  if (::fstat(descriptor_, &info) != 0) return ErrnoError("stat", path_, errno);
  return Timestamp(std::int64_t{info.st_mtim.tv_sec} * 1000 + info.st_mtim.tv_nsec / 1'000'000);
}

absl::StatusOr<std::int64_t> File::Links() const {
  struct stat info;
  if (::fstat(descriptor_, &info) != 0) return ErrnoError("stat", path_, errno);
  return static_cast<std::int64_t>(info.st_nlink);
}

absl::Status SyncDirectory(const std::filesystem::path& directory) {
  if (HasBug(SeededBug::kNoDirectorySync)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const File file, File::OpenDirectory(directory));
  return file.Sync();
}

absl::Status RenameDurably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return ErrnoError(absl::StrFormat("rename %s to", from.string()), to, errno);
  }
  return SyncDirectoriesOf(from, to);
}

absl::Status MoveDurably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    return ErrnoError(absl::StrFormat("move %s to", from.string()), to, errno);
  }
  return SyncDirectoriesOf(from, to);
}

absl::Status ReplaceFile(const std::filesystem::path& path, ByteView bytes) {
  return Replace(path, bytes, /*sync=*/true);
}

absl::Status ReplaceFileUnsynced(const std::filesystem::path& path, ByteView bytes) {
  return Replace(path, bytes, /*sync=*/false);
}

absl::StatusOr<Bytes> ReadFile(const std::filesystem::path& path, std::int64_t bytes_max) {
  ASSIGN_OR_RETURN(const File file, File::OpenForReading(path));
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  if (size > bytes_max) {
    return absl::DataLossError(
        absl::StrFormat("%s has %d bytes, more than the %d that such a file can have",
                        path.string(), size, bytes_max));
  }
  Bytes bytes(static_cast<std::size_t>(size));
  // A file in use may have been cut since: then there is simply less.
  ASSIGN_OR_RETURN(const std::size_t got, file.Read(0, MutableBytes(bytes)));
  bytes.resize(got);
  return bytes;
}

absl::Status RemoveFile(const std::filesystem::path& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoError("remove", path, errno);
}

}  // namespace cairn::storage
