#include "storage/reserve.h"

#include <algorithm>
#include <sys/statvfs.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/status.h"

namespace cairn::storage {
namespace {

constexpr const char* kReserveName = "reserve";
constexpr std::int64_t kPiece = 1 << 20;
// What must be free besides before producers go on, so that they do not meet the full disk again at
// once.
constexpr std::int64_t kHeadroomMin = 2 << 20;
constexpr std::int64_t kHeadroomMax = 16 << 20;

// As the file system counts them, whoever may have them.
std::int64_t BlocksFree(const File& file) {
  struct statvfs info;
  if (::fstatvfs(file.descriptor(), &info) != 0) return 0;
  return static_cast<std::int64_t>(info.f_bfree) * static_cast<std::int64_t>(info.f_frsize);
}

bool IsFull(const absl::Status& status) { return CodeOf(status) == ErrorCode::kStorageFull; }

}  // namespace

absl::StatusOr<std::unique_ptr<Reserve>> Reserve::Open(const std::filesystem::path& data_dir,
                                                       std::int64_t bytes) {
  const std::filesystem::path path = data_dir / kReserveName;
  absl::StatusOr<File> file = File::OpenForWriting(path);
  if (absl::IsNotFound(file.status())) file = File::Create(path);
  // Not even a name fits: then nothing is kept until the next start.
  if (IsFull(file.status())) {
    std::unique_ptr<Reserve> none(new Reserve(File(), 0));
    none->short_.store(true);
    return none;
  }
  RETURN_IF_ERROR(file.status());
  std::unique_ptr<Reserve> reserve(new Reserve(*std::move(file), bytes));
  ASSIGN_OR_RETURN(const std::int64_t size, reserve->file_.Size());
  const std::lock_guard lock(reserve->mutex_);
  if (size > bytes) RETURN_IF_ERROR(reserve->file_.Truncate(bytes));
  reserve->held_.store(std::min(size, bytes));
  // Also where it has its size already: a copy of a data directory may have holes instead of
  // blocks.
  const absl::Status grown = reserve->GrowLocked(bytes);
  if (IsFull(grown)) {
    reserve->short_.store(true);
    return reserve;
  }
  RETURN_IF_ERROR(grown);
  return reserve;
}

absl::Status Reserve::Admit() const {
  if (!is_short() || bytes_ == 0) return absl::OkStatus();
  return MakeError(ErrorCode::kStorageFull,
                   "the disk is full: what room there is, is kept for deletions, trims and group "
                   "commits; free some, and writing goes on by itself");
}

void Reserve::NoteFull() {
  if (short_.exchange(true)) return;
  const std::lock_guard lock(tell_mutex_);
  if (on_short_) on_short_();
}

void Reserve::SetOnShort(absl::AnyInvocable<void()> on_short) {
  const std::lock_guard lock(tell_mutex_);
  on_short_ = std::move(on_short);
  if (on_short_ && is_short()) on_short_();
}

absl::Status Reserve::Through(absl::FunctionRef<absl::Status()> write) {
  for (;;) {
    absl::Status status = write();
    if (!IsFull(status)) return status;
    NoteFull();
    if (!GiveUp()) return status;
  }
}

bool Reserve::GiveUp() {
  const std::lock_guard lock(mutex_);
  const std::int64_t held = held_.load();
  if (held == 0) return false;
  const std::int64_t left = std::max<std::int64_t>(held - kPiece, 0);
  if (!file_.Truncate(left).ok()) return false;
  held_.store(left);
  return true;
}

bool Reserve::Restore() {
  const std::lock_guard lock(mutex_);
  if (!is_short()) return true;
  if (!file_.is_open()) return false;
  // No try that cannot succeed: it would take for a moment what others may need.
  const std::int64_t missing = bytes_ - held_.load() + Headroom();
  if (BlocksFree(file_) < missing) return false;
  // Room is what can really be allocated, whatever quotas and the file system's own reserves say.
  if (!GrowLocked(bytes_ + Headroom()).ok() || !file_.Truncate(bytes_).ok()) return false;
  short_.store(false);
  return true;
}

std::int64_t Reserve::Headroom() const {
  return std::clamp(bytes_ / 4, kHeadroomMin, kHeadroomMax);
}

absl::Status Reserve::GrowLocked(std::int64_t size) {
  if (size == 0) return absl::OkStatus();
  const std::int64_t held = held_.load();
  if (absl::Status grown = file_.Reserve(0, size); !grown.ok()) {
    // A part of it may have been there.
    (void)file_.Truncate(held);
    return grown;
  }
  held_.store(std::min(size, bytes_));
  return absl::OkStatus();
}

}  // namespace cairn::storage
