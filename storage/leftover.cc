#include "storage/leftover.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/file.h"
#include "storage/fingerprint.h"

namespace cairn::storage {
namespace {

constexpr std::int64_t kPieceBytes = 1 << 20;

}  // namespace

absl::StatusOr<bool> IsSegment(const std::filesystem::path& path, const SealedSegment& sealed,
                               absl::FunctionRef<bool()> stopping) {
  ASSIGN_OR_RETURN(const File file, File::OpenForReading(path));
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  if (size != sealed.length) return false;
  Fingerprint fingerprint;
  Bytes piece;
  for (std::int64_t at = 0; at < size; at += kPieceBytes) {
    if (stopping()) return absl::CancelledError("stopped");
    piece.resize(static_cast<std::size_t>(std::min(kPieceBytes, size - at)));
    RETURN_IF_ERROR(file.ReadAll(at, piece));
    fingerprint.Add(piece);
  }
  return fingerprint.value() == sealed.fingerprint;
}

absl::StatusOr<std::string> ClearLeftover(DataDir& data_dir, const Leftover& leftover,
                                          absl::FunctionRef<bool()> stopping) {
  const std::filesystem::path path = data_dir.path() / leftover.entry;
  const absl::StatusOr<bool> is_ours = IsSegment(path, leftover.sealed, stopping);
  // Its topic was deleted meanwhile.
  if (absl::IsNotFound(is_ours.status())) return std::string();
  RETURN_IF_ERROR(is_ours.status());
  if (*is_ours) {
    RETURN_IF_ERROR(RemoveFile(data_dir.path() / leftover.index_entry));
    RETURN_IF_ERROR(data_dir.removed_files().Remove(path, std::nullopt));
    return std::string();
  }
  ASSIGN_OR_RETURN(const std::filesystem::path saved, data_dir.Quarantine(leftover.entry));
  return absl::StrFormat("%s is not the segment that was dropped under this name; moved to %s",
                         leftover.entry, saved.string());
}

}  // namespace cairn::storage
