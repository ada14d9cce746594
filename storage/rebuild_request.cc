#include "storage/rebuild_request.h"

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "storage/file.h"
#include "storage/file_header.h"

namespace cairn::storage {
namespace {

constexpr FileKind kRequestFile = {
    .magic = "CairnReb", .version = 1, .noun = "a request to rebuild the catalog"};

enum RequestField : std::size_t {
  kNextProducerAt = kFileBodyAt,
  kRequestBytes = 24,
};

}  // namespace

Bytes EncodeRebuildRequest(const RebuildRequest& request) {
  Bytes file;
  BeginFile(kRequestFile, file);
  AppendLe(file, request.next_producer.value());
  FinishFile(file);
  return file;
}

absl::StatusOr<std::optional<RebuildRequest>> ReadRebuildRequest(
    const std::filesystem::path& data_dir) {
  const std::filesystem::path path = data_dir / kRebuildRequestName;
  const absl::StatusOr<Bytes> file = ReadFile(path, kRequestBytes);
  if (absl::IsNotFound(file.status())) return std::nullopt;
  RETURN_IF_ERROR(file.status());
  RETURN_IF_ERROR(CheckFile(kRequestFile, path.string(), *file, kRequestBytes));
  return RebuildRequest{ProducerId(LoadLe<std::int64_t>(*file, kNextProducerAt))};
}

}  // namespace cairn::storage
