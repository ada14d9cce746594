#include "storage/recovery.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"
#include "storage/list_reach.h"
#include "storage/log_recovery.h"
#include "storage/seeded_bug.h"
#include "storage/segment_name.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

// What is cut is saved in pieces, so that a long tail does not need as much memory.
constexpr std::int64_t kQuarantinePiece = 64 << 20;

// Where what a crash left may reach: a batch may end in zeros, but not in more than it is long.
absl::StatusOr<std::int64_t> EndOfLeftovers(const File& file, std::int64_t position,
                                            std::int64_t size) {
  ASSIGN_OR_RETURN(const std::int64_t last, LastNonZero(file, position, size));
  if (last == position) return position;
  return std::min(size, last + static_cast<std::int64_t>(kBatchBytesMax));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Log>> Log::Open(DataDir& data_dir, LogIdentity identity,
                                               LogOptions options, Timestamp now,
                                               RecoveryReport& report) {
  std::unique_ptr<Log> log(new Log(data_dir, std::move(identity), options));
  LogRecovery recovery(*log, now, report);
  RETURN_IF_ERROR(recovery.Run());
  return log;
}

LogRecovery::LogRecovery(Log& log, Timestamp now, RecoveryReport& report)
    : log_(log),
      now_(now),
      report_(report),
      knows_frontier_(log.data_dir_.frontier_damage().ok() &&
                      log.data_dir_.frontier().Knows(log.id())),
      was_clean_(knows_frontier_ && log.data_dir_.frontier().was_clean(log.id())),
      durable_(log.data_dir_.frontier().Find(log.id())) {}

absl::Status LogRecovery::Run() {
  RETURN_IF_ERROR(ListFiles());
  ASSIGN_OR_RETURN(const bool has_manifest, OpenManifest());
  if (!has_manifest) {
    if (report_.damage.ok()) RaiseEpoch();
    return absl::OkStatus();
  }
  // A copy: cutting changes the manifest.
  const ManifestState state = log_.manifest_->state();
  log_.place_->epochs = EpochHistory(state.epochs);
  log_.log_start_ = state.log_start;
  RETURN_IF_ERROR(ClearStrays());
  if (has_damaged_list_) log_.place_->damaged_segments->Load();
  expected_ = state.segments.empty() ? state.log_start : state.segments.front().base;
  Outcome outcome = Outcome::kGoOn;
  if (expected_ > state.log_start) {
    outcome =
        Offline(state.log_start, absl::DataLossError(absl::StrFormat(
                                     "%s: the log begins at offset %d, but its first segment at %d",
                                     (log_.place_->directory / kManifestFileName).string(),
                                     state.log_start.value(), expected_.value())));
  }
  for (std::size_t i = 0; i < state.segments.size() && outcome == Outcome::kGoOn; ++i) {
    const bool is_last = i + 1 == state.segments.size();
    const std::optional<Offset> next =
        is_last ? std::nullopt : std::optional<Offset>(state.segments[i + 1].base);
    const ManifestSegment& segment = state.segments[i];
    if (segment.sealed.has_value()) {
      ASSIGN_OR_RETURN(outcome, TakeSealed(segment, is_last));
    } else {
      ASSIGN_OR_RETURN(outcome, TakeUnsealed(segment, next));
    }
    if (report_.damage.ok()) RETURN_IF_ERROR(LookAgain(segment));
    if (!report_.damage.ok()) break;
  }
  if (report_.damage.ok()) RETURN_IF_ERROR(FinishEnds());
  if (report_.damage.ok()) RETURN_IF_ERROR(ForgetDamaged());
  return RebuildProducers();
}

std::string LogRecovery::FileName(const SegmentFileName& file) const {
  return (log_.place_->directory.filename() / LogFileName(file.base, file.generation)).string();
}

fs::path LogRecovery::PathOf(const ManifestSegment& segment) const {
  return log_.place_->directory / LogFileName(segment.base, segment.generation);
}

bool LogRecovery::NeedsSync() const { return !was_clean_ && !log_.data_dir_.leftovers_synced(); }

bool LogRecovery::IsBelowFrontier(Offset offset) const {
  if (HasBug(SeededBug::kCutBelowFrontier)) return false;
  return durable_.has_value() && offset < durable_->end;
}

LogRecovery::Outcome LogRecovery::Offline(Offset from, const absl::Status& what) {
  const absl::Status status = MakeError(ErrorCode::kPartitionOffline, std::string(what.message()));
  report_.damage = absl::DataLossError(std::string(what.message()));
  report_.offline_from = from;
  log_.damage_ = status;
  log_.write_state_ = status;
  log_.offline_from_ = from;
  log_.ends_at_damage_ = true;
  log_.log_end_ = std::max(from, log_.log_start_);
  return Outcome::kStop;
}

// False: there is nothing to recover.
absl::StatusOr<bool> LogRecovery::OpenManifest() {
  absl::StatusOr<std::unique_ptr<Manifest>> manifest =
      Manifest::Open(log_.place_->directory, log_.identity_, was_clean_);
  if (absl::IsDataLoss(manifest.status())) {
    Offline(Offset(0), manifest.status());
    return false;
  }
  if (absl::IsNotFound(manifest.status())) {
    if (IsBelowFrontier(Offset(0)) || (!knows_frontier_ && !files_.empty())) {
      Offline(Offset(0),
              absl::DataLossError(absl::StrFormat(
                  "%s: there is no manifest, expected one for %s", log_.place_->directory.string(),
                  durable_.has_value()
                      ? absl::StrFormat("offsets up to %d", durable_->end.value())
                      : absl::StrFormat("the %d segments that are there", files_.size()))));
      return false;
    }
    for (const SegmentFileName& file : files_) {
      ASSIGN_OR_RETURN(const fs::path saved, log_.data_dir_.Quarantine(FileName(file)));
      report_.notes.push_back(
          absl::StrFormat("%s was not in use yet; moved to %s", FileName(file), saved.string()));
    }
    return false;
  }
  RETURN_IF_ERROR(manifest.status());
  if (durable_.has_value()) {
    const absl::Status is_whole = CheckListReaches((*manifest)->state(), *durable_);
    if (!is_whole.ok()) {
      Offline(Offset(0), absl::DataLossError(absl::StrFormat(
                             "%s: %s", (log_.place_->directory / kManifestFileName).string(),
                             std::string(is_whole.message()))));
      return false;
    }
  }
  log_.manifest_ = *std::move(manifest);
  log_.manifest_->UseReserve(log_.data_dir_.reserve());
  if (NeedsSync()) RETURN_IF_ERROR(log_.manifest_->SyncLeftovers());
  RETURN_IF_ERROR(MendMeta());
  if (!log_.manifest_->torn_tail().empty()) {
    const ByteView tail = log_.manifest_->torn_tail();
    const std::string name = log_.place_->directory.filename().string() + "/manifest";
    ASSIGN_OR_RETURN(const fs::path saved, log_.data_dir_.QuarantineBytes(name + ".tail", tail));
    report_.notes.push_back(
        absl::StrFormat("%s: an unfinished entry of %d bytes was cut, saved as %s", name,
                        tail.size(), saved.string()));
    RETURN_IF_ERROR(log_.manifest_->CutTornTail());
    changed_ = true;
  }
  return true;
}

void LogRecovery::Add(const ManifestSegment& segment, Offset next, std::int64_t length,
                      Timestamp modified) {
  const SealedSegment extent{.next_offset = next,
                             .length = length,
                             .first_append_time = segment.first_append_time,
                             .last_append_time = std::max(modified, segment.first_append_time),
                             .max_timestamp = Segment::kUnknownTime,
                             .fingerprint = 0};
  log_.segments_.push_back(Segment::OnDisk(log_.place_, segment.base, extent, false, log_.options_,
                                           segment.first_batch));
  expected_ = next;
}

absl::StatusOr<LogRecovery::Outcome> LogRecovery::TakeSealed(const ManifestSegment& segment,
                                                             bool is_last) {
  const fs::path path = PathOf(segment);
  const bool is_there = files_.contains({segment.base, segment.generation});
  if (segment.base != expected_ || !is_there) {
    return Offline(expected_, absl::DataLossError(absl::StrFormat(
                                  "%s: expected the segment at offset %d, found %s", path.string(),
                                  expected_.value(), is_there ? "another base" : "no file")));
  }
  if (is_last && !was_clean_ && segment.generation == 0) {
    // It may have been continued, by appends that never became durable.
    ASSIGN_OR_RETURN(const File file, File::OpenForWriting(path));
    ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
    if (size > segment.sealed->length && IsBelowFrontier(segment.sealed->next_offset)) {
      // What follows was durable once: it is the manifest that has lost something.
      return Offline(
          segment.sealed->next_offset,
          absl::DataLossError(absl::StrFormat(
              "%s, position %d: expected the sealed end, found %d more bytes of offsets below %d",
              path.string(), segment.sealed->length, size - segment.sealed->length,
              durable_->end.value())));
    }
    if (size > segment.sealed->length) {
      RETURN_IF_ERROR(Cut(file, segment.sealed->length, size, segment.sealed->next_offset));
    }
  }
  log_.segments_.push_back(Segment::OnDisk(
      log_.place_, segment.base, *segment.sealed, true, log_.options_, segment.first_batch,
      {.generation = segment.generation, .clean_end = segment.clean_end}));
  expected_ = segment.sealed->next_offset;
  return Outcome::kGoOn;
}

absl::StatusOr<LogRecovery::Outcome> LogRecovery::TakeUnsealed(const ManifestSegment& segment,
                                                               std::optional<Offset> next) {
  const fs::path path = PathOf(segment);
  if (segment.base != expected_) {
    return Offline(expected_, absl::DataLossError(absl::StrFormat(
                                  "%s: expected a segment at offset %d, found this one",
                                  path.string(), expected_.value())));
  }
  if (!files_.contains({segment.base})) {
    if (was_clean_ || !knows_frontier_ || IsBelowFrontier(segment.base)) {
      return Offline(segment.base, absl::DataLossError(path.string() + ": the file is missing"));
    }
    RETURN_IF_ERROR(DropFrom(segment.base));
    return Outcome::kStop;
  }
  ASSIGN_OR_RETURN(const File file, File::OpenForWriting(path));
  RETURN_IF_ERROR(CheckFirstBatch(segment, file));
  if (!report_.damage.ok()) return Outcome::kStop;
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  if (was_clean_) {
    ASSIGN_OR_RETURN(const Timestamp modified, file.ModifiedAt());
    const bool is_active = durable_.has_value() && durable_->segment_base == segment.base;
    if (next.has_value() && !is_active) {
      Add(segment, *next, size, modified);
      return Outcome::kGoOn;
    }
    if (!next.has_value() && is_active && durable_->position == size) {
      Add(segment, durable_->end, size, modified);
      return Outcome::kGoOn;
    }
  } else if (NeedsSync()) {
    RETURN_IF_ERROR(file.Sync());
  }
  return ScanTail(segment, file, size, next);
}

// The file begins with the batch that the segment was begun for, or may be another segment's. Where
// nothing in it was durable, that batch may never have arrived.
absl::Status LogRecovery::CheckFirstBatch(const ManifestSegment& segment, const File& file) {
  const absl::Status is_right = segment.first_batch.CheckIn(file);
  if (!absl::IsDataLoss(is_right)) return is_right;
  const bool is_durable = was_clean_ ? durable_.has_value() && durable_->end > segment.base
                                     : IsBelowFrontier(segment.base);
  ASSIGN_OR_RETURN(const BatchMark found, BatchMark::In(file));
  if (is_durable || (found.length > 0 && !knows_frontier_)) {
    Offline(segment.base, is_right);
    return absl::OkStatus();
  }
  if (found.length == 0) return absl::OkStatus();  // what stands there is no batch: the scan tells
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  return Cut(file, 0, size, segment.base);
}

// At a segment that was just taken, if damage was found in it before: what stands behind that must
// not be built upon.
absl::Status LogRecovery::LookAgain(const ManifestSegment& segment) {
  const SegmentFileName name{segment.base, segment.generation};
  if (!log_.place_->damaged_segments->IsSuspect(name)) return absl::OkStatus();
  if (log_.segments_.empty() || log_.segments_.back()->base() != segment.base) {
    return absl::OkStatus();  // nothing of it was kept
  }
  Segment& taken = *log_.segments_.back();
  const absl::Status found = taken.ReadAgain([](std::int64_t) { return true; });
  report_.bytes_scanned += taken.length();
  const std::optional<Segment::Damage> damage = taken.damage();
  if (!damage.has_value()) return found;
  Offline(damage->from, damage->status);
  return absl::OkStatus();
}

absl::Status LogRecovery::ForgetDamaged() {
  ASSIGN_OR_RETURN(const bool had_any, log_.place_->damaged_segments->Clear());
  if (had_any) {
    report_.notes.push_back(
        absl::StrFormat("%s: what was found damaged before is gone, or reads well again",
                        log_.place_->directory.filename().string()));
  }
  return absl::OkStatus();
}

absl::StatusOr<LogRecovery::Outcome> LogRecovery::ScanTail(const ManifestSegment& segment,
                                                           const File& file, std::int64_t size,
                                                           std::optional<Offset> next) {
  BatchScan::From from{
      .end = size, .next_offset = segment.base, .epochs = &log_.place_->epochs, .zeros_end = true};
  if (durable_.has_value() && durable_->segment_base == segment.base &&
      durable_->position <= size) {
    from.position = durable_->position;
    from.next_offset = durable_->end;
  }
  if (next.has_value() && IsBelowFrontier(*next - 1)) {
    // All of it is durable, so nothing can be torn: only its end is to be found. Its bytes are
    // checked when they are read, sealed or scrubbed.
    from.depth = BatchScan::Depth::kHeaders;
  } else if (!was_clean_) {
    // What is judged must be what is on the disk, not what is cached.
    RETURN_IF_ERROR(file.DropCache(from.position));
  }
  ASSIGN_OR_RETURN(const Timestamp modified, file.ModifiedAt());
  BatchScan scan(file, from);
  while (scan.Next()) changed_ = true;
  report_.bytes_scanned += scan.position() - from.position;
  if (!scan.status().ok() && !absl::IsDataLoss(scan.status())) return scan.status();
  Add(segment, scan.next_offset(), scan.position(), modified);
  if (!scan.status().ok()) return Torn(segment, file, size, scan);
  const Offset wanted = next.has_value() ? *next : (durable_ ? durable_->end : segment.base);
  const bool is_short = scan.next_offset() < wanted;
  if ((is_short && (was_clean_ || !knows_frontier_ || IsBelowFrontier(scan.next_offset()))) ||
      (next.has_value() && scan.next_offset() > *next)) {
    return Offline(
        std::min(scan.next_offset(), wanted),
        absl::DataLossError(absl::StrFormat(
            "%s, position %d: expected to go on to offset %d, found its end at %d",
            file.path().string(), scan.position(), wanted.value(), scan.next_offset().value())));
  }
  // Zeros behind the end may stay: they are cut when the segment is continued, sealed or closed.
  if (!is_short || !next.has_value()) return Outcome::kGoOn;
  // A roll of which only the later file survived: nothing of it was durable.
  RETURN_IF_ERROR(DropFrom(*next));
  return Outcome::kStop;
}

absl::StatusOr<LogRecovery::Outcome> LogRecovery::Torn(const ManifestSegment& segment,
                                                       const File& file, std::int64_t size,
                                                       const BatchScan& scan) {
  const Offset at = scan.next_offset();
  if (was_clean_ || IsBelowFrontier(at)) return Offline(at, scan.status());
  if (!knows_frontier_) {
    if (log_.manifest_->state().segments.back().base != segment.base) {
      return Offline(at, scan.status());
    }
    ASSIGN_OR_RETURN(const std::int64_t last, EndOfLeftovers(file, scan.position(), size));
    Bytes rest(static_cast<std::size_t>(last - scan.position()));
    RETURN_IF_ERROR(file.ReadAll(scan.position(), rest));
    if (FindBatches(rest, at).count > 0) return Offline(at, scan.status());
  }
  RETURN_IF_ERROR(Cut(file, scan.position(), size, at));
  // What was begun after a torn tail goes with it.
  const ManifestState& state = log_.manifest_->state();
  for (const ManifestSegment& later : state.segments) {
    if (later.base > segment.base) {
      RETURN_IF_ERROR(DropFrom(later.base));
      break;
    }
  }
  return Outcome::kStop;
}

// Saves [position, size) without the zeros behind it, then cuts it off, durably.
absl::Status LogRecovery::Cut(const File& file, std::int64_t position, std::int64_t size,
                              Offset from) {
  ASSIGN_OR_RETURN(const std::int64_t last, EndOfLeftovers(file, position, size));
  const std::string name = (log_.place_->directory.filename() / file.path().filename()).string();
  std::int64_t end = position;
  for (std::int64_t at = position; at < last; at += kQuarantinePiece) {
    Bytes piece(static_cast<std::size_t>(std::min(kQuarantinePiece, last - at)));
    RETURN_IF_ERROR(file.ReadAll(at, piece));
    const FoundBatches batches = FindBatches(piece, from);
    // Zeros may be the end of a batch, but most are only reserved room.
    std::size_t used = piece.size();
    while (used > batches.end && piece[used - 1] == std::byte{0}) --used;
    piece.resize(used);
    if (piece.empty()) continue;
    end = at + static_cast<std::int64_t>(used);
    ASSIGN_OR_RETURN(const fs::path saved, log_.data_dir_.QuarantineBytes(
                                               absl::StrFormat("%s.from-%d", name, at), piece));
    report_.batches_cut += batches.count;
    report_.notes.push_back(absl::StrFormat(
        "%s: a torn tail of %d bytes at position %d (offset %d) was cut, %d whole batches stood in "
        "it; saved as %s",
        name, piece.size(), at, from.value(), batches.count, saved.string()));
  }
  report_.bytes_cut += end - position;
  changed_ = true;
  if (HasBug(SeededBug::kTailNotCut)) return absl::OkStatus();
  RETURN_IF_ERROR(file.Truncate(position));
  return file.Sync();
}

// Takes the segment at `base` and all later ones out of the log: they were begun, but nothing in
// them was durable, and what should stand before them is gone.
absl::Status LogRecovery::DropFrom(Offset base) {
  std::vector<ManifestSegment> dropped;
  std::vector<ManifestEntry> entries;
  for (const ManifestSegment& segment : log_.manifest_->state().segments) {
    if (segment.base < base) continue;
    dropped.push_back(segment);
    entries.push_back(SegmentDropped{.base = segment.base});
  }
  changed_ = true;
  // The last first: whatever a power cut leaves of it, the list has no hole.
  std::reverse(entries.begin(), entries.end());
  // Before the files, so that a stop right here leaves files that nobody lists, and not a list of
  // files that are gone.
  RETURN_IF_ERROR(log_.manifest_->Append(entries));
  RETURN_IF_ERROR(log_.manifest_->Sync());
  for (const ManifestSegment& segment : dropped) RETURN_IF_ERROR(PutAway(segment));
  return absl::OkStatus();
}

absl::Status LogRecovery::PutAway(const ManifestSegment& segment) {
  const SegmentFileName name{segment.base, segment.generation};
  if (!files_.contains(name)) return absl::OkStatus();
  const fs::path path = PathOf(segment);
  ASSIGN_OR_RETURN(const File file, File::OpenForReading(path));
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  ASSIGN_OR_RETURN(const std::int64_t last, LastNonZero(file, 0, size));
  report_.bytes_cut += last;
  RETURN_IF_ERROR(
      RemoveFile(log_.place_->directory / IndexFileName(segment.base, segment.generation)));
  if (last == 0) return RemoveFile(path);
  ASSIGN_OR_RETURN(const fs::path saved, log_.data_dir_.Quarantine(FileName(name)));
  report_.notes.push_back(
      absl::StrFormat("%s followed a torn tail; moved to %s", FileName(name), saved.string()));
  return absl::OkStatus();
}

// A segment that was begun but holds nothing: its place is taken by the next append.
absl::Status LogRecovery::DropEmptyLast() {
  if (log_.segments_.empty() || log_.segments_.back()->length() > 0 || was_clean_) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(DropFrom(log_.segments_.back()->base()));
  log_.segments_.pop_back();
  return absl::OkStatus();
}

absl::Status LogRecovery::FinishEnds() {
  RETURN_IF_ERROR(DropEmptyLast());
  log_.log_end_ = log_.segments_.empty() ? std::max(expected_, log_.log_start_)
                                         : log_.segments_.back()->next_offset();
  if (IsBelowFrontier(log_.log_end_)) {
    Offline(log_.log_end_,
            absl::DataLossError(absl::StrFormat("%s: the log ends at offset %d, expected %d",
                                                log_.place_->directory.string(),
                                                log_.log_end_.value(), durable_->end.value())));
    return absl::OkStatus();
  }
  if (log_.log_end_ < log_.log_start_) {
    // Trimmed up to records that a power cut then took back.
    if (!log_.segments_.empty()) RETURN_IF_ERROR(DropFrom(log_.segments_.front()->base()));
    log_.segments_.clear();
    log_.log_end_ = log_.log_start_;
  }
  if (!was_clean_) RaiseEpoch();
  RETURN_IF_ERROR(MakeDurable());
  log_.synced_ = log_.End();
  return absl::OkStatus();
}

// The number of the start is durable, so no power cut can make two runs append under one epoch, not
// even to a log of which nothing was on disk yet.
void LogRecovery::RaiseEpoch() {
  const LeaderEpoch start(log_.data_dir_.frontier().start());
  const bool is_first = log_.manifest_ == nullptr;
  if (is_first && start == log_.leader_epoch()) return;
  const LeaderEpoch epoch = is_first ? start : std::max(start, log_.leader_epoch() + 1);
  log_.pending_epoch_ = EpochStart{.epoch = epoch, .first_offset = log_.log_end_};
  log_.place_->epochs.Raise(*log_.pending_epoch_);
  if (!is_first) report_.raised_to = epoch;
}

// What survived a kill may never have been synced; from here on it counts as durable. The segments
// and the manifest were synced before they were read.
absl::Status LogRecovery::MakeDurable() {
  const DurableEnd end = log_.End();
  if (was_clean_) return absl::OkStatus();
  if (!changed_ && durable_.has_value() && durable_->end == end.end &&
      durable_->segment_base == end.segment_base) {
    return absl::OkStatus();
  }
  if (NeedsSync()) {
    RETURN_IF_ERROR(SyncDirectory(log_.place_->directory));
    RETURN_IF_ERROR(SyncDirectory(log_.data_dir_.path()));
  }
  return log_.data_dir_.frontier().Note({&end, 1});
}

}  // namespace cairn::storage
