#include "storage/partition_meta.h"

#include <charconv>

#include "absl/strings/str_format.h"

#include "protocol/limits.h"
#include "protocol/status.h"
#include "storage/file.h"
#include "storage/file_header.h"

namespace cairn::storage {
namespace {

constexpr FileKind kMetaFile = {.magic = "CairnPrt", .version = 1, .noun = "a partition.meta"};

enum MetaField : std::size_t {
  kTopicAt = kFileBodyAt,
  kPartitionAt = 32,
  kNameLengthAt = 36,
  kNameAt = 40,
};

}  // namespace

std::string PartitionDirectory(const LogIdentity& identity) {
  return absl::StrFormat("%s-%d", identity.name, identity.partition.value());
}

std::optional<PartitionName> ParsePartitionDirectory(std::string_view directory) {
  const std::size_t dash = directory.rfind('-');
  if (dash == std::string_view::npos) return std::nullopt;
  PartitionName name{std::string(directory.substr(0, dash)), PartitionIndex(0)};
  const std::string_view digits = directory.substr(dash + 1);
  std::int32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  name.partition = PartitionIndex(number);
  // "orders-007" is no name that we would give.
  if (digits != absl::StrFormat("%d", number) || !CheckTopicName(name.topic_name).ok()) {
    return std::nullopt;
  }
  return name;
}

Bytes EncodePartitionMeta(const LogIdentity& identity) {
  Bytes file;
  BeginFile(kMetaFile, file);
  AppendId(file, identity.topic);
  AppendLe(file, identity.partition.value());
  AppendLe(file, static_cast<std::uint32_t>(identity.name.size()));
  AppendBytes(file, AsBytes(identity.name));
  FinishFile(file);
  return file;
}

absl::StatusOr<LogIdentity> DecodePartitionMeta(std::string_view file_name, ByteView file) {
  RETURN_IF_ERROR(CheckFile(kMetaFile, file_name, file, kNameAt));
  LogIdentity identity{LoadId(file, kTopicAt), std::string(AsText(file.subspan(kNameAt))),
                       PartitionIndex(LoadLe<std::int32_t>(file, kPartitionAt))};
  const auto length = LoadLe<std::uint32_t>(file, kNameLengthAt);
  if (length != identity.name.size() || !CheckTopicName(identity.name).ok() ||
      identity.partition < PartitionIndex(0)) {
    return absl::DataLossError(
        absl::StrFormat("%s is not a partition.meta: impossible fields", file_name));
  }
  return identity;
}

absl::StatusOr<LogIdentity> ReadPartitionMeta(const std::filesystem::path& partition_directory) {
  const std::filesystem::path path = partition_directory / kPartitionMetaName;
  ASSIGN_OR_RETURN(const Bytes file, ReadFile(path, kNameAt + kTopicNameBytesMax));
  return DecodePartitionMeta(path.string(), file);
}

}  // namespace cairn::storage
