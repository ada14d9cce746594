// Record batches: parse, validate as a broker does, walk as a consumer does. The checksum is made
// right first, or nothing behind it would ever be reached.
#include <cstddef>
#include <cstdint>

#include "protocol/check.h"
#include "protocol/checksum.h"
#include "protocol/limits.h"
#include "protocol/record_batch.h"

namespace {

using namespace cairn;

void Walk(const RecordBatchView& batch) {
  static RecordReader reader;
  if (!reader.Open(batch, 1 << 20).ok()) return;
  RecordView record;
  std::int64_t records = 0;
  while (reader.Next(record)) ++records;
  if (reader.status().ok()) CAIRN_CHECK(records == batch.record_count());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(reinterpret_cast<const std::byte*>(data),
              reinterpret_cast<const std::byte*>(data) + size);
  (void)RecordBatchView::Parse(bytes);
  if (bytes.size() < kBatchHeaderBytes) return 0;

  StoreBe(MutableBytes(bytes), kBatchLengthAt,
          static_cast<std::int32_t>(bytes.size() - kBatchLengthOverhead));
  StoreBe(MutableBytes(bytes), kMagicAt, kBatchMagic);
  StoreBe(MutableBytes(bytes), kCrcAt, Crc32c(ByteView(bytes).subspan(kAttributesAt)));
  const auto batch = RecordBatchView::Parse(bytes);
  if (!batch.ok()) return 0;
  CAIRN_CHECK(batch->size() == bytes.size());

  static Bytes scratch;
  const bool valid = ValidateProduced(*batch, /*full=*/true, scratch).ok();
  if (valid) CAIRN_CHECK(ValidateProduced(*batch, /*full=*/false, scratch).ok());
  Walk(*batch);
  return 0;
}
