#include "storage/file_header.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/checksum.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kMagicBytes = kFileVersionAt - kFileMagicAt;

absl::Status Damaged(const FileKind& kind, std::string_view name, const std::string& why) {
  return absl::DataLossError(absl::StrFormat("%s is not %s: %s", name, kind.noun, why));
}

}  // namespace

void BeginFile(const FileKind& kind, Bytes& file) {
  CAIRN_CHECK(file.empty() && kind.magic.size() == kMagicBytes);
  file.resize(kFileBodyAt);
  std::memcpy(file.data() + kFileMagicAt, kind.magic.data(), kMagicBytes);
  StoreLe(MutableBytes(file), kFileVersionAt, kind.version);
}

void FinishFile(MutableBytes file) { StoreLe(file, kFileCrcAt, Crc32c(file.subspan(kFileBodyAt))); }

absl::Status CheckFile(const FileKind& kind, std::string_view name, ByteView covered,
                       std::size_t bytes_min) {
  if (covered.size() < std::max<std::size_t>(bytes_min, kFileBodyAt)) {
    return Damaged(kind, name,
                   absl::StrFormat("it has %d bytes, and at least %d are needed", covered.size(),
                                   std::max<std::size_t>(bytes_min, kFileBodyAt)));
  }
  if (AsText(covered.first(kMagicBytes)) != kind.magic) {
    return Damaged(kind, name, absl::StrFormat("it does not begin with \"%s\"", kind.magic));
  }
  const auto version = LoadLe<std::uint32_t>(covered, kFileVersionAt);
  if (version != kind.version) {
    return Damaged(
        kind, name,
        absl::StrFormat("it is of version %d, and this program knows %d", version, kind.version));
  }
  const auto expected = LoadLe<std::uint32_t>(covered, kFileCrcAt);
  const std::uint32_t found = Crc32c(covered.subspan(kFileBodyAt));
  if (expected == found) return absl::OkStatus();
  return Damaged(kind, name,
                 absl::StrFormat("at 12: checksum 0x%08x, but bytes [16, %d) hash to 0x%08x",
                                 expected, covered.size(), found));
}

TopicId LoadId(ByteView bytes, std::size_t position) {
  TopicId id;
  std::memcpy(id.bytes.data(), bytes.data() + position, id.bytes.size());
  return id;
}

void AppendId(Bytes& out, const TopicId& id) {
  AppendBytes(out, std::as_bytes(std::span(id.bytes)));
}

std::string ToText(const TopicPartition& partition) {
  return absl::StrFormat("%s/%d", ToString(partition.topic), partition.partition.value());
}

}  // namespace cairn::storage
