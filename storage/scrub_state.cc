#include "storage/scrub_state.h"

#include "protocol/status.h"
#include "storage/file.h"
#include "storage/file_header.h"

namespace cairn::storage {
namespace {

constexpr FileKind kScrubFile = {.magic = "CairnScb", .version = 1, .noun = "a scrub's progress"};
constexpr const char* kFileName = "scrub";

enum ScrubField : std::size_t {
  kRoundBeganAt = kFileBodyAt,
  kCompletedAt = 24,
  kSegmentsAt = 32,
  kBytesAt = 40,
  kDamagesAt = 48,
  kSegmentBaseAt = 56,
  kTopicAt = 64,
  kPartitionAt = 80,
  kReservedAt = 84,
  kScrubBytes = 88,
};

}  // namespace

Bytes EncodeScrubState(const ScrubState& state) {
  Bytes file;
  BeginFile(kScrubFile, file);
  AppendLe(file, state.round_began.value());
  AppendLe(file, state.completed.value());
  AppendLe(file, state.segments);
  AppendLe(file, state.bytes);
  AppendLe(file, state.damages);
  AppendLe(file, state.segment_base.value());
  AppendId(file, state.partition.topic);
  AppendLe(file, state.partition.partition.value());
  AppendLe(file, std::uint32_t{0});
  FinishFile(file);
  return file;
}

absl::StatusOr<ScrubState> DecodeScrubState(ByteView file) {
  RETURN_IF_ERROR(CheckFile(kScrubFile, kFileName, file, kScrubBytes));
  if (file.size() != kScrubBytes || LoadLe<std::uint32_t>(file, kReservedAt) != 0) {
    return absl::DataLossError("not a scrub's progress: impossible fields");
  }
  return ScrubState{
      .round_began = Timestamp(LoadLe<std::int64_t>(file, kRoundBeganAt)),
      .completed = Timestamp(LoadLe<std::int64_t>(file, kCompletedAt)),
      .segments = LoadLe<std::int64_t>(file, kSegmentsAt),
      .bytes = LoadLe<std::int64_t>(file, kBytesAt),
      .damages = LoadLe<std::int64_t>(file, kDamagesAt),
      .partition = {LoadId(file, kTopicAt),
                    PartitionIndex(LoadLe<std::int32_t>(file, kPartitionAt))},
      .segment_base = Offset(LoadLe<std::int64_t>(file, kSegmentBaseAt)),
  };
}

ScrubState LoadScrubState(const std::filesystem::path& data_dir) {
  const absl::StatusOr<Bytes> file = ReadFile(data_dir / kFileName, kScrubBytes);
  if (!file.ok()) return {};
  return DecodeScrubState(*file).value_or(ScrubState());
}

absl::Status SaveScrubState(const std::filesystem::path& data_dir, const ScrubState& state) {
  return ReplaceFileUnsynced(data_dir / kFileName, EncodeScrubState(state));
}

}  // namespace cairn::storage
