#include "storage/partition_repair.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/damaged_segments.h"
#include "storage/file.h"
#include "storage/fingerprint.h"
#include "storage/index.h"
#include "storage/index_witness.h"
#include "storage/list_reach.h"
#include "storage/log.h"
#include "storage/partition_meta.h"
#include "storage/producer_table.h"
#include "storage/segment_name.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSnapshotBytesMax = 256 << 20;

std::int64_t SizeOf(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<std::int64_t>(size);
}

}  // namespace

PartitionRepair::PartitionRepair(const fs::path& data_dir, LogIdentity identity,
                                 const KnownOutside& known, Findings& findings, RepairPlan& plan)
    : identity_(std::move(identity)),
      directory_name_(PartitionDirectory(identity_)),
      directory_(data_dir / directory_name_),
      known_(known),
      findings_(findings),
      plan_(plan) {}

absl::Status PartitionRepair::Run() {
  const TopicPartition id{identity_.topic, identity_.partition};
  if (known_.frontier != nullptr) durable_ = known_.frontier->Find(id);
  known_.was_clean = known_.Of(id).was_clean;
  end_ = {.partition = id, .end = Offset(0), .segment_base = Offset(0), .position = 0};
  ASSIGN_OR_RETURN(Manifest::Contents contents, TakeManifest());
  before_ = state_ = contents.state;
  if (!state_.epochs.empty()) last_epoch_ = state_.epochs.back().epoch;
  if (manifest_why_.empty() && state_ == ManifestState{} && !durable_.has_value()) {
    return absl::OkStatus();  // it was being created, and nothing was ever in it
  }
  MendMeta();
  PartitionVerifier verifier(directory_, known_, findings_);
  RETURN_IF_ERROR(verifier.RunOn(std::move(contents)));
  frontier_is_short_ = verifier.frontier_is_short();
  next_producer_ = verifier.next_producer();
  return Mend(verifier);
}

// The manifest if it can be believed, else what the segments themselves tell.
absl::StatusOr<Manifest::Contents> PartitionRepair::TakeManifest() {
  const TopicPartition id{identity_.topic, identity_.partition};
  absl::StatusOr<Manifest::Contents> contents = Manifest::Read(directory_);
  if (absl::IsNotFound(contents.status())) {
    ASSIGN_OR_RETURN(const auto files, LogFiles(directory_));
    const bool had_records = durable_.has_value() && durable_->end > Offset(0);
    if (!had_records && files.empty()) {
      Manifest::Contents nothing;
      nothing.partition = id;
      return nothing;
    }
    manifest_why_ = "missing; made anew from the segments";
    return RebuildManifest();
  }
  if (absl::IsDataLoss(contents.status())) {
    manifest_why_ = absl::StrFormat("damaged (%s); made anew from the segments",
                                    std::string(contents.status().message()));
    return RebuildManifest();
  }
  RETURN_IF_ERROR(contents.status());
  if (contents->partition != id) {
    manifest_why_ = "of another partition; made anew from the segments";
    return RebuildManifest();
  }
  if (!contents->torn_tail.empty() && (known_.was_clean || !known_.has_frontier)) {
    manifest_why_ = absl::StrFormat("%d bytes at its end are no entry; made anew from the segments",
                                    contents->torn_tail.size());
    return RebuildManifest();
  }
  if (durable_.has_value() && known_.has_frontier) {
    const absl::Status reaches = CheckListReaches(contents->state, *durable_);
    if (!reaches.ok()) {
      manifest_why_ =
          absl::StrFormat("%s; made anew from the segments", std::string(reaches.message()));
      return RebuildManifest();
    }
  }
  return contents;
}

