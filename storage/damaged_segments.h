#pragma once

#include <filesystem>
#include <mutex>
#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/types.h"
#include "storage/reserve.h"
#include "storage/segment_name.h"

namespace cairn::storage {

inline constexpr const char* kDamagedSegmentsName = "damaged";

Bytes EncodeDamagedSegments(const TopicPartition& partition,
                            const std::set<SegmentFileName>& segments);
//   kDataLoss  not such a file, damaged, of another partition, or of an unknown version
absl::StatusOr<std::set<SegmentFileName>> DecodeDamagedSegments(const TopicPartition& partition,
                                                                ByteView file);

// The segments of one partition in which damage was found, kept in its directory: a start reads no
// sealed segment, and would open the log for writing behind records that are lost. With this it
// looks at those again first. FORMAT.md has the bytes.
//
// Threads: any; waits for the disk.
class DamagedSegments {
 public:
  DamagedSegments(std::filesystem::path directory, TopicPartition partition, Reserve& reserve);

  // What an earlier run left. Where it cannot be read every segment is suspect.
  void Load();
  bool IsSuspect(const SegmentFileName& segment) const;

  // Durable when it returns.
  absl::Status Add(const SegmentFileName& segment);
  // All of them read well again, or are gone. True if there was anything.
  absl::StatusOr<bool> Clear();

 private:
  const std::filesystem::path path_;
  const TopicPartition partition_;
  Reserve& reserve_;

  mutable std::mutex mutex_;
  std::set<SegmentFileName> segments_;
  bool is_there_ = false;
  bool all_suspect_ = false;
};

}  // namespace cairn::storage
