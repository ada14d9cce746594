#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/compression.h"
#include "protocol/types.h"

namespace cairn {

// A record batch is what travels: the producer builds it once, and the same bytes lie in the
// socket, in the segment file and in the consumer's hands. The layout is Kafka's RecordBatch,
// magic 2 (org.apache.kafka.common.record.DefaultRecordBatch); integers are big-endian.
//
//   at  size  field               set by     meaning
//    0     8  base_offset         broker     offset of the first record
//    8     4  batch_length        producer   bytes that follow this field
//   12     4  leader_epoch        broker     raised at every unclean start
//   16     1  magic               producer   2
//   17     4  crc                 producer   CRC-32C of bytes [21, end)
//   21     2  attributes          producer   bits 0-2 codec, 3 timestamp type, 5 control
//   23     4  last_offset_delta   producer   kept by compaction
//   27     8  base_timestamp      producer   ms since 1970
//   35     8  max_timestamp       producer
//   43     8  producer_id         producer   -1: not idempotent
//   51     2  producer_epoch      producer
//   53     4  base_sequence       producer   with producer_id: spots a repeat
//   57     4  record_count        producer   may shrink in compaction, down to 0
//   61     .  records             compressed as one block
//
// Compaction keeps base_offset and last_offset_delta of a batch that it takes records out of. Where
// what is left holds tombstones, bit 6 of the attributes says that base_timestamp is the time from
// which they may go (Kafka's delete horizon, KIP-534); the records' deltas count from there.
//
// What the broker fills in lies outside the checksummed part, so accepting a batch means hashing
// it once and never writing the checksum again.
enum BatchField : std::size_t {
  kBaseOffsetAt = 0,
  kBatchLengthAt = 8,
  kLeaderEpochAt = 12,
  kMagicAt = 16,
  kCrcAt = 17,
  kAttributesAt = 21,
  kLastOffsetDeltaAt = 23,
  kBaseTimestampAt = 27,
  kMaxTimestampAt = 35,
  kProducerIdAt = 43,
  kProducerEpochAt = 51,
  kBaseSequenceAt = 53,
  kRecordCountAt = 57,
  kRecordsAt = 61,
};
inline constexpr std::size_t kBatchHeaderBytes = kRecordsAt;
inline constexpr std::size_t kBatchLengthOverhead = kLeaderEpochAt;  // what batch_length leaves out
inline constexpr std::int8_t kBatchMagic = 2;

// Looks at one batch in borrowed bytes and copies nothing.
class RecordBatchView {
 public:
  static constexpr std::uint16_t kLogAppendTimeBit = 0x08;  // of the attributes
  // Looks at the batch in front of `bytes`: header fields and length only, not the checksum. The
  // view covers exactly that one batch, though more may follow.
  //   kOutOfRange  there is less than one whole batch: a torn tail, or read on
  //   kDataLoss    these bytes are not a batch: magic, length or count is impossible
  static absl::StatusOr<RecordBatchView> ParseHeader(ByteView bytes);
  // The same, and verifies the checksum (kDataLoss, naming both values).
  static absl::StatusOr<RecordBatchView> Parse(ByteView bytes);
  // The whole batch's size by its first 12 bytes; nothing if fewer are there or the length is
  // impossible (less than a header, more than kBatchBytesMax).
  static std::optional<std::size_t> SizeOf(ByteView bytes);

  absl::Status VerifyChecksum() const;

