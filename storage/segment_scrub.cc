// Reading a segment at rest again, to find damage before a reader meets it.

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/fingerprint.h"
#include "storage/segment.h"

namespace cairn::storage {
namespace {

constexpr std::int64_t kStep = 1 << 20;

}  // namespace

absl::Status Segment::Scrub(const OnScrubbed& on_scrubbed) {
  return IsSealed() ? ReadAgain(on_scrubbed) : absl::OkStatus();
}

absl::Status Segment::ReadAgain(const OnScrubbed& on_scrubbed) {
  SealedSegment expected;
  bool is_sealed = false;
  {
    const std::lock_guard lock(mutex_);
    expected = extent_;
    is_sealed = sealed_;
  }
  const absl::StatusOr<File> file = File::OpenForReading(LogPath());
  if (absl::IsNotFound(file.status())) return NoteDamage(base_, file.status());
  RETURN_IF_ERROR(file.status());
  // What is on the disk is to be read; pages that somebody has mapped stay.
  RETURN_IF_ERROR(file->DropCache());
  RETURN_IF_ERROR(CheckIsTheRightFile(*file));
  Fingerprint fingerprint;
  BatchScan scan(*file, {.end = expected.length,
                         .next_offset = base_,
                         .epochs = &place_->epochs,
                         .cleaned = generation() > 0});
  std::int64_t told = 0;
  while (scan.Next()) {
    fingerprint.Add(scan.batch().bytes());
    if (scan.position() - told < kStep && scan.position() < expected.length) continue;
    RETURN_IF_ERROR(file->DropCache(told, scan.position() - told));
    if (!on_scrubbed(scan.position() - told)) return absl::CancelledError("stopped");
    told = scan.position();
  }
  if (absl::IsDataLoss(scan.status())) return NoteDamage(scan.next_offset(), scan.status());
  RETURN_IF_ERROR(scan.status());
  if (!is_sealed && scan.next_offset() != expected.next_offset) {
    return NoteWrongEnd(scan, expected.next_offset);
  }
  if (!is_sealed || fingerprint.value() == expected.fingerprint) return absl::OkStatus();
  // Every batch is whole: something that their checksums do not cover. Nobody knows where.
  return NoteDamage(
      base_,
      absl::DataLossError(absl::StrFormat(
          "%s, position 0: expected %d bytes with the fingerprint %016x, found %016x",
          file->path().string(), expected.length, expected.fingerprint, fingerprint.value())));
}

}  // namespace cairn::storage