// From the files' names and the batches' headers; log start and append times from what is left of
// the old one.
absl::StatusOr<Manifest::Contents> PartitionRepair::RebuildManifest() {
  Manifest::Contents contents;
  contents.partition = {identity_.topic, identity_.partition};
  ASSIGN_OR_RETURN(const auto files, LogFiles(directory_));
  const absl::StatusOr<Manifest::Contents> old = Manifest::Read(directory_);
  const bool is_ours = !old.ok() || old->partition == contents.partition;
  const ManifestState salvaged = is_ours ? Manifest::Salvage(directory_) : ManifestState{};
  std::vector<SegmentFileName> names;
  for (const auto& [name, path] : files) {
    // Of a base the newest generation holds what the others do.
    if (!names.empty() && names.back().base == name.base) names.pop_back();
    names.push_back(name);
  }
  ManifestState& state = contents.state;
  Offset next;
  for (std::size_t i = 0; i < names.size(); ++i) {
    // Reached over by a cleaned segment: of a swap that was interrupted.
    if (!state.segments.empty() && names[i].base < next && state.segments.back().generation > 0) {
      continue;
    }
    const auto rest = std::span(names).subspan(i);
    ASSIGN_OR_RETURN(const bool is_contradicted, IsContradicted(names[i], salvaged));
    if (is_contradicted) {
      MoveAway(rest,
               "what is left of the manifest, or its index, speaks against it, or it follows such "
               "a one");
      break;
    }
    ASSIGN_OR_RETURN(ManifestSegment segment, ReadSegment(names[i], rest.size() == 1, state));
    if (segment.generation > 0 && !segment.sealed.has_value()) {
      MoveAway(rest, "without a manifest nothing in it can be believed, or it follows such a one");
      break;
    }
    if (segment.sealed.has_value()) next = segment.sealed->next_offset;
    state.segments.push_back(std::move(segment));
  }
  state.log_start = salvaged.log_start;
  if (!state.segments.empty() && state.segments.front().base > state.log_start) {
    state.log_start = state.segments.front().base;
  }
  if (state.log_start == Offset(0) && state.segments.empty() && durable_.has_value()) {
    state.log_start = durable_->end;
  }
  plan_.remarks.push_back(
      absl::StrFormat("%s: records that were trimmed within its first segment may be there again",
                      directory_name_));
  return contents;
}

// What is left of the old manifest knows it by another first batch, or its index is of a file of
// another length that this one cannot have come from: it may be another partition's.
absl::StatusOr<bool> PartitionRepair::IsContradicted(const SegmentFileName& name,
                                                     const ManifestState& salvaged) const {
  ASSIGN_OR_RETURN(const File file,
                   File::OpenForReading(directory_ / LogFileName(name.base, name.generation)));
  for (const ManifestSegment& known : salvaged.segments) {
    if (name != SegmentFileName{known.base, known.generation}) continue;
    const absl::Status is_right = known.first_batch.CheckIn(file);
    if (!is_right.ok()) return absl::IsDataLoss(is_right) ? absl::StatusOr<bool>(true) : is_right;
  }
  const fs::path index_path = directory_ / IndexFileName(name.base, name.generation);
  const std::optional<std::int64_t> length = Index::LogLengthIn(index_path, name.base);
  if (!length.has_value()) return false;
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  if (size == *length) return false;
  ASSIGN_OR_RETURN(const Index index, Index::Load(index_path, name.base, *length));
  ASSIGN_OR_RETURN(const bool is_right,
                   IndexVouchesFor(file, index_path, name.base, {*length, index.next_offset()},
                                   name.generation > 0));
  return !is_right;
}

// The epochs of its batches are noted in `state`; all but the last segment are sealed.
absl::StatusOr<ManifestSegment> PartitionRepair::ReadSegment(const SegmentFileName& name,
                                                             bool is_last,
                                                             ManifestState& state) const {
  ASSIGN_OR_RETURN(const File file,
                   File::OpenForReading(directory_ / LogFileName(name.base, name.generation)));
  ASSIGN_OR_RETURN(const std::int64_t size, file.Size());
  ASSIGN_OR_RETURN(const Timestamp modified, file.ModifiedAt());
  ManifestSegment segment{.base = name.base,
                          .first_append_time = modified,
                          .sealed = std::nullopt,
                          .generation = name.generation,
                          // How far it was cleaned is not known: it will be once more.
                          .clean_end = name.generation > 0 ? name.base : Offset(0)};
  ASSIGN_OR_RETURN(segment.first_batch, BatchMark::In(file));
  BatchScan scan(file, {.end = size,
                        .next_offset = name.base,
                        .depth = BatchScan::Depth::kHeaders,
                        .zeros_end = true,
                        .cleaned = name.generation > 0});
  while (scan.Next()) {
    const LeaderEpoch epoch = scan.batch().leader_epoch();
    const LeaderEpoch last = state.epochs.empty() ? LeaderEpoch(0) : state.epochs.back().epoch;
    if (epoch > last) state.epochs.push_back({epoch, scan.batch().base_offset()});
  }
  if (scan.position() == 0 || (is_last && name.generation == 0)) return segment;
  ASSIGN_OR_RETURN(const SealedSegment extent, Extent(segment, scan.position()));
  if (extent.length > 0) segment.sealed = extent;
  return segment;
}

