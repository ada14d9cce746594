#include "storage/repair.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/directory_lock.h"
#include "storage/named_directory.h"
#include "storage/partition_meta.h"
#include "storage/quarantine.h"
#include "storage/rebuild_request.h"
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

// Behind every producer that has written a batch which can be read.
absl::StatusOr<ProducerId> NextProducer(const fs::path& data_dir) {
  ProducerId next(0);
  std::error_code error;
  for (fs::directory_iterator it(data_dir, error), end; !error && it != end; it.increment(error)) {
    const bool is_partition =
        it->is_directory(error) && ParsePartitionDirectory(it->path().filename().string());
    if (!is_partition) continue;
    const absl::Status walked =
        WalkBatches(it->path(), [&](const fs::path&, std::int64_t, const RecordBatchView& batch) {
          if (batch.producer_id() >= next) next = batch.producer_id() + 1;
          return true;
        });
    // What stands behind damage goes to quarantine.
    if (!walked.ok() && !absl::IsDataLoss(walked)) return walked;
  }
  if (error) return ErrnoError("list", data_dir, error.value());
  return next;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Repair>> Repair::Open(const fs::path& path) {
  ASSIGN_OR_RETURN(fs::path root, NamedDirectory(path));
  std::unique_ptr<Repair> repair(new Repair());
  if (!LooksLikeDataDirectory(root) && LooksLikeDataDirectory(root.parent_path())) {
    repair->only_ = root.filename().string();
    root = root.parent_path();
  }
  if (!LooksLikeDataDirectory(root)) {
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
  ASSIGN_OR_RETURN(RepairPlan plan, RepairPlanner(data_dir_, only_, on_progress).Run());
  if (only_.empty()) RETURN_IF_ERROR(PlanRequest(plan));
  return plan;
}

// One that cannot be read is made anew: what it asked for was not done, and without it the next
// start would take the partitions that the catalog has lost for strangers.
absl::Status Repair::PlanRequest(RepairPlan& plan) const {
  const absl::Status damage = ReadRebuildRequest(data_dir_).status();
  if (!absl::IsDataLoss(damage)) return damage;
  const auto writes_it = [](const RepairStep& step) { return step.entry == kRebuildRequestName; };
  if (std::any_of(plan.steps.begin(), plan.steps.end(), writes_it)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const ProducerId next_producer, NextProducer(data_dir_));
  Bytes contents = EncodeRebuildRequest({next_producer});
  plan.steps.push_back({.kind = RepairStep::Kind::kWrite,
                        .entry = kRebuildRequestName,
                        .bytes = static_cast<std::int64_t>(contents.size()),
                        .contents = std::move(contents),
                        .why = std::string(damage.message())});
  return absl::OkStatus();
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
