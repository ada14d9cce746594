#include "broker/api/disk_usage.h"

#include <filesystem>
#include <sys/stat.h>
#include <system_error>

namespace cairn::broker {
namespace {

constexpr std::chrono::seconds kFresh{1};

std::int64_t BytesBelow(const std::filesystem::path& directory) {
  std::int64_t bytes = 0;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::recursive_directory_iterator();
       entry.increment(error)) {
    struct stat info;
    // A file may vanish while we look.
    if (::lstat(entry->path().c_str(), &info) == 0) bytes += info.st_blocks * 512;
  }
  return bytes;
}

}  // namespace

DiskUsage::Seen DiskUsage::Look(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (now < fresh_until_) return seen_;
  seen_ = {.used = BytesBelow(data_dir_.path()), .space = {}};
  if (const auto space = data_dir_.Space(); space.ok()) seen_.space = *space;
  fresh_until_ = now + kFresh;
  return seen_;
}

}  // namespace cairn::broker