// What a manifest says of a segment whose batches are right up to `end`.
absl::StatusOr<SealedSegment> PartitionRepair::Extent(const ManifestSegment& segment,
                                                      std::int64_t end) const {
  ASSIGN_OR_RETURN(
      const File file,
      File::OpenForReading(directory_ / LogFileName(segment.base, segment.generation)));
  ASSIGN_OR_RETURN(const Timestamp modified, file.ModifiedAt());
  SealedSegment sealed{.next_offset = segment.base,
                       .length = end,
                       .first_append_time = segment.first_append_time,
                       .last_append_time = std::max(modified, segment.first_append_time),
                       .max_timestamp = kNoTimestamp,
                       .fingerprint = 0};
  if (segment.sealed.has_value()) sealed.last_append_time = segment.sealed->last_append_time;
  Index index(segment.base);
  Fingerprint fingerprint;
  BatchScan scan(file,
                 {.end = end, .next_offset = segment.base, .cleaned = segment.generation > 0});
  while (scan.Next()) {
    fingerprint.Add(scan.batch().bytes());
    index.Note(scan.batch().base_offset(), scan.batch().next_offset(),
               static_cast<std::int64_t>(scan.batch().size()), scan.batch().max_timestamp());
  }
  if (!scan.status().ok() && !absl::IsDataLoss(scan.status())) return scan.status();
  sealed.length = scan.position();
  sealed.next_offset = scan.next_offset();
  sealed.max_timestamp = index.max_timestamp();
  sealed.fingerprint = fingerprint.value();
  return sealed;
}

void PartitionRepair::MendMeta() {
  const absl::StatusOr<LogIdentity> meta = ReadPartitionMeta(directory_);
  if (meta.ok() && meta->topic == identity_.topic && meta->name == identity_.name &&
      meta->partition == identity_.partition) {
    return;
  }
  Bytes contents = EncodePartitionMeta(identity_);
  const auto bytes = static_cast<std::int64_t>(contents.size());
  AddStep({.kind = RepairStep::Kind::kWrite,
           .entry = Entry(kPartitionMetaName),
           .bytes = bytes,
           .contents = std::move(contents),
           .why = meta.ok() ? "of another partition" : std::string(meta.status().message())});
}

Offset PartitionRepair::KnownEnd() const {
  Offset end = durable_.has_value() ? durable_->end : Offset(0);
  for (const ManifestSegment& segment : before_.segments) {
    end = std::max(end, segment.sealed.has_value() ? segment.sealed->next_offset : segment.base);
  }
  return end;
}

void PartitionRepair::Lose(Offset from, Offset end) {
  if (from >= end) return;
  lost_records_ = true;
  plan_.lost.push_back({directory_name_, from, end});
}

absl::Status PartitionRepair::Mend(const PartitionVerifier& verifier) {
  if (!state_.segments.empty() && state_.segments.front().base > state_.log_start) {
    Lose(state_.log_start, state_.segments.front().base);
    state_.log_start = state_.segments.front().base;
    manifest_why_ = "its log begins before its first segment";
  }
  for (const PartitionVerifier::Excess& excess : verifier.excesses()) {
    if (verifier.first_break() && excess.segment >= verifier.first_break()->segment) continue;
    const ManifestSegment& segment = state_.segments[excess.segment];
    const std::string file = LogFileName(segment.base, segment.generation);
    AddStep({.kind = RepairStep::Kind::kCut,
             .entry = Entry(file),
             .position = excess.position,
             .bytes = SizeOf(directory_ / file) - excess.position,
             .why = "bytes behind the end of a sealed segment"});
  }
  MoveAway(verifier.strangers(), "a segment's file that the manifest does not list");
  end_.end = std::max(verifier.end_offset(), state_.log_start);
  if (state_.segments.empty()) {
    end_.segment_base = end_.end;
  } else {
    end_.segment_base = state_.segments.back().base;
    end_.position = verifier.end_position();
  }
  if (verifier.first_break().has_value()) RETURN_IF_ERROR(CutAt(*verifier.first_break()));
  MoveStaleAway();
  if (state_ != before_ && manifest_why_.empty()) manifest_why_ = "its list ends earlier now";
  if (!manifest_why_.empty()) RETURN_IF_ERROR(WriteManifest());
  const bool is_same = durable_.has_value() && durable_->end == end_.end &&
                       durable_->segment_base == end_.segment_base &&
                       durable_->position == end_.position;
  const bool must_hold = known_.was_clean || verifier.first_break().has_value();
  if (must_hold && !is_same && !(durable_ == std::nullopt && end_.end == Offset(0))) {
    new_end_ = end_;
  }
  ForgetDamaged();
  return absl::OkStatus();
}

absl::Status PartitionRepair::WriteManifest() {
  const TopicPartition id{identity_.topic, identity_.partition};
  Bytes contents = Manifest::Encode(id, state_);
  // What the next start refuses would be no repair.
  const absl::StatusOr<Manifest::Contents> back =
      Manifest::Decode(Entry(kManifestFileName), contents);
  if (!back.ok() || back->state != state_) {
    return absl::InternalError(absl::StrFormat("%s: no manifest can say what is left of it%s%s",
                                               directory_name_, back.ok() ? "" : ": ",
                                               std::string(back.status().message())));
  }
  const auto bytes = static_cast<std::int64_t>(contents.size());
  AddStep({.kind = RepairStep::Kind::kWrite,
           .entry = Entry(kManifestFileName),
           .bytes = bytes,
           .contents = std::move(contents),
           .why = manifest_why_});
  return absl::OkStatus();
}

