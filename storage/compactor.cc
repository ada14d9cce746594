#include "storage/compactor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/fingerprint.h"
#include "storage/seeded_bug.h"
#include "storage/segment_name.h"

namespace cairn::storage {
namespace {

// How often `pace` is asked: seldom enough to cost nothing, often enough to stop soon.
constexpr std::int64_t kPaceBytes = 256 << 10;
constexpr std::size_t kScratchKept = 4u << 20;

// At most one key a record.
std::int64_t KeysMax(const CompactionPlan& plan) {
  if (plan.segments.empty()) return 0;
  return plan.segments.back()->next_offset() - plan.clean_end;
}

BatchScan::From WholeOf(const Segment& segment, const EpochHistory& epochs) {
  return {.end = segment.length(),
          .next_offset = segment.base(),
          .epochs = &epochs,
          .cleaned = segment.generation() > 0};
}

}  // namespace

Compactor::Compactor(CompactionPlan plan, Options options, CompactionTime time)
    : plan_(std::move(plan)),
      options_(std::move(options)),
      time_(time),
      keys_(options_.map_bytes, KeysMax(plan_), options_.hash_seed),
      end_(plan_.clean_end) {}

absl::Status Compactor::Pace(std::int64_t bytes) {
  unpaced_ += bytes;
  if (unpaced_ < kPaceBytes || !options_.pace) return absl::OkStatus();
  return options_.pace(std::exchange(unpaced_, 0));
}

absl::Status Compactor::WithNames(const std::function<absl::Status()>& step) const {
  return options_.names ? options_.names(step) : step();
}

absl::StatusOr<File> Compactor::Open(Segment& segment) const {
  absl::StatusOr<File> file;
  RETURN_IF_ERROR(WithNames([&] {
    file = File::OpenForReading(segment.LogPath());
    if (!absl::IsNotFound(file.status())) return file.status();
    return NoteDamage(segment, segment.base(), file.status());
  }));
  return file;
}

// What was dropped is taken away, and cut while it is read: no damage.
absl::Status Compactor::NoteDamage(Segment& segment, Offset from, const absl::Status& what) {
  const absl::Status noted = segment.NoteDamage(from, what);
  if (CodeOf(noted) == ErrorCode::kPartitionOffline) return noted;
  return absl::AbortedError(segment.LogPath().string() + " was dropped while it was cleaned");
}

// ---- the keys ----

absl::Status Compactor::ReadKeys() {
  bool full = false;
  for (const std::shared_ptr<Segment>& segment : plan_.segments) {
    if (segment->next_offset() <= plan_.clean_end) continue;
    RETURN_IF_ERROR(ReadKeysOf(*segment, full));
    if (full) break;
    end_ = segment->next_offset();
  }
  summary_.keys = keys_.size();
  return absl::OkStatus();
}

absl::Status Compactor::ReadKeysOf(Segment& segment, bool& full) {
  ASSIGN_OR_RETURN(const File file, Open(segment));
  BatchScan scan(file, WholeOf(segment, plan_.place->epochs));
  while (scan.Next()) {
    const auto size = static_cast<std::int64_t>(scan.batch().size());
    summary_.bytes_read += size;
    RETURN_IF_ERROR(Pace(size));
    if (scan.batch().base_offset() < plan_.clean_end) continue;
    if (!NoteKeys(scan.batch())) {
      // Up to here. A single batch with more keys than there is room for counts as read, so that
      // cleaning goes on: older records of those that are not noted stay.
      full = true;
      if (end_ > plan_.clean_end) return absl::OkStatus();
      end_ = scan.batch().next_offset();
      return absl::OkStatus();
    }
    end_ = scan.batch().next_offset();
  }
  if (absl::IsDataLoss(scan.status()))
    return NoteDamage(segment, scan.next_offset(), scan.status());
  return scan.status();
}

// False: there was no room for all of them.
bool Compactor::NoteKeys(const RecordBatchView& batch) {
  if (batch.is_control() || !reader_.Open(batch, kDecompressedBytesMax).ok()) return true;
  RecordView record;
  bool noted = true;
  while (noted && reader_.Next(record)) {
    noted = !record.key.has_value() || keys_.Put(*record.key, record.offset);
  }
  if (reader_.unpacked_capacity() > kScratchKept) reader_ = RecordReader();
  return noted;
}

// ---- cleaning ----

absl::StatusOr<std::optional<CleanedSegment>> Compactor::Next() {
  while (next_ < plan_.segments.size() && plan_.segments[next_]->base() < end_) {
    const std::size_t first = next_;
    const Offset base = plan_.segments[first]->base();
    ASSIGN_OR_RETURN(SegmentWriter writer, Begin(*plan_.segments[first]));
    bool changed = false;
    tail_.clear();
    do {
      RETURN_IF_ERROR(CleanInto(*plan_.segments[next_], writer, changed));
      ++next_;
    } while (next_ < plan_.segments.size() && plan_.segments[next_]->base() < end_ &&
             JoinsWith(writer, base, *plan_.segments[next_]));
    std::vector<std::shared_ptr<Segment>> replaced(
        plan_.segments.begin() + static_cast<std::ptrdiff_t>(first),
        plan_.segments.begin() + static_cast<std::ptrdiff_t>(next_));
    // As it was, and known to be clean.
    const bool is_known = replaced.front()->clean_end() == replaced.front()->next_offset();
    if (replaced.size() == 1 && !changed && is_known) continue;
    ASSIGN_OR_RETURN(CleanedSegment cleaned, Finish(writer, std::move(replaced)));
    return std::optional<CleanedSegment>(std::move(cleaned));
  }
  return std::optional<CleanedSegment>();
}

absl::StatusOr<SegmentWriter> Compactor::Begin(const Segment& first) const {
  std::filesystem::path path =
      plan_.place->directory / LogFileName(first.base(), first.generation() + 1);
  path += kReplacementEnding;
  std::optional<SegmentWriter> writer;
  RETURN_IF_ERROR(WithNames([&]() -> absl::Status {
    ASSIGN_OR_RETURN(
        SegmentWriter made,
        SegmentWriter::Create(path, first.base(), plan_.options.index_interval_bytes,
                              plan_.place->uses_reserve ? nullptr : &plan_.place->reserve));
    writer.emplace(std::move(made));
    return absl::OkStatus();
  }));
  return *std::move(writer);
}

// Whether the next segment goes into the same file, even if nothing can be taken from it.
bool Compactor::JoinsWith(const SegmentWriter& writer, Offset base, const Segment& next) const {
  return writer.length() + static_cast<std::int64_t>(tail_.size()) + next.length() <=
             plan_.options.segment_bytes &&
         next.next_offset() - base <= std::int64_t{UINT32_MAX};
}

absl::Status Compactor::CleanInto(Segment& segment, SegmentWriter& writer, bool& changed) {
  ASSIGN_OR_RETURN(const File file, Open(segment));
  const SealedSegment& expected = segment.extent();
  Fingerprint fingerprint;
  BatchScan scan(file, WholeOf(segment, plan_.place->epochs));
  while (scan.Next()) {
    const RecordBatchView& batch = scan.batch();
    fingerprint.Add(batch.bytes());
    summary_.bytes_read += static_cast<std::int64_t>(batch.size());
    const std::int64_t before = writer.length();
    RETURN_IF_ERROR(CleanBatch(batch, scan.position() == expected.length, writer, changed));
    const std::int64_t written = writer.length() - before;
    summary_.bytes_written += written;
    RETURN_IF_ERROR(Pace(static_cast<std::int64_t>(batch.size()) + written));
  }
  if (absl::IsDataLoss(scan.status()))
    return NoteDamage(segment, scan.next_offset(), scan.status());
  RETURN_IF_ERROR(scan.status());
  if (scan.next_offset() == expected.next_offset && fingerprint.value() == expected.fingerprint) {
    return absl::OkStatus();
  }
  return NoteDamage(
      segment, segment.base(),
      absl::DataLossError(absl::StrFormat(
          "%s, position 0: expected offsets up to %d and the fingerprint %016x, found %d and %016x",
          file.path().string(), expected.next_offset.value(), expected.fingerprint,
          scan.next_offset().value(), fingerprint.value())));
}

absl::Status Compactor::CleanBatch(const RecordBatchView& batch, bool is_last,
                                   SegmentWriter& writer, bool& changed) {
  tail_.clear();
  BatchFilter::Result result{.kept = batch.record_count()};
  if (batch.base_offset() < end_) {
    result = filter_.Apply(
        batch, time_.now + plan_.options.compaction.delete_retention_ms,
        [&](const RecordView& record) { return Judge(batch, record); }, batch_);
  }
  summary_.records_read += batch.record_count();
  summary_.records_kept += result.kept;
  if (result.kept > 0) {
    changed |= result.changed;
    return writer.Append(result.changed ? ByteView(batch_) : batch.bytes());
  }
  BatchFilter::Empty(batch, batch_);
  if (plan_.producers.Remembers(batch.producer_id(), batch.base_offset())) {
    changed |= result.changed;
    return writer.Append(batch_);
  }
  // An empty last one that stays where it was is no change; Next knows the other cases.
  changed |= result.changed || !is_last;
  if (is_last) tail_.swap(batch_);
  return absl::OkStatus();
}

BatchFilter::Fate Compactor::Judge(const RecordBatchView& batch, const RecordView& record) const {
  using Fate = BatchFilter::Fate;
  if (!record.key.has_value()) return Fate::kKeep;
  const std::optional<Offset> newest = keys_.Find(*record.key);
  if (HasBug(SeededBug::kCompactionDropsNewest)) {
    return newest == record.offset ? Fate::kDrop : Fate::kKeep;
  }
  if (newest.has_value() && *newest > record.offset) return Fate::kDrop;
  if (record.value.has_value()) return Fate::kKeep;
  if (batch.has_delete_horizon()) {
    const bool is_over = time_.ages_trusted && batch.base_timestamp() <= time_.now;
    return is_over ? Fate::kDrop : Fate::kKeep;
  }
  // Only what is noted has nothing left before it.
  return newest == record.offset ? Fate::kKeepForNow : Fate::kKeep;
}

absl::StatusOr<CleanedSegment> Compactor::Finish(SegmentWriter& writer,
                                                 std::vector<std::shared_ptr<Segment>> replaced) {
  const Offset base = replaced.front()->base();
  const Offset next_offset = replaced.back()->next_offset();
  if (writer.next_offset() < next_offset) {
    CAIRN_CHECK(!tail_.empty());
    RETURN_IF_ERROR(writer.Append(tail_));
  }
  CAIRN_CHECK(writer.next_offset() == next_offset);
  RETURN_IF_ERROR(writer.Sync());
  SealedSegment sealed{.next_offset = next_offset,
                       .length = writer.length(),
                       .first_append_time = replaced.front()->extent().first_append_time,
                       .last_append_time = replaced.front()->extent().last_append_time,
                       .max_timestamp = writer.max_timestamp(),
                       .fingerprint = writer.fingerprint()};
  SegmentCleaning cleaning{.generation = 1, .clean_end = std::min(end_, next_offset)};
  for (const std::shared_ptr<Segment>& segment : replaced) {
    const SealedSegment& extent = segment->extent();
    sealed.first_append_time = std::min(sealed.first_append_time, extent.first_append_time);
    sealed.last_append_time = std::max(sealed.last_append_time, extent.last_append_time);
    cleaning.generation = std::max(cleaning.generation, segment->generation() + 1);
  }
  CleanedSegment cleaned{.segment = Segment::OnDisk(plan_.place, base, sealed, true, plan_.options,
                                                    writer.first_batch(), cleaning),
                         .replaced = std::move(replaced)};
  RETURN_IF_ERROR(WithNames([&]() -> absl::Status {
    // Derived: the one of another segment, or none, is found out.
    (void)writer.index().Save(cleaned.segment->IndexPath());
    return writer.Publish(cleaned.segment->LogPath());
  }));
  return cleaned;
}

}  // namespace cairn::storage
