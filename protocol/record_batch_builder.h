#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/compression.h"
#include "protocol/record_batch.h"
#include "protocol/types.h"

namespace cairn {

// Builds one record batch in memory it owns and reuses. Used by the client for what it sends and by
// the broker for its internal topics.
//
//   RecordBatchBuilder builder;
//   builder.Add({.timestamp = now, .key = key, .value = value});
//   ASSIGN_OR_RETURN(Bytes batch, builder.Finish({.codec = Codec::kZstd}));
class RecordBatchBuilder {
 public:
  struct Record {
    Timestamp timestamp{};
    std::optional<ByteView> key{};
    std::optional<ByteView> value{};
    std::span<const HeaderView> headers{};
  };
  struct FinishOptions {
    Codec codec = Codec::kNone;
    ProducerId producer_id = kNoProducer;
    ProducerEpoch producer_epoch{-1};
    std::int32_t base_sequence = -1;
  };

  RecordBatchBuilder() { Clear(); }

  // The bytes that Add would append for this record: never less than what it does append.
  static std::size_t SizeBound(const Record& record);

  void Add(const Record& record);

  bool empty() const { return count_ == 0; }
  std::int32_t record_count() const { return count_; }
  // The uncompressed size of the batch so far, header included.
  std::size_t size() const { return buffer_.size(); }

  // Gives the whole batch, base offset and leader epoch 0, and leaves the builder empty.
  // Requires !empty(). Errors are those of Compress.
  absl::StatusOr<Bytes> Finish(const FinishOptions& options);

  void Clear();

  // Requires empty(). Takes over memory to build in, whatever it holds.
  void UseMemory(Bytes memory);

 private:
  Bytes buffer_;  // room for the header, then the records
  std::int32_t count_ = 0;
  Timestamp base_timestamp_;
  Timestamp max_timestamp_;
};

// Stamps producer fields into a finished batch and renews its checksum: a client learns its
// producer id and sequence only when it sends.
void StampProducer(MutableBytes batch, ProducerId id, ProducerEpoch epoch,
                   std::int32_t base_sequence);

}  // namespace cairn
