#include "tests/crash/life_batches.h"

#include <algorithm>

#include "absl/strings/str_format.h"

#include "protocol/check.h"
#include "protocol/limits.h"
#include "protocol/record_batch_builder.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kValueBytes = 150;
constexpr Timestamp kTimestamp{1'700'000'000'000};
constexpr ProducerId kProducer{1};

bool IsSame(const std::optional<std::string>& expected, const std::optional<ByteView>& found) {
  if (!expected || !found) return expected.has_value() == found.has_value();
  return AsText(*found) == *expected;
}

}  // namespace

std::vector<LifeBatches::Record> LifeBatches::RecordsOf(std::size_t number) const {
  std::vector<Record> records(kRecords);
  for (std::size_t i = 0; i < records.size(); ++i) {
    std::string& value = records[i].value.emplace(absl::StrFormat("%08d.%d.", number, i));
    value.resize(kValueBytes, static_cast<char>('a' + number % 26));
  }
  if (keeps_ == Keeps::kAll) return records;
  records[0].key = number % 4 == 0 ? absl::StrFormat("once-%d", number)
                                   : absl::StrFormat("often-%d", number % 3);
  records[1].key = absl::StrFormat("seldom-%d", number % 5);
  if (number % 7 == 2) records[1].value.reset();
  records[2].key = "always";
  return records;
}

Bytes LifeBatches::Make(std::size_t number) const {
  RecordBatchBuilder builder;
  const std::vector<Record> records = RecordsOf(number);
  for (const Record& record : records) {
    RecordBatchBuilder::Record out{.timestamp = kTimestamp};
    if (record.key) out.key = AsBytes(*record.key);
    if (record.value) out.value = AsBytes(*record.value);
    builder.Add(out);
  }
  absl::StatusOr<Bytes> batch =
      builder.Finish({.codec = Codec::kNone,
                      .producer_id = kProducer,
                      .producer_epoch = ProducerEpoch(0),
                      .base_sequence = static_cast<std::int32_t>(number) * kRecords});
  CAIRN_CHECK(batch.ok());
  return *std::move(batch);
}

std::optional<std::size_t> LifeBatches::NumberOf(const RecordBatchView& batch) const {
  if (batch.base_sequence() < 0 || batch.base_sequence() % kRecords != 0) return std::nullopt;
  const auto number = static_cast<std::size_t>(batch.base_sequence() / kRecords);
  Bytes whole = Make(number);
  StampBatch(MutableBytes(whole), batch.base_offset(), batch.leader_epoch());
  const bool is_same =
      std::equal(batch.bytes().begin(), batch.bytes().end(), whole.begin(), whole.end());
  if (is_same) return number;
  if (keeps_ == Keeps::kNewestOfKey && HoldsOnlyRecordsOf(number, batch)) return number;
  return std::nullopt;
}

bool LifeBatches::HoldsOnlyRecordsOf(std::size_t number, const RecordBatchView& batch) const {
  if (batch.last_offset_delta() != kRecords - 1 || batch.producer_id() != kProducer) return false;
  const std::vector<Record> records = RecordsOf(number);
  RecordReader reader;
  if (!reader.Open(batch, kDecompressedBytesMax).ok()) return false;
  RecordView found;
  while (reader.Next(found)) {
    const std::int64_t at = found.offset - batch.base_offset();
    if (at < 0 || at >= kRecords || found.timestamp != kTimestamp) return false;
    const Record& expected = records[static_cast<std::size_t>(at)];
    if (!IsSame(expected.key, found.key) || !IsSame(expected.value, found.value)) return false;
  }
  return reader.status().ok();
}

}  // namespace cairn::storage
