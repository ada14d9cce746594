#include "storage/manifest.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "storage/file_header.h"
#include "storage/manifest_entry.h"

namespace cairn::storage {
namespace {

constexpr FileKind kManifestFile = {.magic = "CairnMan", .version = 2, .noun = "a manifest"};

enum ManifestField : std::size_t {
  kTopicAt = kFileBodyAt,
  kPartitionAt = 32,
  kReservedAt = 36,
  kEntriesAt = 40,
};

// Far more than a partition's life needs: a million segments.
constexpr std::int64_t kFileBytesMax = std::int64_t{256} << 20;
// A file shorter than this is not worth writing anew, whatever is dead in it.
constexpr std::int64_t kRewriteBytesMin = std::int64_t{16} << 10;

Bytes EncodeHeader(const TopicPartition& partition) {
  Bytes file;
  BeginFile(kManifestFile, file);
  AppendId(file, partition.topic);
  AppendLe(file, partition.partition.value());
  AppendLe(file, std::uint32_t{0});
  FinishFile(file);
  return file;
}

// The fewest entries that give this state.
std::vector<ManifestEntry> EntriesOf(const ManifestState& state) {
  std::vector<ManifestEntry> entries;
  if (state.log_start > Offset(0)) entries.push_back(LogStartMoved{state.log_start});
  for (const EpochStart& start : state.epochs) {
    entries.push_back(LeaderEpochRaised{start.epoch, start.first_offset});
  }
  for (const ManifestSegment& segment : state.segments) {
    entries.push_back(SegmentOpened{segment.base, segment.first_append_time, segment.first_batch});
    if (!segment.sealed) continue;
    if (segment.generation == 0) {
      entries.push_back(SegmentSealed{segment.base, *segment.sealed});
    } else {
      entries.push_back(SegmentSwapped{segment.base, segment.generation, segment.clean_end,
                                       *segment.sealed, segment.first_batch});
    }
  }
  return entries;
}

bool IsZero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// What the entry is about to take out of the list.
void NoteDropped(const ManifestEntry& entry, Manifest::Contents& contents) {
  Offset begin;
  Offset end;
  if (const auto* dropped = std::get_if<SegmentDropped>(&entry)) {
    begin = dropped->base;
    end = begin + 1;
  } else if (const auto* swapped = std::get_if<SegmentSwapped>(&entry)) {
    begin = swapped->base;
    end = swapped->sealed.next_offset;
  }
  if (begin == end) return;
  for (const ManifestSegment& segment : contents.state.segments) {
    if (begin <= segment.base && segment.base < end) contents.dropped.push_back(segment);
  }
}

absl::Status ReadEntries(const std::string& name, ByteView file, Manifest::Contents& contents) {
  std::size_t at = kEntriesAt;
  while (at < file.size()) {
    absl::StatusOr<DecodedEntry> decoded = DecodeManifestEntry(file.subspan(at));
    if (!decoded.ok()) {
      const absl::Status found(
          decoded.status().code(),
          absl::StrFormat("%s at %d: %s", name, at, std::string(decoded.status().message())));
      // What was durable once is damaged. Of the rest a power cut may have kept any part.
      const std::int64_t vouched_end = FindVouchedEnd(file.subspan(at + 1));
      if (absl::IsUnimplemented(found) || vouched_end > static_cast<std::int64_t>(at)) {
        return absl::DataLossError(found.message());
      }
      break;
    }
    const auto* const synced = std::get_if<ManifestSynced>(&decoded->entry);
    if (synced != nullptr && synced->end > static_cast<std::int64_t>(at)) {
      return absl::DataLossError(
          absl::StrFormat("%s at %d: vouches for the bytes up to %d", name, at, synced->end));
    }
    NoteDropped(decoded->entry, contents);
    if (absl::Status status = ApplyManifestEntry(decoded->entry, contents.state); !status.ok()) {
      return absl::DataLossError(
          absl::StrFormat("%s at %d: %s", name, at, std::string(status.message())));
    }
    at += decoded->size;
  }
  contents.end = static_cast<std::int64_t>(at);
  contents.torn_tail.assign(file.begin() + contents.end, file.end());
  return absl::OkStatus();
}

absl::StatusOr<Manifest::Contents> Parse(const std::string& name, ByteView file) {
  if (file.size() < kEntriesAt || IsZero(file)) {
    return absl::NotFoundError(absl::StrFormat(
        "%s has %d bytes and no header: its creation was cut short", name, file.size()));
  }
  const ByteView header = file.first(kEntriesAt);
  RETURN_IF_ERROR(CheckFile(kManifestFile, name, header, kEntriesAt));
  if (LoadLe<std::uint32_t>(header, kReservedAt) != 0) {
    return absl::DataLossError(absl::StrFormat("%s at %d: not zero", name, int{kReservedAt}));
  }
  Manifest::Contents contents;
  contents.partition = {LoadId(header, kTopicAt),
                        PartitionIndex(LoadLe<std::int32_t>(header, kPartitionAt))};
  RETURN_IF_ERROR(ReadEntries(name, file, contents));
  return contents;
}

std::filesystem::path PathIn(const std::filesystem::path& partition_directory) {
  return partition_directory / kManifestFileName;
}

}  // namespace

absl::StatusOr<Manifest::Contents> Manifest::Read(
    const std::filesystem::path& partition_directory) {
  const std::filesystem::path path = PathIn(partition_directory);
  ASSIGN_OR_RETURN(const Bytes file, ReadFile(path, kFileBytesMax));
  return Parse(path.string(), file);
}

absl::StatusOr<Manifest::Contents> Manifest::Decode(const std::string& name, ByteView file) {
  return Parse(name, file);
}

ManifestState Manifest::Salvage(const std::filesystem::path& partition_directory) {
  const std::filesystem::path path = PathIn(partition_directory);
  const absl::StatusOr<Bytes> file = ReadFile(path, kFileBytesMax);
  Contents contents;
  if (file.ok() && file->size() >= kEntriesAt) {
    // It stops at the damage; what it took until then holds.
    (void)ReadEntries(path.string(), *file, contents);
  }
  return contents.state;
}

Bytes Manifest::Encode(const TopicPartition& partition, const ManifestState& state) {
  Bytes bytes = EncodeHeader(partition);
  for (const ManifestEntry& entry : EntriesOf(state)) EncodeManifestEntry(entry, bytes);
  return bytes;
}

absl::StatusOr<std::unique_ptr<Manifest>> Manifest::Create(
    const std::filesystem::path& partition_directory, const LogIdentity& identity) {
  const std::filesystem::path path = PathIn(partition_directory);
  const absl::Status present = Read(partition_directory).status();
  if (!present.ok() && !absl::IsNotFound(present) && !absl::IsDataLoss(present)) return present;
  if (!absl::IsNotFound(present)) {
    return absl::AlreadyExistsError(absl::StrFormat("create manifest %s: there is one%s",
                                                    path.string(),
                                                    present.ok() ? "" : ", and it cannot be read"));
  }
  std::unique_ptr<Manifest> manifest(new Manifest(path, {identity.topic, identity.partition}));
  const Bytes header = EncodeHeader(manifest->partition_);
  ASSIGN_OR_RETURN(File file, File::CreateOrEmpty(path));
  RETURN_IF_ERROR(file.WriteAll(0, header));
  manifest->file_ = std::make_shared<File>(std::move(file));
  manifest->end_ = static_cast<std::int64_t>(header.size());
  return manifest;
}

absl::StatusOr<std::unique_ptr<Manifest>> Manifest::Open(
    const std::filesystem::path& partition_directory, const LogIdentity& identity, bool was_clean) {
  ASSIGN_OR_RETURN(Contents contents, Read(partition_directory));
  const std::filesystem::path path = PathIn(partition_directory);
  const TopicPartition wanted{identity.topic, identity.partition};
  if (contents.partition != wanted) {
    return absl::FailedPreconditionError(absl::StrFormat("%s is of %s, and not of %s (%s)",
                                                         path.string(), ToText(contents.partition),
                                                         ToText(wanted), identity.name));
  }
  if (was_clean && !contents.torn_tail.empty()) {
    return absl::DataLossError(absl::StrFormat(
        "%s at %d: %d bytes that are no entry, though the broker had stopped cleanly",
        path.string(), contents.end, contents.torn_tail.size()));
  }
  std::unique_ptr<Manifest> manifest(new Manifest(path, wanted));
  manifest->state_ = std::move(contents.state);
  manifest->dropped_ = std::move(contents.dropped);
  manifest->torn_tail_ = std::move(contents.torn_tail);
  manifest->end_ = contents.end;
  manifest->synced_end_ = contents.end;
  return manifest;
}

absl::Status Manifest::SyncLeftovers() {
  RETURN_IF_ERROR(Reopen());
  if (absl::Status status = file_->Sync(); !status.ok()) {
    failure_ = MakeError(ErrorCode::kStorageFailed, std::string(status.message()));
    return failure_;
  }
  file_.reset();
  return absl::OkStatus();
}

absl::Status Manifest::Reopen() {
  if (file_) return absl::OkStatus();
  ASSIGN_OR_RETURN(File file, File::OpenForWriting(path_));
  file_ = std::make_shared<File>(std::move(file));
  return absl::OkStatus();
}

absl::Status Manifest::CutTornTail() {
  if (torn_tail_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(Reopen());
  RETURN_IF_ERROR(file_->Truncate(end_));
  torn_tail_.clear();
  return Sync();
}

absl::Status Manifest::Write(ByteView entries) {
  // So that what was taken into the page cache cannot fail for want of room later.
  RETURN_IF_ERROR(file_->ReserveBehindEnd(end_, static_cast<std::int64_t>(entries.size())));
  return file_->WriteAll(end_, entries);
}

absl::Status Manifest::Append(std::span<const ManifestEntry> entries) {
  RETURN_IF_ERROR(failure_);
  CAIRN_CHECK(torn_tail_.empty());
  Bytes bytes;
  // What comes now may be torn in any way; what stands before it may not.
  if (synced_end_ > vouched_end_) EncodeManifestEntry(ManifestSynced{synced_end_}, bytes);
  ManifestState state = state_;
  for (const ManifestEntry& entry : entries) {
    const absl::Status fits = ApplyManifestEntry(entry, state);
    CAIRN_CHECK(fits.ok());
    EncodeManifestEntry(entry, bytes);
  }
  RETURN_IF_ERROR(Reopen());
  const auto write = [&] { return Write(bytes); };
  const absl::Status status = reserve_ == nullptr ? write() : reserve_->Through(write);
  if (!status.ok()) {
    // No half entry may stay where the next one goes.
    const absl::Status undone = file_->Truncate(end_);
    if (!undone.ok() || CodeOf(status) != ErrorCode::kStorageFull) {
      failure_ = MakeError(ErrorCode::kStorageFailed, std::string(status.message()));
      return failure_;
    }
    if (end_ == synced_end_) file_.reset();
    return status;
  }
  end_ += static_cast<std::int64_t>(bytes.size());
  vouched_end_ = std::max(vouched_end_, synced_end_);
  state_ = std::move(state);
  return absl::OkStatus();
}

std::optional<Manifest::Pending> Manifest::TakeUnsynced() const {
  if (!file_) return std::nullopt;
  return Pending{file_, end_};
}

void Manifest::MarkSynced(const Pending& pending) {
  // Another file: it was written anew meanwhile, durably.
  if (pending.file != file_ || !file_) return;
  synced_end_ = std::max(synced_end_, pending.end);
  if (synced_end_ == end_) file_.reset();
}

absl::Status Manifest::Sync() {
  if (!file_) return absl::OkStatus();
  if (absl::Status status = file_->Sync(); !status.ok()) {
    failure_ = MakeError(ErrorCode::kStorageFailed, std::string(status.message()));
    return failure_;
  }
  MarkSynced({file_, end_});
  return absl::OkStatus();
}

absl::Status Manifest::RewriteIfLong() {
  RETURN_IF_ERROR(failure_);
  if (!WantsRewrite()) return absl::OkStatus();
  const absl::Status rewritten = Rewrite();
  // On a full disk the long file has to do.
  return CodeOf(rewritten) == ErrorCode::kStorageFull ? absl::OkStatus() : rewritten;
}

bool Manifest::WantsRewrite() const {
  if (end_ < kRewriteBytesMin) return false;
  Bytes live;
  for (const ManifestEntry& entry : EntriesOf(state_)) EncodeManifestEntry(entry, live);
  return end_ > 4 * static_cast<std::int64_t>(live.size());
}

absl::Status Manifest::Rewrite() {
  const Bytes bytes = Encode(partition_, state_);
  if (absl::Status status = ReplaceFile(path_, bytes); !status.ok()) {
    if (CodeOf(status) == ErrorCode::kStorageFull || absl::IsUnavailable(status)) return status;
    // Whether the old or the new file is there is not known; a descriptor may be to either.
    failure_ = MakeError(ErrorCode::kStorageFailed, std::string(status.message()));
    return failure_;
  }
  file_.reset();
  end_ = synced_end_ = static_cast<std::int64_t>(bytes.size());
  vouched_end_ = 0;
  return absl::OkStatus();
}

}  // namespace cairn::storage
