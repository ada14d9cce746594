#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/check.h"
#include "protocol/record_batch.h"
#include "protocol/record_batch_builder.h"

// Batches and bytes that several tests of this folder use.
namespace cairn {

inline Bytes BytesOf(std::string_view text) {
  const ByteView view = AsBytes(text);
  return {view.begin(), view.end()};
}

// 00, 01, … fa, 00, …: the keys of the published partitioner vectors.
inline Bytes Counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i % 251);
  return bytes;
}

inline std::string ToHex(ByteView bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text.push_back(kDigits[static_cast<std::size_t>(byte) >> 4]);
    text.push_back(kDigits[static_cast<std::size_t>(byte) & 15]);
  }
  return text;
}

inline constexpr Timestamp kSampleTime{1'700'000'000'000};

// Three records: null key and empty value, empty key and null value, both with headers.
inline Bytes SampleBatch(Codec codec, const RecordBatchBuilder::FinishOptions& producer = {}) {
  RecordBatchBuilder builder;
  builder.Add({.timestamp = kSampleTime, .key = std::nullopt, .value = AsBytes(""), .headers = {}});
  builder.Add(
      {.timestamp = kSampleTime + 5, .key = AsBytes(""), .value = std::nullopt, .headers = {}});
  const std::vector<HeaderView> headers = {{AsBytes("trace"), AsBytes("a1")},
                                           {AsBytes(""), AsBytes("")},
                                           {AsBytes("none"), std::nullopt}};
  builder.Add({.timestamp = kSampleTime - 7,
               .key = AsBytes("key"),
               .value = AsBytes("a value a value a value a value"),
               .headers = headers});
  RecordBatchBuilder::FinishOptions options = producer;
  options.codec = codec;
  auto batch = builder.Finish(options);
  CAIRN_CHECK(batch.ok());
  return *std::move(batch);
}

inline RecordBatchView ViewOf(ByteView bytes) {
  const auto batch = RecordBatchView::ParseHeader(bytes);
  CAIRN_CHECK(batch.ok());
  return *batch;
}

// Makes the checksum right again, so that only what was changed can be at fault.
inline void Reseal(Bytes& batch) {
  const RecordBatchView view = ViewOf(batch);
  StampProducer(batch, view.producer_id(), view.producer_epoch(), view.base_sequence());
}

}  // namespace cairn
