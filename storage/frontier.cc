#include "storage/frontier.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/checksum.h"
#include "protocol/status.h"
#include "storage/file_header.h"

namespace cairn::storage {
namespace {

constexpr FileKind kFrontierFile = {.magic = "CairnFrt", .version = 1, .noun = "a frontier"};
constexpr const char* kFileName = "frontier";

enum FrontierField : std::size_t {
  kClusterIdAt = kFileBodyAt,
  kEntriesAt = 32,
};
enum EntryField : std::size_t {
  kTopicAt = 0,
  kPartitionAt = 16,
  kCrcAt = 20,
  kEndAt = 24,
  kSegmentBaseAt = 32,
  kPositionAt = 40,
  kEntryBytes = 48,
};

// Partition numbers, with a topic id of zeros, of entries that are about the file itself.
enum Special : std::int32_t {
  kCleanStop = -1,
  kInUse = -2,       // `end` is the number of the start
  kSyncedUpTo = -3,  // `end` is a length of this file that is durable
};
// As `end`.
constexpr std::int64_t kForgotten = -1;
constexpr std::int64_t kUnknown = -2;
constexpr std::int64_t kNotClosed = -3;  // what was noted before holds

// A start's number becomes a leader epoch, which has 31 bits.
constexpr std::int64_t kStartsMax = std::numeric_limits<std::int32_t>::max();

constexpr std::int64_t kFileBytesMax = std::int64_t{4} << 30;
constexpr std::int64_t kRewriteBytesMin = (std::int64_t{64} << 10) * kEntryBytes;
constexpr std::int64_t kReserveBytes = std::int64_t{256} << 10;

std::uint32_t ChecksumOf(ByteView entry) {
  std::array<std::byte, kEntryBytes> copy;
  std::copy_n(entry.begin(), kEntryBytes, copy.begin());
  StoreLe(MutableBytes(copy), kCrcAt, std::uint32_t{0});
  return Crc32c(copy);
}

void AppendEntry(Bytes& out, const TopicPartition& partition, std::int64_t end,
                 std::int64_t segment_base = 0, std::int64_t position = 0) {
  const std::size_t begin = out.size();
  AppendId(out, partition.topic);
  AppendLe(out, partition.partition.value());
  AppendLe(out, std::uint32_t{0});
  AppendLe(out, end);
  AppendLe(out, segment_base);
  AppendLe(out, position);
  const MutableBytes entry = MutableBytes(out).subspan(begin);
  StoreLe(entry, kCrcAt, ChecksumOf(entry));
}

void AppendEntry(Bytes& out, const DurableEnd& end) {
  AppendEntry(out, end.partition, end.end.value(), end.segment_base.value(), end.position);
}

void AppendSpecial(Bytes& out, Special kind, std::int64_t end = 0) {
  AppendEntry(out, {TopicId{}, PartitionIndex(kind)}, end);
}

Bytes EncodeHeader(const TopicId& cluster_id) {
  Bytes file;
  BeginFile(kFrontierFile, file);
  AppendId(file, cluster_id);
  FinishFile(file);
  return file;
}

// After a lost frontier: what no start's number has reached yet. Two thousand frontiers may be
// lost.
constexpr std::int32_t kEpochLeap = 1 << 20;

}  // namespace

std::int32_t StartAfterLostFrontier(LeaderEpoch highest) {
  return std::min(highest.value(), INT32_MAX - 2 * kEpochLeap) + kEpochLeap;
}

// One slot of the file.
struct Frontier::Entry {
  explicit Entry(ByteView slot)
      : expected_crc(LoadLe<std::uint32_t>(slot, kCrcAt)),
        found_crc(ChecksumOf(slot)),
        end({{LoadId(slot, kTopicAt), PartitionIndex(LoadLe<std::int32_t>(slot, kPartitionAt))},
             Offset(LoadLe<std::int64_t>(slot, kEndAt)),
             Offset(LoadLe<std::int64_t>(slot, kSegmentBaseAt)),
             LoadLe<std::int64_t>(slot, kPositionAt)}) {}

  bool whole() const { return expected_crc == found_crc; }
  bool is(Special kind) const { return end.partition == TopicPartition{{}, PartitionIndex(kind)}; }
  bool is_special() const { return end.partition.partition < PartitionIndex(0); }
  bool possible() const {
    if (is(kInUse)) return end.end >= Offset(0) && end.end < Offset(kStartsMax);
    if (is_special()) return is(kCleanStop) || is(kSyncedUpTo);
    return end.end == Offset(kForgotten) || end.end == Offset(kUnknown) ||
           end.end == Offset(kNotClosed) ||
           (end.end >= end.segment_base && end.segment_base >= Offset(0) && end.position >= 0);
  }