  ByteView bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  Offset base_offset() const { return Offset(LoadBe<std::int64_t>(bytes_, kBaseOffsetAt)); }
  Offset last_offset() const { return base_offset() + last_offset_delta(); }
  Offset next_offset() const { return last_offset() + 1; }
  LeaderEpoch leader_epoch() const {
    return LeaderEpoch(LoadBe<std::int32_t>(bytes_, kLeaderEpochAt));
  }
  std::uint32_t crc() const { return LoadBe<std::uint32_t>(bytes_, kCrcAt); }
  std::uint16_t attributes() const { return LoadBe<std::uint16_t>(bytes_, kAttributesAt); }
  std::uint8_t codec_number() const { return attributes() & 7; }
  bool is_control() const { return (attributes() & 0x20) != 0; }
  bool is_transactional() const { return (attributes() & 0x10) != 0; }
  bool log_append_time() const { return (attributes() & kLogAppendTimeBit) != 0; }
  // Set by compaction: base_timestamp() is when the tombstones may go.
  bool has_delete_horizon() const { return (attributes() & 0x40) != 0; }
  std::int32_t last_offset_delta() const {
    return LoadBe<std::int32_t>(bytes_, kLastOffsetDeltaAt);
  }
  Timestamp base_timestamp() const {
    return Timestamp(LoadBe<std::int64_t>(bytes_, kBaseTimestampAt));
  }
  Timestamp max_timestamp() const {
    return Timestamp(LoadBe<std::int64_t>(bytes_, kMaxTimestampAt));
  }
  ProducerId producer_id() const { return ProducerId(LoadBe<std::int64_t>(bytes_, kProducerIdAt)); }
  ProducerEpoch producer_epoch() const {
    return ProducerEpoch(LoadBe<std::int16_t>(bytes_, kProducerEpochAt));
  }
  std::int32_t base_sequence() const { return LoadBe<std::int32_t>(bytes_, kBaseSequenceAt); }
  std::int32_t record_count() const { return LoadBe<std::int32_t>(bytes_, kRecordCountAt); }
  ByteView packed_records() const { return bytes_.subspan(kRecordsAt); }

 private:
  explicit RecordBatchView(ByteView bytes) : bytes_(bytes) {}

  ByteView bytes_;
};

// Writes what the broker decides into a batch's own bytes, outside the checksummed part.
void StampBatch(MutableBytes batch, Offset base_offset, LeaderEpoch epoch);
// For topics with message.timestamp.type=LogAppendTime: `now` becomes the time of every record, and
// the checksum is made anew; the records' own times stay where they are, unread. The one change to
// a batch within what its checksum covers.
void StampAppendTime(MutableBytes batch, Timestamp now);

// What a producer may send: checksum right, a codec we speak, last_offset_delta = record_count - 1,
// 1 <= record_count <= kBatchRecordsMax, not a control or transactional batch, CreateTime, producer
// fields that fit together (id -1 with epoch -1 and sequence -1, or all >= 0), and, when the
// records are not compressed or `full`, a walk over every record: deltas in order 0..count-1,
// timestamps not before 1970 and not above max_timestamp (which one record reaches), lengths that
// add up to the last byte. `scratch` is used to unpack compressed records and keeps its capacity
// between calls.
//   kInvalidArgument  says which field, and what stands there (error code: see error_code.h)
absl::Status ValidateProduced(const RecordBatchView& batch, bool full, Bytes& scratch);

// One header of a record. A null value is not an empty one.
struct HeaderView {
  ByteView name;
  std::optional<ByteView> value;
};

// One record; everything borrows from the bytes it was read from. Null (nothing) and empty keys and
// values are different things.
struct RecordView {
  Offset offset;
  Timestamp timestamp;
  std::optional<ByteView> key;
  std::optional<ByteView> value;
  std::vector<HeaderView> headers;
};

// Walks the records of one batch in order, unpacking them first where they are compressed.
//
//   RecordReader reader;
//   RETURN_IF_ERROR(reader.Open(batch, kDecompressedBytesMax));
//   RecordView record;
//   while (reader.Next(record)) { … }
//   RETURN_IF_ERROR(reader.status());
//
// Records borrow from the batch, or, when it is compressed, from the reader, until the next Open.
// A reader can be reused and keeps its memory.
class RecordReader {
 public:
  //   kUnimplemented      a codec we do not speak
  //   kDataLoss           the compressed block is broken
  //   kResourceExhausted  it would unpack to more than bytes_max
  absl::Status Open(const RecordBatchView& batch, std::size_t bytes_max);

  // False at the end or at the first malformed record; status() tells which.
  bool Next(RecordView& record);

  // The last record as it lies in the unpacked block, its length included.
  ByteView record_bytes() const { return record_bytes_; }
  std::size_t unpacked_capacity() const { return unpacked_.capacity(); }

  // kDataLoss: a record's lengths do not fit. Only to be asked after Next returned false.
  const absl::Status& status() const { return status_; }

 private:
  bool Fail(std::string_view what);

  ByteView rest_;
  ByteView record_bytes_;
  Bytes unpacked_;
  Offset base_offset_;
  Timestamp base_timestamp_;
  std::optional<Timestamp> append_time_;  // of every record, where the broker stamped it
  std::int32_t left_ = 0;
  std::int32_t count_ = 0;
  absl::Status status_;
};

}  // namespace cairn
