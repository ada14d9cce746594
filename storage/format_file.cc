#include "storage/format_file.h"

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/file_header.h"

namespace cairn::storage {
namespace {

constexpr FileKind kFormatFile = {.magic = "CairnDat", .version = 2, .noun = "a format file"};

enum FormatField : std::size_t {
  kClusterIdAt = kFileBodyAt,
  kOffsetsPartitionsAt = 32,
  kReservedAt = 36,
  kFormatBytes = 40,
};

}  // namespace

Bytes EncodeFormat(const DataFormat& format) {
  Bytes file;
  BeginFile(kFormatFile, file);
  AppendId(file, format.cluster_id);
  AppendLe(file, format.offsets_partitions);
  AppendLe(file, std::uint32_t{0});
  FinishFile(file);
  return file;
}

absl::StatusOr<DataFormat> DecodeFormat(std::string_view file_name, ByteView file) {
  if (file.size() >= kFileBodyAt && AsText(file.first(8)) == kFormatFile.magic) {
    const auto version = LoadLe<std::uint32_t>(file, kFileVersionAt);
    if (version != kFormatFile.version) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s says format %d, and this program knows format %d: use the program "
                          "that wrote the data directory, or a newer one that knows both",
                          file_name, version, kFormatFile.version));
    }
  }
  RETURN_IF_ERROR(CheckFile(kFormatFile, file_name, file, kFormatBytes));
  const DataFormat format{LoadId(file, kClusterIdAt),
                          LoadLe<std::int32_t>(file, kOffsetsPartitionsAt)};
  if (file.size() != kFormatBytes || LoadLe<std::uint32_t>(file, kReservedAt) != 0 ||
      format.offsets_partitions <= 0) {
    return absl::DataLossError(
        absl::StrFormat("%s is not a format file: impossible fields", file_name));
  }
  return format;
}

}  // namespace cairn::storage
