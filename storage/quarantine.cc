#include "storage/quarantine.h"

#include <algorithm>
#include <cerrno>
#include <sys/stat.h>
#include <system_error>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/file.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

// The number-th name for something that was called `entry`.
std::string NameFor(std::string entry, int number) {
  std::replace(entry.begin(), entry.end(), '/', '+');
  return number == 0 ? entry : absl::StrFormat("%s.%d", entry, number);
}

absl::Status Fill(const File& file, ByteView bytes) {
  // So that no write is taken that the disk has no room for.
  RETURN_IF_ERROR(file.ReserveBehindEnd(0, static_cast<std::int64_t>(bytes.size())));
  RETURN_IF_ERROR(file.WriteAll(0, bytes));
  return file.Sync();
}

}  // namespace

absl::Status MakeDirectory(const fs::path& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return absl::OkStatus();
  return ErrnoError("create directory", path, errno);
}

absl::Status MakeDirectories(const fs::path& wanted) {
  std::error_code error;
  if (fs::is_directory(wanted, error)) return absl::OkStatus();
  fs::path path = fs::absolute(wanted).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "data/"
  const fs::path parent = path.parent_path();
  if (!fs::exists(parent, error)) RETURN_IF_ERROR(MakeDirectories(parent));
  const absl::Status made = MakeDirectory(path);
  // Another thread may have been quicker.
  if (!made.ok() && !(absl::IsAlreadyExists(made) && fs::is_directory(path, error))) return made;
  return SyncDirectory(parent);
}

absl::StatusOr<fs::path> MoveToQuarantine(const fs::path& data_dir, const std::string& entry) {
  const fs::path quarantine = data_dir / kQuarantineName;
  RETURN_IF_ERROR(MakeDirectories(quarantine));
  for (int number = 0;; ++number) {
    const fs::path to = quarantine / NameFor(entry, number);
    const absl::Status moved = MoveDurably(data_dir / entry, to);
    if (moved.ok()) return to;
    if (!absl::IsAlreadyExists(moved)) return moved;
  }
}

absl::StatusOr<fs::path> SaveToQuarantine(const fs::path& data_dir, const std::string& label,
                                          ByteView bytes) {
  const fs::path quarantine = data_dir / kQuarantineName;
  RETURN_IF_ERROR(MakeDirectories(quarantine));
  for (int number = 0;; ++number) {
    const fs::path to = quarantine / NameFor(label, number);
    const absl::StatusOr<File> file = File::Create(to);
    if (absl::IsAlreadyExists(file.status())) continue;
    RETURN_IF_ERROR(file.status());
    if (absl::Status saved = Fill(*file, bytes); !saved.ok()) {
      RETURN_IF_ERROR(RemoveFile(to));
      return saved;
    }
    RETURN_IF_ERROR(SyncDirectory(quarantine));
    return to;
  }
}

}  // namespace cairn::storage
