#include "storage/index.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/status.h"
#include "storage/file.h"
#include "storage/file_header.h"

namespace cairn::storage {
namespace {

constexpr FileKind kIndexFile = {.magic = "CairnIdx", .version = 1, .noun = "an index"};

enum IndexField : std::size_t {
  kBaseAt = kFileBodyAt,
  kNextOffsetAt = 24,
  kLogLengthAt = 32,
  kMaxTimestampAt = 40,
  kEntryCountAt = 48,
  kReservedAt = 52,
  kEntriesAt = 56,
};
enum EntryField : std::size_t {
  kOffsetDeltaAt = 0,
  kPositionAt = 4,
  kMaxTimestampBeforeAt = 8,
  kEntryBytes = 16,
};
static_assert(kEntriesAt == kReservedAt + 4 && kEntryBytes == kMaxTimestampBeforeAt + 8);

// An entry for each batch of the smallest size in the largest segment, at the smallest interval.
constexpr std::int64_t kFileBytesMax = std::int64_t{1} << 30;

absl::Status Damaged(const std::string& why) {
  return absl::DataLossError(absl::StrFormat("not an index: %s", why));
}

// What Note would have made: every field rising, the first entry at the beginning.
absl::Status CheckEntries(const std::vector<Index::Entry>& entries, Offset base, Offset next_offset,
                          std::int64_t log_length, std::int64_t max_timestamp) {
  if (entries.empty()) {
    if (log_length == 0 && next_offset == base) return absl::OkStatus();
    return Damaged("it is empty, and the segment is not");
  }
  if (entries[0] != Index::Entry{0, 0, Index::kNothingBefore}) {
    return Damaged("entry 0 is not the segment's beginning");
  }
  for (std::size_t i = 1; i < entries.size(); ++i) {
    const Index::Entry& before = entries[i - 1];
    const Index::Entry& entry = entries[i];
    if (entry.offset_delta <= before.offset_delta || entry.position <= before.position ||
        entry.max_timestamp_before < before.max_timestamp_before) {
      return Damaged(absl::StrFormat("entry %d does not follow entry %d", i, i - 1));
    }
  }
  const Index::Entry& last = entries.back();
  if (std::int64_t{last.position} >= log_length ||
      std::int64_t{last.offset_delta} >= next_offset - base ||
      last.max_timestamp_before > max_timestamp) {
    return Damaged("its last entry lies beyond the segment's end");
  }
  return absl::OkStatus();
}

}  // namespace

Index::Index(Offset base, std::int64_t interval_bytes)
    : base_(base), interval_bytes_(interval_bytes), next_offset_(base) {}

void Index::Note(Offset base_offset, Offset next_offset, std::int64_t size,
                 Timestamp max_timestamp) {
  CAIRN_CHECK(base_offset >= next_offset_ && next_offset > base_offset && size > 0);
  if (entries_.empty() || log_length_ - entries_.back().position >= interval_bytes_) {
    // The first entry stands for the segment's beginning even if compaction took the first offsets.
    const std::int64_t delta = entries_.empty() ? 0 : base_offset - base_;
    CAIRN_CHECK(delta <= std::numeric_limits<std::uint32_t>::max() &&
                log_length_ <= std::numeric_limits<std::uint32_t>::max());
    entries_.push_back({static_cast<std::uint32_t>(delta), static_cast<std::uint32_t>(log_length_),
                        max_timestamp_});
  }
  next_offset_ = next_offset;
  log_length_ += size;
  max_timestamp_ = std::max(max_timestamp_, max_timestamp.value());
}

Timestamp Index::max_timestamp() const {
  return empty() ? kNoTimestamp : Timestamp(max_timestamp_);
}

Index::Place Index::At(const Entry& entry) const {
  return {base_ + std::int64_t{entry.offset_delta}, std::int64_t{entry.position}};
}

Index::Place Index::FindOffset(Offset offset) const {
  const auto after = std::upper_bound(
      entries_.begin(), entries_.end(), offset - base_,
      [](std::int64_t delta, const Entry& entry) { return delta < entry.offset_delta; });
  return after == entries_.begin() ? Place{base_, 0} : At(*std::prev(after));
}

Index::Place Index::FindTime(Timestamp time) const {
  // The first entry that has so late a record before it; that record lies between it and its
  // predecessor.
  const auto after = std::partition_point(
      entries_.begin(), entries_.end(),
      [&](const Entry& entry) { return entry.max_timestamp_before < time.value(); });
  return after == entries_.begin() ? Place{base_, 0} : At(*std::prev(after));
}

Index::Place Index::FindPosition(std::int64_t position) const {
  const auto after = std::upper_bound(
      entries_.begin(), entries_.end(), position,
      [](std::int64_t wanted, const Entry& entry) { return wanted < entry.position; });
  return after == entries_.begin() ? Place{base_, 0} : At(*std::prev(after));
}

Bytes Index::Encode() const {
  Bytes file;
  file.reserve(kEntriesAt + entries_.size() * kEntryBytes);
  BeginFile(kIndexFile, file);
  AppendLe(file, base_.value());
  AppendLe(file, next_offset_.value());
  AppendLe(file, log_length_);
  AppendLe(file, max_timestamp_);
  AppendLe(file, static_cast<std::uint32_t>(entries_.size()));
  AppendLe(file, std::uint32_t{0});
  for (const Entry& entry : entries_) {
    AppendLe(file, entry.offset_delta);
    AppendLe(file, entry.position);
    AppendLe(file, entry.max_timestamp_before);
  }
  FinishFile(file);
  return file;
}

std::optional<std::int64_t> Index::LogLengthIn(const std::filesystem::path& path, Offset base) {
  Bytes header(kEntriesAt);
  const absl::StatusOr<File> file = File::OpenForReading(path);
  if (!file.ok() || !file->ReadAll(0, header).ok()) return std::nullopt;
  const auto length = LoadLe<std::int64_t>(header, kLogLengthAt);
  if (!Load(path, base, length).ok()) return std::nullopt;
  return length;
}

absl::StatusOr<Index> Index::Decode(ByteView bytes, Offset base, std::int64_t log_length,
                                    std::int64_t interval_bytes) {
  RETURN_IF_ERROR(CheckFile(kIndexFile, "the file", bytes, kEntriesAt));
  const Offset found_base(LoadLe<std::int64_t>(bytes, kBaseAt));
  const auto found_length = LoadLe<std::int64_t>(bytes, kLogLengthAt);
  if (found_base != base || found_length != log_length) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the index is of segment %d at %d bytes, and not of %d at %d bytes",
                        found_base.value(), found_length, base.value(), log_length));
  }
  const auto count = LoadLe<std::uint32_t>(bytes, kEntryCountAt);
  if (bytes.size() != kEntriesAt + std::size_t{count} * kEntryBytes ||
      LoadLe<std::uint32_t>(bytes, kReservedAt) != 0) {
    return Damaged(absl::StrFormat("%d entries do not make %d bytes", count, bytes.size()));
  }
  Index index(base, interval_bytes);
  index.next_offset_ = Offset(LoadLe<std::int64_t>(bytes, kNextOffsetAt));
  index.log_length_ = found_length;
  index.max_timestamp_ = LoadLe<std::int64_t>(bytes, kMaxTimestampAt);
  index.entries_.reserve(count);
  for (std::size_t at = kEntriesAt; at < bytes.size(); at += kEntryBytes) {
    index.entries_.push_back({LoadLe<std::uint32_t>(bytes, at + kOffsetDeltaAt),
                              LoadLe<std::uint32_t>(bytes, at + kPositionAt),
                              LoadLe<std::int64_t>(bytes, at + kMaxTimestampBeforeAt)});
  }
  RETURN_IF_ERROR(
      CheckEntries(index.entries_, base, index.next_offset_, log_length, index.max_timestamp_));
  return index;
}

absl::Status Index::Save(const std::filesystem::path& path) const {
  return ReplaceFileUnsynced(path, Encode());
}

absl::StatusOr<Index> Index::Load(const std::filesystem::path& path, Offset base,
                                  std::int64_t log_length, std::int64_t interval_bytes) {
  ASSIGN_OR_RETURN(const Bytes bytes, ReadFile(path, kFileBytesMax));
  return Decode(bytes, base, log_length, interval_bytes);
}

}  // namespace cairn::storage
