// Who has produced, at a start: from the snapshot and the batches' headers behind it. A part of
// LogRecovery.

#include <chrono>

#include "absl/strings/str_format.h"

#include "protocol/limits.h"
#include "protocol/status.h"
#include "storage/log_recovery.h"
#include "storage/seeded_bug.h"

namespace cairn::storage {
namespace {

// A snapshot beyond this is none of ours: some 200 bytes a producer.
constexpr std::int64_t kProducerSnapshotBytesMax = 256 << 20;

}  // namespace

absl::Status LogRecovery::RebuildProducers() {
  if (HasBug(SeededBug::kProducersForgotten)) return absl::OkStatus();
  const std::filesystem::path path = log_.place_->directory / kProducerSnapshotName;
  std::optional<DurableEnd> snapshot;
  if (absl::StatusOr<Bytes> bytes = ReadFile(path, kProducerSnapshotBytesMax); bytes.ok()) {
    absl::StatusOr<std::pair<ProducerTable, DurableEnd>> table =
        ProducerTable::FromSnapshot(*bytes, log_.id());
    if (table.ok() && table->second.end <= log_.log_end_) {
      log_.producers_ = std::move(table->first);
      snapshot = table->second;
    } else {
      report_.notes.push_back(absl::StrFormat(
          "%s is of no use and was removed: %s", path.string(),
          table.ok() ? "it is of a longer log" : std::string(table.status().message())));
      RETURN_IF_ERROR(RemoveFile(path));
    }
  }
  const auto idle =
      std::chrono::duration_cast<std::chrono::milliseconds>(kProducerIdleExpiry).count();
  const Offset from = snapshot ? snapshot->end : log_.log_start_;
  for (const auto& segment : log_.segments_) {
    if (segment->next_offset() <= from || segment->length() == 0) continue;
    // Without a snapshot: who wrote only longer ago has expired.
    if (!snapshot && now_ - segment->extent().last_append_time > idle) continue;
    report_.producers_rebuilt = true;
    RETURN_IF_ERROR(ApplyProducers(*segment, from, snapshot));
  }
  return absl::OkStatus();
}

absl::Status LogRecovery::ApplyProducers(Segment& segment, Offset from,
                                         const std::optional<DurableEnd>& snapshot) {
  ASSIGN_OR_RETURN(const File file, File::OpenForReading(segment.LogPath()));
  BatchScan::From start{.end = segment.length(),
                        .next_offset = segment.base(),
                        .epochs = &log_.place_->epochs,
                        .depth = BatchScan::Depth::kHeaders,
                        .cleaned = segment.generation() > 0};
  // The later of the places that are known; in a cleaned segment they have moved.
  for (const std::optional<DurableEnd>& known : {durable_, snapshot}) {
    if (known.has_value() && known->segment_base == segment.base() && known->end <= from &&
        known->end > start.next_offset && known->position <= segment.length() &&
        segment.generation() == 0) {
      start.position = known->position;
      start.next_offset = known->end;
    }
  }
  BatchScan scan(file, start);
  while (scan.Next()) {
    if (scan.batch().next_offset() <= from) continue;
    log_.producers_.Apply(scan.batch(), segment.extent().last_append_time);
  }
  report_.bytes_scanned += scan.position() - start.position;
  if (absl::IsDataLoss(scan.status())) {
    // Nothing fits where the snapshot ends: it is of a log that was repaired since.
    if (snapshot.has_value() && scan.position() == start.position && start.position > 0) {
      return ApplyProducers(segment, from, std::nullopt);
    }
    if (report_.damage.ok() || scan.next_offset() < report_.offline_from) {
      Offline(scan.next_offset(), segment.NoteDamage(scan.next_offset(), scan.status()));
    }
    return absl::OkStatus();
  }
  return scan.status();
}

}  // namespace cairn::storage