// Nothing from there on can be served without a hole in the offsets, so all of it goes.
absl::Status PartitionRepair::CutAt(PartitionVerifier::Break at) {
  const Offset known_end = KnownEnd();
  // Nothing that is kept would stand before it.
  if (at.offset <= state_.log_start) at.segment = at.position = 0;
  for (std::size_t i = state_.segments.size(); i-- > at.segment;) {
    if (i == at.segment && at.position > 0) break;
    const ManifestSegment& segment = state_.segments[i];
    MoveAway({segment.base, segment.generation},
             i == at.segment ? at.reason : "it follows what is lost");
    state_.segments.pop_back();
  }
  if (at.segment < state_.segments.size()) {
    ManifestSegment& last = state_.segments.back();
    const std::string file = LogFileName(last.base, last.generation);
    const std::int64_t size = SizeOf(directory_ / file);
    if (size > at.position) {
      AddStep({.kind = RepairStep::Kind::kCut,
               .entry = Entry(file),
               .position = at.position,
               .bytes = size - at.position,
               .why = at.reason});
    }
    if (last.generation > 0) {
      ASSIGN_OR_RETURN(last.sealed, Extent(last, at.position));
      last.clean_end = std::min(last.clean_end, last.sealed->next_offset);
    } else {
      last.sealed.reset();
    }
  }
  end_.end = std::max(at.offset, state_.log_start);
  end_.segment_base = end_.end;
  end_.position = 0;
  if (state_.segments.empty()) {
    state_.log_start = end_.end;
  } else {
    const ManifestSegment& last = state_.segments.back();
    const bool is_cut = at.segment < state_.segments.size();
    end_.segment_base = last.base;
    ASSIGN_OR_RETURN(
        const SealedSegment extent,
        Extent(last, is_cut ? at.position
                            : SizeOf(directory_ / LogFileName(last.base, last.generation))));
    end_.position = extent.length;
  }
  // Later epochs begin past the end: whoever saw their records is told that they are gone.
  std::erase_if(state_.epochs,
                [&](const EpochStart& start) { return start.first_offset > end_.end; });
  Lose(end_.end, known_end);
  return absl::OkStatus();
}

// Derived files that tell of records beyond the end.
void PartitionRepair::MoveStaleAway() {
  const auto move = [&](const std::string& file) {
    AddStep({.kind = RepairStep::Kind::kMove,
             .entry = Entry(file),
             .bytes = SizeOf(directory_ / file),
             .why = "it tells of records beyond the log's end"});
  };
  const absl::StatusOr<Bytes> bytes =
      ReadFile(directory_ / kProducerSnapshotName, kSnapshotBytesMax);
  if (bytes.ok()) {
    const auto snapshot =
        ProducerTable::FromSnapshot(*bytes, {identity_.topic, identity_.partition});
    if (snapshot.ok() && snapshot->second.end > end_.end) move(kProducerSnapshotName);
  }
  if (state_.segments.empty()) return;
  const ManifestSegment& last = state_.segments.back();
  const std::string index = IndexFileName(last.base, last.generation);
  std::error_code error;
  const bool is_cut = last != before_.segments[state_.segments.size() - 1];
  if (is_cut && fs::exists(directory_ / index, error)) move(index);
}

// All of it was read, and what is damaged is mended by the steps before this one.
void PartitionRepair::ForgetDamaged() {
  std::error_code error;
  if (!fs::exists(directory_ / kDamagedSegmentsName, error)) return;
  AddStep({.kind = RepairStep::Kind::kMove,
           .entry = Entry(kDamagedSegmentsName),
           .bytes = SizeOf(directory_ / kDamagedSegmentsName),
           .why = "it tells of damage that is mended then"});
}

bool PartitionRepair::IsMovedAway(const std::string& file) const {
  return std::any_of(plan_.steps.begin(), plan_.steps.end(), [&](const RepairStep& step) {
    return step.kind == RepairStep::Kind::kMove && step.entry == Entry(file);
  });
}

void PartitionRepair::MoveAway(std::span<const SegmentFileName> names, const std::string& why) {
  for (const SegmentFileName& name : names) MoveAway(name, why);
}

void PartitionRepair::MoveAway(const SegmentFileName& name, const std::string& why) {
  for (const std::string& file :
       {LogFileName(name.base, name.generation), IndexFileName(name.base, name.generation)}) {
    std::error_code error;
    if (!fs::exists(directory_ / file, error) || IsMovedAway(file)) continue;
    AddStep({.kind = RepairStep::Kind::kMove,
             .entry = Entry(file),
             .bytes = SizeOf(directory_ / file),
             .why = why});
  }
}

}  // namespace cairn::storage
