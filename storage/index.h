#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::storage {

// Where to begin looking in one segment, by offset or by time: an entry for about every
// index_interval_bytes, 16 bytes each. FORMAT.md has the bytes of the file.
//
// Derived: whoever doubts it builds it again by noting every batch in order.
// Threads: none of its own; the owner guards it.
class Index {
 public:
  // Every entry stands at the beginning of a batch.
  struct Entry {
    std::uint32_t offset_delta = 0;  // of the batch's base offset, from the segment's
    std::uint32_t position = 0;      // in bytes
    // The greatest timestamp of all batches before this one; kNothingBefore in the first entry.
    std::int64_t max_timestamp_before = 0;

    friend bool operator==(const Entry&, const Entry&) = default;
  };
  static constexpr std::int64_t kNothingBefore = INT64_MIN;

  explicit Index(Offset base, std::int64_t interval_bytes = 4096);

  // Notes the next batch: it follows the last one noted without a gap, in position; requires
  // base_offset >= next_offset() and that the position fits 32 bits.
  void Note(Offset base_offset, Offset next_offset, std::int64_t size, Timestamp max_timestamp);

  Offset base() const { return base_; }
  Offset next_offset() const { return next_offset_; }      // one past the last record noted
  std::int64_t log_length() const { return log_length_; }  // bytes of all batches noted
  bool empty() const { return entries_.empty(); }
  // The greatest timestamp of all; kNoTimestamp when empty.
  Timestamp max_timestamp() const;

  // A batch boundary and the base offset of the batch that begins there (or would).
  struct Place {
    Offset offset;
    std::int64_t position = 0;

    friend bool operator==(const Place&, const Place&) = default;
  };
  // The greatest entry at or below `offset`: walk on from there. The segment's beginning if none.
  Place FindOffset(Offset offset) const;
  // Where to begin walking to the first record at or after `time`: no record before that place is
  // that late. Only useful if max_timestamp() >= time.
  Place FindTime(Timestamp time) const;
  // The greatest entry at or below `position`.
  Place FindPosition(std::int64_t position) const;

  const std::vector<Entry>& entries() const { return entries_; }

  // The file's bytes, and back.
  //   kDataLoss            not an index, damaged, or of an unknown version
  //   kFailedPrecondition  of another segment, or of the segment at another length
  Bytes Encode() const;
  static absl::StatusOr<Index> Decode(ByteView bytes, Offset base, std::int64_t log_length,
                                      std::int64_t interval_bytes = 4096);

  // Which length of the .log file the index in a file is for; nothing: there is none for `base`.
  static std::optional<std::int64_t> LogLengthIn(const std::filesystem::path& path, Offset base);

  // The same to and from a file. Save does not sync: what a crash leaves is found out by Load.
  absl::Status Save(const std::filesystem::path& path) const;
  static absl::StatusOr<Index> Load(const std::filesystem::path& path, Offset base,
                                    std::int64_t log_length, std::int64_t interval_bytes = 4096);

 private:
  Place At(const Entry& entry) const;

  Offset base_;
  std::int64_t interval_bytes_;
  Offset next_offset_;
  std::int64_t log_length_ = 0;
  std::int64_t max_timestamp_ = kNothingBefore;
  std::vector<Entry> entries_;
};

}  // namespace cairn::storage
