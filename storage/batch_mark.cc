#include "storage/batch_mark.h"

#include <array>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/status.h"

namespace cairn::storage {

BatchMark BatchMark::Of(ByteView batch) {
  CAIRN_CHECK(batch.size() >= kBatchHeaderBytes);
  return {.length = static_cast<std::uint32_t>(batch.size()),
          .crc = LoadBe<std::uint32_t>(batch, kCrcAt)};
}

absl::StatusOr<BatchMark> BatchMark::In(const File& file) {
  std::array<std::byte, kBatchHeaderBytes> header;
  ASSIGN_OR_RETURN(const std::size_t got, file.Read(0, header));
  const std::optional<std::size_t> size = RecordBatchView::SizeOf(ByteView(header).first(got));
  if (got < header.size() || !size.has_value()) return BatchMark{};
  return BatchMark{.length = static_cast<std::uint32_t>(*size),
                   .crc = LoadBe<std::uint32_t>(ByteView(header), kCrcAt)};
}

absl::Status BatchMark::CheckIn(const File& file) const {
  if (length == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const BatchMark found, In(file));
  if (found == *this) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat(
      "%s, position 0: expected a batch of %d bytes with checksum 0x%08x, found %s: it is damaged, "
      "or this is the file of another segment",
      file.path().string(), length, crc,
      found.length == 0 ? "none"
                        : absl::StrFormat("one of %d with 0x%08x", found.length, found.crc)));
}

}  // namespace cairn::storage
