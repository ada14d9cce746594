// Verifying a partition's segments, one by one: the right file, of its length, read to where it
// must be whole, with the fingerprint and the index that belong to it.

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/fingerprint.h"
#include "storage/partition_verifier.h"

namespace cairn::storage {

// Nothing: not to be read at all.
std::optional<PartitionVerifier::Reach> PartitionVerifier::ReachOf(const ManifestSegment& segment,
                                                                   std::optional<Offset> next,
                                                                   std::int64_t size) {
  if (segment.sealed.has_value()) return Reach{segment.sealed->length, segment.sealed->next_offset};
  const bool is_active = durable_.has_value() && durable_->segment_base == segment.base;
  if (known_.was_clean) {
    if (next.has_value()) return Reach{size, next};
    return Reach{size, durable_.has_value() ? std::optional<Offset>(durable_->end) : std::nullopt};
  }
  if (!known_.has_frontier) return Reach{size, std::nullopt, true, false};
  if (is_active) return Reach{durable_->position, durable_->end};
  if (durable_.has_value() && segment.base < durable_->segment_base) return Reach{size, next, true};
  return std::nullopt;
}

void PartitionVerifier::CheckSize(const ManifestSegment& segment, bool is_last, std::int64_t size) {
  if (!segment.sealed.has_value() || size == segment.sealed->length) return;
  const std::filesystem::path path = PathOf(segment);
  const std::string reason =
      absl::StrFormat("expected %d bytes, found %d", segment.sealed->length, size);
  if (is_last && !known_.was_clean && segment.generation == 0 && size > segment.sealed->length) {
    findings_.Note(path, segment.sealed->length, reason + ": it was being continued");
  } else {
    findings_.Damage(path, std::min(size, segment.sealed->length), reason);
    if (size <= segment.sealed->length) return;
    const std::vector<ManifestSegment>& segments = manifest_.state.segments;
    excesses_.push_back(
        {static_cast<std::size_t>(&segment - segments.data()), segment.sealed->length});
  }
}

// kDataLoss: the file begins with another batch than the one the segment is known by, and that one
// must be there.
absl::Status PartitionVerifier::CheckFirstBatch(const ManifestSegment& segment, const File& file) {
  const absl::Status is_right = segment.first_batch.CheckIn(file);
  const bool is_durable = durable_.has_value() && durable_->end > segment.base;
  if (!absl::IsDataLoss(is_right) || segment.sealed.has_value() || is_durable) return is_right;
  ASSIGN_OR_RETURN(const BatchMark found, BatchMark::In(file));
  return found.length > 0 && !known_.has_frontier ? is_right : absl::OkStatus();
}

absl::Status PartitionVerifier::CheckSegment(const ManifestSegment& segment,
                                             std::optional<Offset> next) {
  ++findings_.summary.segments;
  const std::filesystem::path path = PathOf(segment);
  if (segment.base != expected_) {
    const std::string reason = absl::StrFormat("expected to begin at offset %d", expected_.value());
    findings_.Damage(path, 0, reason);
    BreakAt(segment, 0, expected_, reason);
  }
  expected_ = segment.base;
  const absl::StatusOr<File> file = File::OpenForReading(path);
  if (absl::IsNotFound(file.status())) {
    if (!segment.sealed && !known_.was_clean && known_.has_frontier &&
        (!durable_ || durable_->end <= segment.base)) {
      findings_.Note(path, 0, "missing; nothing in it was durable");
    } else {
      findings_.Damage(path, 0, "missing");
      BreakAt(segment, 0, segment.base, "the file is missing");
    }
    if (next.has_value()) expected_ = *next;
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(file.status());
  ASSIGN_OR_RETURN(const std::int64_t size, file->Size());
  CheckSize(segment, !next.has_value(), size);
  const absl::Status is_right = CheckFirstBatch(segment, *file);
  if (absl::IsDataLoss(is_right)) {
    // Nothing in it counts.
    findings_.Damage(path, 0, is_right);
    BreakAt(segment, 0, segment.base, std::string(is_right.message()));
    // One finding a segment.
    expected_ =
        segment.sealed.has_value() ? segment.sealed->next_offset : next.value_or(durable_->end);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(is_right);
  const std::optional<Reach> reach = ReachOf(segment, next, size);
  if (!reach.has_value()) {
    findings_.Note(path, 0, "not looked at: nothing in it is known to be durable");
    if (next.has_value()) expected_ = *next;
    return absl::OkStatus();
  }
  return ScanSegment(segment, *file, *reach);
}

absl::Status PartitionVerifier::ScanSegment(const ManifestSegment& segment, const File& file,
                                            const Reach& reach) {
  Index index(segment.base);
  Fingerprint fingerprint;
  BatchScan scan(file, {.end = reach.end,
                        .next_offset = segment.base,
                        .epochs = &epochs_,
                        .zeros_end = reach.zeros_end,
                        .cleaned = segment.generation > 0});
  while (scan.Next()) {
    const RecordBatchView& batch = scan.batch();
    fingerprint.Add(batch.bytes());
    index.Note(batch.base_offset(), batch.next_offset(), static_cast<std::int64_t>(batch.size()),
               batch.max_timestamp());
    if (batch.producer_id() >= next_producer_) next_producer_ = batch.producer_id() + 1;
    ++findings_.summary.batches;
  }
  findings_.summary.bytes += scan.position();
  findings_.Progress();
  end_position_ = scan.position();
  expected_ = scan.next_offset();
  if (!scan.status().ok() && !absl::IsDataLoss(scan.status())) return scan.status();
  if (!scan.status().ok()) {
    const std::string reason(scan.status().message());
    BreakAt(segment, scan.position(), scan.next_offset(), reason);
    if (reach.is_damage) {
      findings_.Damage(file.path(), scan.position(), reason);
    } else {
      findings_.Note(file.path(), scan.position(),
                     "without a frontier this may be a torn tail or damage: " + reason);
    }
  } else if (reach.next.has_value() && *reach.next != scan.next_offset()) {
    const std::string reason = absl::StrFormat("expected to end before offset %d, found %d",
                                               reach.next->value(), scan.next_offset().value());
    findings_.Damage(file.path(), scan.position(), reason);
    const bool is_short = scan.next_offset() < *reach.next;
    // Of a file that holds too much nothing is known to be this partition's.
    BreakAt(segment, is_short ? scan.position() : 0, is_short ? scan.next_offset() : segment.base,
            reason);
  } else if (segment.sealed.has_value()) {
    CheckSealed(segment, index, fingerprint.value());
  } else if (known_.was_clean) {
    CheckIndex(index, segment);
  }
  if (reach.next.has_value()) expected_ = *reach.next;  // one finding a segment
  return absl::OkStatus();
}

void PartitionVerifier::CheckSealed(const ManifestSegment& segment, const Index& index,
                                    std::uint64_t fingerprint) {
  std::string reason;
  if (fingerprint != segment.sealed->fingerprint) {
    reason = absl::StrFormat("expected the fingerprint %016x, found %016x",
                             segment.sealed->fingerprint, fingerprint);
  } else if (index.max_timestamp() != segment.sealed->max_timestamp) {
    reason = absl::StrFormat("expected the greatest timestamp %d, found %d",
                             segment.sealed->max_timestamp.value(), index.max_timestamp().value());
  }
  if (reason.empty()) return CheckIndex(index, segment);
  findings_.Damage(PathOf(segment), 0, reason);
  BreakAt(segment, 0, segment.base, reason);
}

void PartitionVerifier::CheckIndex(const Index& built, const ManifestSegment& segment) {
  const std::filesystem::path path = directory_ / IndexFileName(segment.base, segment.generation);
  const absl::StatusOr<Index> loaded = Index::Load(path, built.base(), built.log_length());
  if (absl::IsNotFound(loaded.status())) {
    if (segment.sealed.has_value())
      findings_.Note(path, 0, "missing; it is rebuilt when it is needed");
    return;
  }
  if (!loaded.ok()) {
    findings_.Note(path, 0, std::string(loaded.status().message()) + "; it will be rebuilt");
    return;
  }
  if (!segment.sealed.has_value()) CheckFrontier("its index", loaded->next_offset());
  // The interval may have been another; what counts is that every entry is true.
  for (const Index::Entry& entry : loaded->entries()) {
    const Offset offset = built.base() + entry.offset_delta;
    const Index::Place place = built.FindPosition(entry.position);
    if (place.position == entry.position && place.offset != offset) {
      findings_.Note(path, 0,
                     absl::StrFormat("position %d is said to hold offset %d, found %d",
                                     entry.position, offset.value(), place.offset.value()));
      return;
    }
  }
}

}  // namespace cairn::storage
