#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "storage/log_options.h"

namespace cairn::storage {

inline constexpr const char* kPartitionMetaName = "partition.meta";

// A partition's directory is called "<topic name>-<partition>", and the partition.meta in it says
// the same and the topic's id: to sort things out by hand; the catalog decides. FORMAT.md has the
// bytes.
std::string PartitionDirectory(const LogIdentity& identity);

struct PartitionName {
  std::string topic_name;
  PartitionIndex partition;
};
// nothing: not such a name.
std::optional<PartitionName> ParsePartitionDirectory(std::string_view directory);

Bytes EncodePartitionMeta(const LogIdentity& identity);
// kDataLoss: damaged, or of an unknown version; `file_name` is what messages call it.
absl::StatusOr<LogIdentity> DecodePartitionMeta(std::string_view file_name, ByteView file);
// Reads the one in a partition's directory. kNotFound: there is none.
absl::StatusOr<LogIdentity> ReadPartitionMeta(const std::filesystem::path& partition_directory);

}  // namespace cairn::storage
