#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/types.h"
#include "storage/findings.h"
#include "storage/frontier.h"
#include "storage/log_options.h"
#include "storage/manifest.h"
#include "storage/partition_verifier.h"
#include "storage/repair.h"

namespace cairn::storage {

// What one partition's directory needs so that its log is whole up to where it was damaged: the
// rest is moved away, and the manifest says so. Only looks.
class PartitionRepair {
 public:
  // `identity` is what the directory is known to be; steps, losses and remarks go into `plan`.
  PartitionRepair(const std::filesystem::path& data_dir, LogIdentity identity,
                  const KnownOutside& known, Findings& findings, RepairPlan& plan);
  absl::Status Run();

  // What the frontier must say for it to be true; nothing: what it says already.
  const std::optional<DurableEnd>& new_end() const { return new_end_; }
  // Where the log ends, as far as it was read: for a frontier that is made anew.
  const DurableEnd& end() const { return end_; }
  LeaderEpoch last_epoch() const { return last_epoch_; }
  bool frontier_is_short() const { return frontier_is_short_; }
  ProducerId next_producer() const { return next_producer_; }
  bool lost_records() const { return lost_records_; }

 private:
  absl::StatusOr<Manifest::Contents> TakeManifest();
  absl::StatusOr<Manifest::Contents> RebuildManifest();
  absl::StatusOr<bool> IsContradicted(const SegmentFileName& name,
                                      const ManifestState& salvaged) const;
  absl::StatusOr<ManifestSegment> ReadSegment(const SegmentFileName& name, bool is_last,
                                              ManifestState& state) const;
  absl::StatusOr<SealedSegment> Extent(const ManifestSegment& segment, std::int64_t end) const;
  void MendMeta();
  absl::Status Mend(const PartitionVerifier& verifier);
  absl::Status WriteManifest();
  absl::Status CutAt(PartitionVerifier::Break at);
  void MoveStaleAway();
  void ForgetDamaged();
  bool IsMovedAway(const std::string& file) const;
  void MoveAway(const SegmentFileName& name, const std::string& why);
  void MoveAway(std::span<const SegmentFileName> names, const std::string& why);
  void Lose(Offset from, Offset end);
  Offset KnownEnd() const;
  void AddStep(RepairStep step) { plan_.steps.push_back(std::move(step)); }
  std::string Entry(const std::string& file) const { return directory_name_ + "/" + file; }

  const LogIdentity identity_;
  const std::string directory_name_;
  const std::filesystem::path directory_;
  KnownOutside known_;
  Findings& findings_;
  RepairPlan& plan_;

  std::optional<DurableEnd> durable_;
  std::string manifest_why_;  // why it is written anew; empty: it is not
  ManifestState before_;
  ManifestState state_;  // as it is to be
  DurableEnd end_;
  std::optional<DurableEnd> new_end_;
  LeaderEpoch last_epoch_{0};
  bool frontier_is_short_ = false;
  bool lost_records_ = false;
  ProducerId next_producer_{0};
};

}  // namespace cairn::storage
