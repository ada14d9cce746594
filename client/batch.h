#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "client/producer.h"
#include "protocol/bytes.h"
#include "protocol/record_batch_builder.h"

namespace cairn::client {

// Records of one partition on their way to the broker: gathered in `builder`, packed into `bytes`
// when first sent.
struct Batch {
  RecordBatchBuilder builder;
  std::shared_ptr<Bytes> bytes;  // shared with a connection that is writing it
  std::int32_t record_count = 0;
  std::size_t accounted = 0;     // of the producer's buffer
  std::uint64_t generation = 0;  // which Flush it belongs to
  std::chrono::steady_clock::time_point created;
  std::chrono::steady_clock::time_point deadline;
  // By record, as far as any has one: may be shorter than record_count.
  std::vector<Producer::OnDelivery> callbacks;

  // Of a delivered one: lets go of all but its memory, where nobody else holds that, and what it
  // was accounted for.
  void Recycle() {
    builder.Clear();  // one that was given up before it was packed has its records there
    if (bytes != nullptr && bytes.use_count() == 1) builder.UseMemory(std::move(*bytes));
    bytes.reset();
    callbacks.clear();
    record_count = 0;
  }
};

}  // namespace cairn::client