  std::uint32_t expected_crc;
  std::uint32_t found_crc;
  DurableEnd end;
};

Bytes Frontier::Encode(const TopicId& cluster_id, std::int32_t start,
                       std::span<const TopicPartition> unknown, std::span<const DurableEnd> ends) {
  Bytes bytes = EncodeHeader(cluster_id);
  AppendSpecial(bytes, kInUse, start);
  for (const TopicPartition& partition : unknown) AppendEntry(bytes, partition, kUnknown);
  for (const DurableEnd& end : ends) AppendEntry(bytes, end);
  return bytes;
}

std::optional<TopicId> Frontier::ClusterIdOf(const std::filesystem::path& data_dir) {
  const std::filesystem::path path = data_dir / kFileName;
  Bytes header(kEntriesAt);
  const absl::StatusOr<File> file = File::OpenForReading(path);
  if (!file.ok() || !file->ReadAll(0, header).ok() ||
      !CheckFile(kFrontierFile, path.string(), header, kEntriesAt).ok()) {
    return std::nullopt;
  }
  return LoadId(header, kClusterIdAt);
}

std::unique_ptr<Frontier> Frontier::Empty() { return std::unique_ptr<Frontier>(new Frontier()); }

absl::StatusOr<std::unique_ptr<Frontier>> Frontier::Open(const std::filesystem::path& data_dir,
                                                         const TopicId& cluster_id,
                                                         const FrontierBeginning& if_new) {
  const std::filesystem::path path = data_dir / kFileName;
  absl::StatusOr<std::unique_ptr<Frontier>> loaded = Load(path, cluster_id, Access::kWrite);
  if (absl::IsNotFound(loaded.status())) return Create(path, cluster_id, if_new);
  RETURN_IF_ERROR(loaded.status());
  RETURN_IF_ERROR((*loaded)->Begin());
  return loaded;
}

// At once with all that it begins with: a crash right after leaves no file that knows less.
absl::StatusOr<std::unique_ptr<Frontier>> Frontier::Create(const std::filesystem::path& path,
                                                           const TopicId& cluster_id,
                                                           const FrontierBeginning& beginning) {
  std::unique_ptr<Frontier> frontier(new Frontier());
  frontier->path_ = path;
  frontier->cluster_id_ = cluster_id;
  frontier->start_ = beginning.start;
  frontier->unknown_.insert(beginning.unknown.begin(), beginning.unknown.end());
  const std::lock_guard lock(frontier->mutex_);
  RETURN_IF_ERROR(frontier->RewriteLocked());
  return frontier;
}

absl::StatusOr<std::unique_ptr<Frontier>> Frontier::OpenForReading(
    const std::filesystem::path& data_dir, const TopicId& cluster_id) {
  return Load(data_dir / kFileName, cluster_id, Access::kRead);
}

absl::StatusOr<std::unique_ptr<Frontier>> Frontier::Load(const std::filesystem::path& path,
                                                         const TopicId& cluster_id, Access access) {
  ASSIGN_OR_RETURN(const Bytes file, ReadFile(path, kFileBytesMax));
  std::unique_ptr<Frontier> frontier(new Frontier());
  frontier->path_ = path;
  frontier->cluster_id_ = cluster_id;
  RETURN_IF_ERROR(frontier->Parse(file));
  if (access == Access::kWrite) {
    ASSIGN_OR_RETURN(frontier->file_, File::OpenForWriting(path));
  }
  return frontier;
}

// The last entry of a partition holds. Entries that never became durable may be missing, in any
// pattern: pages are written back in any order. What was durable may not.
absl::Status Frontier::Parse(ByteView file) {
  const std::string name = path_.string();
  RETURN_IF_ERROR(CheckFile(
      kFrontierFile, name, file.first(std::min<std::size_t>(file.size(), kEntriesAt)), kEntriesAt));
  if (const TopicId found = LoadId(file, kClusterIdAt); found != cluster_id_) {
    return absl::DataLossError(absl::StrFormat("%s belongs to data directory %s, and not to %s",
                                               name, ToString(found), ToString(cluster_id_)));
  }
  std::optional<std::size_t> first_gap;
  absl::Status gap;
  std::int32_t next_start = 0;
  end_ = kEntriesAt;
  for (std::size_t at = kEntriesAt; at + kEntryBytes <= file.size(); at += kEntryBytes) {
    const Entry entry(file.subspan(at, kEntryBytes));
    if (!entry.whole()) {
      if (first_gap) continue;
      first_gap = at;
      gap = absl::DataLossError(
          absl::StrFormat("%s at %d: checksum 0x%08x, but the entry hashes to 0x%08x", name, at,
                          entry.expected_crc, entry.found_crc));
      continue;
    }
    if (!entry.possible()) {
      return absl::DataLossError(
          absl::StrFormat("%s at %d: an entry with impossible fields", name, at));
    }
    has_hole_ = first_gap.has_value();
    end_ = static_cast<std::int64_t>(at + kEntryBytes);
    was_clean_ = entry.is(kCleanStop);
    if (entry.is(kSyncedUpTo)) noted_synced_ = std::max(noted_synced_, entry.end.end.value());
    if (entry.is(kInUse)) {
      next_start = static_cast<std::int32_t>(entry.end.end.value()) + 1;
      not_closed_.clear();
    }
    if (entry.is_special()) continue;
    if (entry.end.end == Offset(kNotClosed)) {
      not_closed_.insert(entry.end.partition);
      continue;
    }
    ends_.erase(entry.end.partition);
    unknown_.erase(entry.end.partition);
    if (entry.end.end == Offset(kUnknown)) {
      unknown_.insert(entry.end.partition);
    } else if (entry.end.end != Offset(kForgotten)) {
      ends_[entry.end.partition] = entry.end;
    }
  }
  if (first_gap && end_ == kEntriesAt) return gap;
  if (end_ == kEntriesAt) {
    // Every one begins with the note of a start, and is made with it.
    return absl::DataLossError(absl::StrFormat(
        "%s at %d: expected an entry for each start, found the end of the file", name, end_));
  }
  // Everything before a clean stop was durable, and nothing follows one.
  const bool lost = first_gap && (static_cast<std::int64_t>(*first_gap) < noted_synced_ ||
                                  (was_clean_ && has_hole_));
  if (lost) return gap;
  start_ = next_start;
  // Half a note that the directory is in use: nothing was written since, but who knows.
  if (end_ != static_cast<std::int64_t>(file.size())) was_clean_ = false;
  return absl::OkStatus();
}

// Cuts what was not finished, and makes it visible that the directory is in use, before anything is
// written that an unclean stop could take back.
absl::Status Frontier::Begin() {
  const std::lock_guard lock(mutex_);
  rewrite_at_ = kRewriteBytesMin;
  if (has_hole_) return RewriteLocked();
  RETURN_IF_ERROR(file_.Truncate(end_));
  Bytes note;
  AppendSpecial(note, kInUse, start_);
  RETURN_IF_ERROR(WriteLocked(note));
  return SyncLocked();
}

std::optional<DurableEnd> Frontier::Find(const TopicPartition& partition) const {
  const std::lock_guard lock(mutex_);
  const auto found = ends_.find(partition);
  if (found == ends_.end()) return std::nullopt;
  return found->second;
}

bool Frontier::Knows(const TopicPartition& partition) const {
  const std::lock_guard lock(mutex_);
  return !unknown_.contains(partition);
}

std::vector<DurableEnd> Frontier::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<DurableEnd> all;
  all.reserve(ends_.size());
  for (const auto& [partition, end] : ends_) all.push_back(end);
  return all;
}

