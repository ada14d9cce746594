#include "storage/damaged_segments.h"

#include <utility>

#include "protocol/status.h"
#include "storage/file.h"
#include "storage/file_header.h"

namespace cairn::storage {
namespace {

constexpr FileKind kDamagedFile = {
    .magic = "CairnDmg", .version = 1, .noun = "a list of damaged segments"};
constexpr std::int64_t kFileBytesMax = 64 << 20;

enum DamagedField : std::size_t {
  kTopicAt = kFileBodyAt,
  kPartitionAt = 32,
  kCountAt = 36,
  kSegmentsAt = 40,
};
enum DamagedSegmentField : std::size_t {
  kBaseAt = 0,
  kGenerationAt = 8,
  kReservedAt = 12,
  kSegmentBytes = 16,
};

}  // namespace

Bytes EncodeDamagedSegments(const TopicPartition& partition,
                            const std::set<SegmentFileName>& segments) {
  Bytes file;
  BeginFile(kDamagedFile, file);
  AppendId(file, partition.topic);
  AppendLe(file, partition.partition.value());
  AppendLe(file, static_cast<std::uint32_t>(segments.size()));
  for (const SegmentFileName& segment : segments) {
    AppendLe(file, segment.base.value());
    AppendLe(file, segment.generation);
    AppendLe(file, std::uint32_t{0});
  }
  FinishFile(file);
  return file;
}

absl::StatusOr<std::set<SegmentFileName>> DecodeDamagedSegments(const TopicPartition& partition,
                                                                ByteView file) {
  RETURN_IF_ERROR(CheckFile(kDamagedFile, kDamagedSegmentsName, file, kSegmentsAt));
  const TopicPartition found{LoadId(file, kTopicAt),
                             PartitionIndex(LoadLe<std::int32_t>(file, kPartitionAt))};
  const auto count = LoadLe<std::uint32_t>(file, kCountAt);
  if (found != partition || file.size() != kSegmentsAt + count * std::size_t{kSegmentBytes}) {
    return absl::DataLossError("not this partition's list of damaged segments");
  }
  std::set<SegmentFileName> segments;
  for (std::size_t at = kSegmentsAt; at < file.size(); at += kSegmentBytes) {
    const ByteView entry = file.subspan(at, kSegmentBytes);
    if (LoadLe<std::uint32_t>(entry, kReservedAt) != 0) {
      return absl::DataLossError("a list of damaged segments with impossible fields");
    }
    segments.insert({Offset(LoadLe<std::int64_t>(entry, kBaseAt)),
                     LoadLe<std::uint32_t>(entry, kGenerationAt)});
  }
  return segments;
}

DamagedSegments::DamagedSegments(std::filesystem::path directory, TopicPartition partition,
                                 Reserve& reserve)
    : path_(std::move(directory) / kDamagedSegmentsName),
      partition_(partition),
      reserve_(reserve) {}

void DamagedSegments::Load() {
  const absl::StatusOr<Bytes> file = ReadFile(path_, kFileBytesMax);
  const std::lock_guard lock(mutex_);
  is_there_ = !absl::IsNotFound(file.status());
  if (!is_there_) return;
  absl::StatusOr<std::set<SegmentFileName>> segments =
      file.ok() ? DecodeDamagedSegments(partition_, *file) : file.status();
  all_suspect_ = !segments.ok();
  if (segments.ok()) segments_ = *std::move(segments);
}

bool DamagedSegments::IsSuspect(const SegmentFileName& segment) const {
  const std::lock_guard lock(mutex_);
  return all_suspect_ || segments_.contains(segment);
}

absl::Status DamagedSegments::Add(const SegmentFileName& segment) {
  const std::lock_guard lock(mutex_);
  if (all_suspect_ || segments_.contains(segment)) return absl::OkStatus();
  std::set<SegmentFileName> with = segments_;
  with.insert(segment);
  const Bytes file = EncodeDamagedSegments(partition_, with);
  RETURN_IF_ERROR(reserve_.Through([&] { return ReplaceFile(path_, file); }));
  segments_ = std::move(with);
  is_there_ = true;
  return absl::OkStatus();
}

absl::StatusOr<bool> DamagedSegments::Clear() {
  const std::lock_guard lock(mutex_);
  if (!is_there_) return false;
  RETURN_IF_ERROR(RemoveFile(path_));
  segments_.clear();
  is_there_ = all_suspect_ = false;
  return true;
}

}  // namespace cairn::storage
