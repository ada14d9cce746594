#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "protocol/types.h"
#include "storage/file.h"
#include "storage/verify.h"

namespace cairn::storage {

// One thing that a repair does. Truth is never removed: what goes, goes to quarantine/.
struct RepairStep {
  enum class Kind {
    kMove,   // the file or directory goes to quarantine/
    kCut,    // the file ends at `position`; what stood behind it, but zeros, goes to quarantine/
    kWrite,  // the file is `contents` from now on; what it was is saved in quarantine/
  };
  Kind kind = Kind::kMove;
  std::string entry;  // in the data directory: "orders-0/manifest"
  std::int64_t position = 0;
  std::int64_t bytes = 0;  // that are moved, cut or written
  Bytes contents = {};
  std::string why;
};

// Records [from, end) of one partition cannot be served any more.
struct LostRange {
  std::string directory;  // "orders-0"
  Offset from;
  Offset end;
};

struct RepairPlan {
  std::vector<RepairStep> steps;  // in this order
  std::vector<LostRange> lost;
  std::vector<std::string> remarks;  // for people: what could not be known, or is left to them
};

// Makes a data directory whole again, so that a broker starts on it and serves all that can be
// saved. Plan only looks; Execute does what a plan says, and may be interrupted at any step: the
// next plan goes on from there. FORMAT.md, "Repair", has the rules.
//
// Threads: one.
class Repair {
 public:
  // Takes the lock, until this is destroyed. `path` is a data directory, or one partition's in it:
  // then only that one is mended.
  //   kFailedPrecondition  it is in use (names the process), or was written by a newer program
  //   kNotFound            there is no such directory, or none of ours (quarantine/, say)
  static absl::StatusOr<std::unique_ptr<Repair>> Open(const std::filesystem::path& path);

  // Reads everything.
  absl::StatusOr<RepairPlan> Plan(const OnProgress& on_progress = nullptr) const;
  // Durable when it returns. `on_step` is called before each step.
  absl::Status Execute(const RepairPlan& plan,
                       const std::function<void(const RepairStep&)>& on_step = nullptr) const;

  const std::filesystem::path& data_dir() const { return data_dir_; }

 private:
  Repair() = default;
  absl::Status PlanRequest(RepairPlan& plan) const;
  absl::Status Cut(const RepairStep& step) const;

  std::filesystem::path data_dir_;
  std::string only_;  // empty: all partitions
  File lock_;
};

}  // namespace cairn::storage