std::vector<TopicPartition> Frontier::Unknown() const {
  const std::lock_guard lock(mutex_);
  return {unknown_.begin(), unknown_.end()};
}

absl::Status Frontier::Note(std::span<const DurableEnd> ends) {
  const std::lock_guard lock(mutex_);
  Bytes& entries = noting_;
  entries.clear();
  const std::int64_t synced = synced_end_;
  if (synced > noted_synced_) AppendSpecial(entries, kSyncedUpTo, synced);
  for (const DurableEnd& end : ends) {
    CAIRN_CHECK(end.partition.partition >= PartitionIndex(0) && end.end >= end.segment_base &&
                end.segment_base >= Offset(0) && end.position >= 0);
    if (!forgotten_.contains(end.partition)) AppendEntry(entries, end);
  }
  RETURN_IF_ERROR(WriteLocked(entries));
  noted_synced_ = std::max(noted_synced_, synced);
  for (const DurableEnd& end : ends) {
    if (forgotten_.contains(end.partition)) continue;
    ends_[end.partition] = end;
    unknown_.erase(end.partition);
  }
  if (WantsRewrite()) {
    // The long file is as good, so a failure (a full disk) is no reason to refuse anything.
    const absl::Status rewritten = RewriteLocked();
    if (!rewritten.ok()) rewrite_at_ = 2 * end_;
  }
  return failure_;
}

