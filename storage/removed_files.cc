#include "storage/removed_files.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <utility>

#include "protocol/status.h"

namespace cairn::storage {
namespace {

constexpr std::int64_t kCutBytes = std::int64_t{64} << 20;

// Somebody else has it open or mapped: then no write lease is to be had. Where there are no leases,
// nobody is waited for.
bool IsOpenElsewhere(const File& file) {
  if (::fcntl(file.descriptor(), F_SETLEASE, F_WRLCK) != 0) return errno == EAGAIN;
  ::fcntl(file.descriptor(), F_SETLEASE, F_UNLCK);
  return false;
}

}  // namespace

bool RemovedFiles::Entry::is_read() const {
  if (!mappings.has_value()) return IsOpenElsewhere(file);
  return std::any_of(mappings->begin(), mappings->end(),
                     [](const auto& mapping) { return !mapping.expired(); });
}

absl::Status RemovedFiles::Remove(const std::filesystem::path& path,
                                  std::optional<Mappings> mappings) {
  absl::StatusOr<File> file = File::OpenForWriting(path);
  if (absl::IsNotFound(file.status())) return absl::OkStatus();
  // Out of descriptors, perhaps: then without care.
  if (!file.ok()) return RemoveFile(path);
  ASSIGN_OR_RETURN(const std::int64_t size, file->Size());
  RETURN_IF_ERROR(RemoveFile(path));
  // A backup of hard links still needs what is in it.
  if (file->Links().value_or(1) > 0) return absl::OkStatus();
  Entry entry{.file = *std::move(file), .size = size, .mappings = std::move(mappings)};
  // Cut, not only closed: whoever closes it last would have to wait for that.
  if (size <= kCutBytes && !entry.is_read()) return entry.file.Truncate(0);
  const std::lock_guard lock(mutex_);
  entries_.push_back(std::move(entry));
  if (on_added_) on_added_();
  return absl::OkStatus();
}

bool RemovedFiles::Step(bool even_if_read) {
  Entry entry;
  {
    const std::lock_guard lock(mutex_);
    const auto next = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& each) {
      return even_if_read || !each.is_read();
    });
    if (next == entries_.end()) return false;
    entry = std::move(*next);
    entries_.erase(next);
  }
  entry.size = std::max<std::int64_t>(entry.size - kCutBytes, 0);
  // A file that cannot be cut is freed by being closed.
  if (!entry.file.Truncate(entry.size).ok() || entry.size == 0) return true;
  const std::lock_guard lock(mutex_);
  entries_.push_back(std::move(entry));
  return true;
}

bool RemovedFiles::empty() const {
  const std::lock_guard lock(mutex_);
  return entries_.empty();
}

void RemovedFiles::SetOnAdded(absl::AnyInvocable<void()> on_added) {
  const std::lock_guard lock(mutex_);
  on_added_ = std::move(on_added);
}

}  // namespace cairn::storage
