#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/checksum.h"
#include "protocol/record_batch.h"
#include "protocol/record_batch_builder.h"

// Records that own their bytes, and batches made of them, for tests.
namespace cairn::testing {

struct Header {
  std::string name;
  std::optional<std::string> value;
  friend bool operator==(const Header&, const Header&) = default;
};

struct Record {
  std::int64_t timestamp = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<Header> headers;
  friend bool operator==(const Record&, const Record&) = default;
};

inline std::optional<ByteView> View(const std::optional<std::string>& text) {
  if (!text.has_value()) return std::nullopt;
  return AsBytes(*text);
}
inline std::optional<std::string> Own(const std::optional<ByteView>& bytes) {
  if (!bytes.has_value()) return std::nullopt;
  return std::string(AsText(*bytes));
}

inline Bytes Build(const std::vector<Record>& records,
                   const RecordBatchBuilder::FinishOptions& options = {}) {
  RecordBatchBuilder builder;
  for (const Record& record : records) {
    std::vector<HeaderView> headers;
    for (const Header& header : record.headers) {
      headers.push_back({AsBytes(header.name), View(header.value)});
    }
    builder.Add({.timestamp = Timestamp(record.timestamp),
                 .key = View(record.key),
                 .value = View(record.value),
                 .headers = headers});
  }
  return *builder.Finish(options);
}

// Null, empty and full keys, values and header values; times that go back.
inline std::vector<Record> AllKinds() {
  return {
      {1000, std::nullopt, std::nullopt, {}},
      {1000, "", "", {}},
      {990, "key", "value", {{"name", "value"}}},
      {1500, std::nullopt, "", {{"", std::nullopt}, {"empty", ""}, {"twice", "1"}, {"twice", "2"}}},
      {1200, "", std::nullopt, {}},
      {1100, std::string("\0\xff\x80", 3), std::string(1000, 'v'), {}},
  };
}

// Renews the checksum after a deliberate change: what a hostile producer would do.
inline void Reseal(Bytes& batch) {
  StoreBe(MutableBytes(batch), kCrcAt, Crc32c(ByteView(batch).subspan(kAttributesAt)));
}

// A batch around records that the test has written byte by byte. The base timestamp is 1000.
inline Bytes BatchAround(const Bytes& records, std::int32_t count,
                         std::int64_t max_timestamp = 1000) {
  Bytes batch = Build({{1000, "k", "v", {}}});
  batch.resize(kRecordsAt);
  AppendBytes(batch, records);
  const MutableBytes out(batch);
  StoreBe(out, kBatchLengthAt, static_cast<std::int32_t>(batch.size() - kBatchLengthOverhead));
  StoreBe(out, kLastOffsetDeltaAt, count - 1);
  StoreBe(out, kRecordCountAt, count);
  StoreBe(out, kMaxTimestampAt, max_timestamp);
  Reseal(batch);
  return batch;
}

}  // namespace cairn::testing
