#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "storage/epoch_history.h"
#include "storage/file.h"
#include "storage/findings.h"
#include "storage/frontier.h"
#include "storage/index.h"
#include "storage/manifest.h"
#include "storage/segment_name.h"

namespace cairn::storage {

// What is known from outside the partition's directory.
struct KnownOutside {
  bool was_clean = false;  // nothing is open, nothing was left unfinished
  bool has_frontier = false;
  const Frontier* frontier = nullptr;

  // What that means for one partition: its log may not have been closed, and its entry may have
  // been lost with an earlier frontier.
  KnownOutside Of(const TopicPartition& partition) const;
};

class PartitionVerifier {
 public:
  PartitionVerifier(std::filesystem::path directory, const KnownOutside& known, Findings& findings)
      : directory_(std::move(directory)), known_(known), findings_(findings) {}

  // Gives the partition it turned out to be.
  absl::StatusOr<std::optional<TopicPartition>> Run();

  // For a repair: the same with what the manifest is taken to say, of a file that is as given.
  absl::Status RunOn(Manifest::Contents contents);
  // The first place from which on the log cannot be believed; nothing: there is none.
  struct Break {
    std::size_t segment = 0;    // in the manifest's list; its size: everything is there, but too
                                // little
    std::int64_t position = 0;  // in that segment's file
    Offset offset;              // what should stand there
    std::string reason;
  };
  const std::optional<Break>& first_break() const { return break_; }
  // Bytes behind the end of sealed segments that are right up to there.
  struct Excess {
    std::size_t segment = 0;
    std::int64_t position = 0;
  };
  const std::vector<Excess>& excesses() const { return excesses_; }
  // Segments' files that the manifest does not list, and never did.
  const std::vector<SegmentFileName>& strangers() const { return strangers_; }
  // Where the last segment was read to, and which offset comes next: the log's end, if no break.
  std::int64_t end_position() const { return end_position_; }
  Offset end_offset() const { return expected_; }
  // The frontier knows less of this partition than what was written only once it was durable.
  bool frontier_is_short() const { return frontier_is_short_; }
  // One above the greatest producer id in the batches that were read.
  ProducerId next_producer() const { return next_producer_; }

 private:
  // How far a segment is to be read, and how it must end.
  struct Reach {
    std::int64_t end = 0;
    std::optional<Offset> next;  // must end before this offset, at `end`; nothing: anywhere
    bool zeros_end = false;
    bool is_damage = true;  // an invalid batch is: otherwise it may be a torn tail
  };

  std::filesystem::path PathOf(const ManifestSegment& segment) const {
    return directory_ / LogFileName(segment.base, segment.generation);
  }
  absl::StatusOr<bool> ReadManifest();
  void CheckMeta();
  void CheckOwner();
  absl::Status CheckSegment(const ManifestSegment& segment, std::optional<Offset> next);
  absl::Status CheckFirstBatch(const ManifestSegment& segment, const File& file);
  absl::Status ScanSegment(const ManifestSegment& segment, const File& file, const Reach& reach);
  void CheckSealed(const ManifestSegment& segment, const Index& index, std::uint64_t fingerprint);
  std::optional<Reach> ReachOf(const ManifestSegment& segment, std::optional<Offset> next,
                               std::int64_t size);
  void CheckSize(const ManifestSegment& segment, bool is_last, std::int64_t size);
  void CheckIndex(const Index& built, const ManifestSegment& segment);
  void CheckEnd();
  void CheckSnapshot();
  absl::Status CheckLog();
  void BreakAt(const ManifestSegment& segment, std::int64_t position, Offset offset,
               std::string reason);
  void CheckFrontier(const char* derived, Offset end);
  absl::Status CheckNames();
  absl::StatusOr<bool> MayBeLeftOver(const SegmentFileName& file) const;

  const std::filesystem::path directory_;
  KnownOutside known_;
  Findings& findings_;
  Manifest::Contents manifest_;
  EpochHistory epochs_;
  std::optional<DurableEnd> durable_;
  Offset expected_;
  std::optional<Break> break_;
  std::vector<Excess> excesses_;
  std::vector<SegmentFileName> strangers_;
  std::int64_t end_position_ = 0;
  bool frontier_is_short_ = false;
  ProducerId next_producer_{0};
};

// The .log files of a directory, by what their names say.
absl::StatusOr<std::map<SegmentFileName, std::filesystem::path>> LogFiles(
    const std::filesystem::path& directory);

}  // namespace cairn::storage