absl::Status Frontier::Forget(const TopicPartition& partition) {
  const std::lock_guard lock(mutex_);
  forgotten_.insert(partition);
  if (!ends_.contains(partition) && !unknown_.contains(partition)) return absl::OkStatus();
  Bytes entry;
  AppendEntry(entry, partition, kForgotten);
  RETURN_IF_ERROR(WriteLocked(entry));
  ends_.erase(partition);
  unknown_.erase(partition);
  return absl::OkStatus();
}

absl::Status Frontier::Sync() {
  const std::lock_guard lock(mutex_);
  return SyncLocked();
}

absl::Status Frontier::CloseClean(std::span<const TopicPartition> not_closed) {
  const std::lock_guard lock(mutex_);
  // First what it follows, so that a clean stop is never seen without it.
  Bytes entries;
  for (const TopicPartition& partition : not_closed) AppendEntry(entries, partition, kNotClosed);
  RETURN_IF_ERROR(WriteLocked(entries));
  RETURN_IF_ERROR(SyncLocked());
  entries.clear();
  AppendSpecial(entries, kSyncedUpTo, synced_end_);
  AppendSpecial(entries, kCleanStop);
  RETURN_IF_ERROR(WriteLocked(entries));
  return SyncLocked();
}

absl::Status Frontier::WriteLocked(ByteView entries) {
  CAIRN_CHECK(file_.is_open());
  RETURN_IF_ERROR(failure_);
  const std::int64_t new_end = end_ + static_cast<std::int64_t>(entries.size());
  if (new_end > reserved_end_) {
    // In large steps where there is room.
    const std::int64_t length = std::max(kReserveBytes, new_end - end_);
    if (file_.ReserveBehindEnd(end_, length).ok()) reserved_end_ = end_ + length;
  }
  const auto write = [&] { return WriteWhereReserved(entries); };
  const absl::Status status = reserve_ == nullptr ? write() : reserve_->Through(write);
  if (!status.ok()) {
    RETURN_IF_ERROR(file_.Truncate(end_));
    reserved_end_ = end_;
    return status;
  }
  end_ = new_end;
  return absl::OkStatus();
}

// So that a full disk is met before the write, and never when the kernel writes back.
absl::Status Frontier::WriteWhereReserved(ByteView entries) {
  const auto length = static_cast<std::int64_t>(entries.size());
  if (end_ + length > reserved_end_) RETURN_IF_ERROR(file_.ReserveBehindEnd(end_, length));
  return file_.WriteAll(end_, entries);
}

absl::Status Frontier::SyncLocked() {
  RETURN_IF_ERROR(failure_);
  if (synced_end_ == end_) return absl::OkStatus();
  failure_ = file_.Sync();
  RETURN_IF_ERROR(failure_);
  synced_end_ = end_;
  return absl::OkStatus();
}

bool Frontier::WantsRewrite() const {
  const auto live = static_cast<std::int64_t>((ends_.size() + unknown_.size()) * kEntryBytes);
  return end_ > rewrite_at_ && end_ > 4 * live;
}

absl::Status Frontier::RewriteLocked() {
  const std::vector<TopicPartition> unknown(unknown_.begin(), unknown_.end());
  std::vector<DurableEnd> ends;
  ends.reserve(ends_.size());
  for (const auto& [partition, end] : ends_) ends.push_back(end);
  const Bytes bytes = Encode(cluster_id_, start_, unknown, ends);
  std::filesystem::path temporary = path_;
  temporary += ".new";
  ASSIGN_OR_RETURN(const File directory, File::OpenDirectory(path_.parent_path()));
  ASSIGN_OR_RETURN(File file, File::CreateOrEmpty(temporary));
  RETURN_IF_ERROR(file.WriteAll(0, bytes));
  RETURN_IF_ERROR(file.Sync());
  RETURN_IF_ERROR(file.RenameTo(path_));
  file_ = std::move(file);
  // After a power cut the old file might be back, without what is noted from now on.
  failure_ = directory.Sync();
  RETURN_IF_ERROR(failure_);
  end_ = synced_end_ = static_cast<std::int64_t>(bytes.size());
  noted_synced_ = reserved_end_ = 0;
  rewrite_at_ = kRewriteBytesMin;
  has_hole_ = false;
  return absl::OkStatus();
}

}  // namespace cairn::storage
