#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/types.h"
#include "storage/batch_scan.h"
#include "storage/log.h"
#include "storage/segment_name.h"

namespace cairn::storage {

// What Log::Open does: finds out what of one log stands on disk, after a clean stop and after any
// other. The rules are those of FORMAT.md, "Recovery":
//
//   below the frontier's durable end   an invalid batch is damage: the file is left as it is and
//   the
//                                      log is offline from there on
//   at or above it                     a torn tail: saved in quarantine/ and cut, durably
//   the frontier is unreadable         cut only what no valid batch follows; otherwise damage
//   damage was found in a run before   that segment is read whole, sealed or not
//
// Used once, by one thread.
class LogRecovery {
 public:
  LogRecovery(Log& log, Timestamp now, RecoveryReport& report);
  absl::Status Run();

 private:
  enum class Outcome { kGoOn, kStop };

  absl::StatusOr<bool> OpenManifest();
  absl::Status ListFiles();
  absl::Status MendMeta();
  absl::Status ClearStrays();
  absl::StatusOr<bool> IsLeftover(const SegmentFileName& name,
                                  const std::vector<ManifestSegment>& dropped);
  absl::StatusOr<Outcome> TakeSealed(const ManifestSegment& segment, bool is_last);
  absl::StatusOr<Outcome> TakeUnsealed(const ManifestSegment& segment, std::optional<Offset> next);
  absl::StatusOr<Outcome> ScanTail(const ManifestSegment& segment, const File& file,
                                   std::int64_t size, std::optional<Offset> next);
  absl::StatusOr<Outcome> Torn(const ManifestSegment& segment, const File& file, std::int64_t size,
                               const BatchScan& scan);
  absl::Status Cut(const File& file, std::int64_t position, std::int64_t size, Offset from);
  absl::Status DropFrom(Offset base);
  absl::Status PutAway(const ManifestSegment& segment);
  absl::Status DropEmptyLast();
  absl::Status LookAgain(const ManifestSegment& segment);
  absl::Status ForgetDamaged();
  Outcome Offline(Offset from, const absl::Status& what);
  void Add(const ManifestSegment& segment, Offset next, std::int64_t length, Timestamp modified);
  absl::Status CheckFirstBatch(const ManifestSegment& segment, const File& file);
  absl::Status FinishEnds();
  void RaiseEpoch();
  absl::Status MakeDurable();
  absl::Status RebuildProducers();
  absl::Status ApplyProducers(Segment& segment, Offset from,
                              const std::optional<DurableEnd>& snapshot);
  bool NeedsSync() const;
  bool IsBelowFrontier(Offset offset) const;
  std::filesystem::path PathOf(const ManifestSegment& segment) const;
  std::string FileName(const SegmentFileName& file) const;

  Log& log_;
  const Timestamp now_;
  RecoveryReport& report_;
  const bool knows_frontier_;
  const bool was_clean_;
  const std::optional<DurableEnd> durable_;
  std::set<SegmentFileName> files_;       // the .log files that are there
  std::set<SegmentFileName> unfinished_;  // what compaction was writing
  bool has_damaged_list_ = false;         // of damage that was found in a run before
  Offset expected_;                       // where the next segment begins
  bool changed_ = false;                  // something was found or done that may not be durable yet
};

}  // namespace cairn::storage
