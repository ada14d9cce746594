#include "storage/repair.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/directory_lock.h"
#include "storage/format_file.h"
#include "storage/internal_topics.h"
#include "storage/manifest.h"
#include "storage/quarantine.h"
#include "storage/repair_plan.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

// What is cut is saved in pieces, so that it does not need as much memory.
constexpr std::int64_t kPieceBytes = 64 << 20;
constexpr std::int64_t kReplacedBytesMax = std::int64_t{4} << 30;

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool IsDataDirectory(const fs::path& path) {
  return Exists(path / kFormatFileName) || Exists(path / "frontier") ||
         Exists(path / absl::StrFormat("%s-0", kCatalogName));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Repair>> Repair::Open(const fs::path& path) {
  fs::path root = fs::absolute(path).lexically_normal();
  if (!root.has_filename()) root = root.parent_path();
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    return absl::NotFoundError(root.string() + ": there is no such directory");
  }
  std::unique_ptr<Repair> repair(new Repair());
  if (!IsDataDirectory(root) && IsDataDirectory(root.parent_path())) {
    repair->only_ = root.filename().string();
    root = root.parent_path();
  }
  if (!IsDataDirectory(root)) {
    return absl::NotFoundError(absl::StrFormat(
        "%s is neither a data directory nor a partition's in one: it has no 'format', "
        "'frontier' or '__catalog-0'",
        root.string()));
  }
  ASSIGN_OR_RETURN(repair->lock_, LockDirectory(root));
  repair->data_dir_ = std::move(root);
  return repair;
}

absl::StatusOr<RepairPlan> Repair::Plan(const OnProgress& on_progress) const {
  return RepairPlanner(data_dir_, only_, on_progress).Run();
}

absl::Status Repair::Execute(const RepairPlan& plan,
                             const std::function<void(const RepairStep&)>& on_step) const {
  for (const RepairStep& step : plan.steps) {
    if (on_step) on_step(step);
    const fs::path path = data_dir_ / step.entry;
    switch (step.kind) {
      case RepairStep::Kind::kMove:
        RETURN_IF_ERROR(MoveToQuarantine(data_dir_, step.entry).status());
        break;
      case RepairStep::Kind::kCut:
        RETURN_IF_ERROR(Cut(step));
        break;
      case RepairStep::Kind::kWrite: {
        if (std::error_code error; Exists(path) && !fs::is_regular_file(path, error)) {
          RETURN_IF_ERROR(MoveToQuarantine(data_dir_, step.entry).status());
        } else if (Exists(path)) {
          ASSIGN_OR_RETURN(const Bytes old, ReadFile(path, kReplacedBytesMax));
          RETURN_IF_ERROR(SaveToQuarantine(data_dir_, step.entry, old).status());
        }
        RETURN_IF_ERROR(MakeDirectories(path.parent_path()));
        RETURN_IF_ERROR(ReplaceFile(path, step.contents));
        break;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Repair::Cut(const RepairStep& step) const {
  ASSIGN_OR_RETURN(const File file, File::OpenForWriting(data_dir_ / step.entry));
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  ASSIGN_OR_RETURN(const std::int64_t last, LastNonZero(file, step.position, size));
  for (std::int64_t at = step.position; at < last; at += kPieceBytes) {
    Bytes piece(static_cast<std::size_t>(std::min(kPieceBytes, last - at)));
    RETURN_IF_ERROR(file.ReadAll(at, piece));
    RETURN_IF_ERROR(
        SaveToQuarantine(data_dir_, absl::StrFormat("%s.from-%d", step.entry, at), piece).status());
  }
  RETURN_IF_ERROR(file.Truncate(step.position));
  return file.Sync();
}

}  // namespace cairn::storage
