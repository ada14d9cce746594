#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::storage {

// The status for a failed system call: `what` was done to `path`, and what errno says.
//   ErrorCode::kStorageFull    ENOSPC, EDQUOT: trying again may help
//   kNotFound                  ENOENT
//   kPermissionDenied          EACCES, EPERM, EROFS
//   kUnavailable               EMFILE, ENFILE: out of descriptors
//   ErrorCode::kStorageFailed  EIO and everything else
absl::Status ErrnoError(std::string_view what, const std::filesystem::path& path, int error);

// An open file, closed by the destructor. Positions and sizes are bytes. A call interrupted by a
// signal is repeated; a short write is continued. Every error is one of ErrnoError, or as noted.
//
// Threads: the const methods may be called by several at once (none of them minds the file
// position).
class File {
 public:
  // kDataLoss, here and in the next: it is there, but no regular file. Never waits, be it a FIFO.
  static absl::StatusOr<File> OpenForReading(const std::filesystem::path& path);
  // Reading and writing; the file must be there.
  static absl::StatusOr<File> OpenForWriting(const std::filesystem::path& path);
  // Reading and writing; kAlreadyExists if there is such a file.
  static absl::StatusOr<File> Create(const std::filesystem::path& path);
  // Reading and writing; emptied if it is there.
  static absl::StatusOr<File> CreateOrEmpty(const std::filesystem::path& path);
  // A directory, for Sync and for syncfs.
  static absl::StatusOr<File> OpenDirectory(const std::filesystem::path& path);

  File() = default;  // not open
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }
  void Close();

  absl::Status WriteAll(std::int64_t position, ByteView bytes) const;
  // Fills `out`. kOutOfRange: the file ends before; names both numbers.
  absl::Status ReadAll(std::int64_t position, MutableBytes out) const;
  // As much as is there, up to out.size(); gives how much. Less only at the end of the file.
  absl::StatusOr<std::size_t> Read(std::int64_t position, MutableBytes out) const;

  // Makes sure that writing to [position, position + length) cannot run out of space; the file
  // grows to position + length, reading zeros there.
  absl::Status Reserve(std::int64_t position, std::int64_t length) const;
  // The same without growing the file: the blocks stand behind its end. File systems that cannot do
  // it do nothing.
  absl::Status ReserveBehindEnd(std::int64_t position, std::int64_t length) const;
  absl::Status Truncate(std::int64_t size) const;

  // Gives the open file another name, replacing what is there; not durable until the directory is
  // synced.
  absl::Status RenameTo(const std::filesystem::path& path);

  // Has the kernel begin to write what is dirty in [position, position + length), so that a later
  // Sync finds little to do. Only a hint.
  void StartWriteback(std::int64_t position, std::int64_t length) const;
  // fdatasync; on a directory it makes the names in it durable. Final when it failed: the kernel
  // tells of an error once and then calls the lost bytes clean, so every later Sync of this file,
  // by whichever thread, says the same. One at a time.
  absl::Status Sync() const;
  // OK, or how a Sync of this file failed; waits for one that is under way. For whoever made it
  // durable in another way: after a failed Sync no other one is to be believed.
  absl::Status SyncFailure() const;
  // Drops the (clean) cached pages of `length` bytes from `position` on (0: of all), so that the
  // next read shows what is on the disk.
  absl::Status DropCache(std::int64_t position = 0, std::int64_t length = 0) const;

  // Behind this there are only zeros that were never written: blocks that were reserved, or none.
  // Between `position` and the end of the file; the latter where the file system does not tell.
  absl::StatusOr<std::int64_t> EndOfWritten(std::int64_t position) const;
  absl::StatusOr<std::int64_t> Size() const;
  absl::StatusOr<Timestamp> ModifiedAt() const;
  // How many names it has.
  absl::StatusOr<std::int64_t> Links() const;

 private:
  struct SyncOutcome {
    std::mutex mutex;
    absl::Status failure;
  };

  File(int descriptor, std::filesystem::path path)
      : descriptor_(descriptor),
        path_(std::move(path)),
        sync_outcome_(std::make_unique<SyncOutcome>()) {}
  static absl::StatusOr<File> Open(const std::filesystem::path& path, int flags);
  static absl::StatusOr<File> OpenRegular(const std::filesystem::path& path, int flags);

  int descriptor_ = -1;
  std::filesystem::path path_;
  std::unique_ptr<SyncOutcome> sync_outcome_;
};

// Makes the names in a directory durable.
absl::Status SyncDirectory(const std::filesystem::path& directory);
// Renames and makes it durable: syncs the directory of `to`, and that of `from` if it is another. A
// file at `to` is replaced.
absl::Status RenameDurably(const std::filesystem::path& from, const std::filesystem::path& to);
// The same, but kAlreadyExists if there is something at `to`.
absl::Status MoveDurably(const std::filesystem::path& from, const std::filesystem::path& to);
// A file that is being made to take another's place is called so until it is whole.
inline constexpr std::string_view kReplacementEnding = ".new";
// Replaces a file's contents durably and at once: after a crash it is the old or the new one. Uses
// `<path>.new` meanwhile.
absl::Status ReplaceFile(const std::filesystem::path& path, ByteView bytes);
// The same without any sync: for derived files, which are checked when they are read.
absl::Status ReplaceFileUnsynced(const std::filesystem::path& path, ByteView bytes);
// The whole file. kDataLoss: longer than bytes_max, the most that such a file can have.
absl::StatusOr<Bytes> ReadFile(const std::filesystem::path& path, std::int64_t bytes_max);
// OK if it was not there.
absl::Status RemoveFile(const std::filesystem::path& path);

}  // namespace cairn::storage
