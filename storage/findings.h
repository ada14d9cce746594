#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/status/status.h"

#include "storage/verify.h"

namespace cairn::storage {

// Collects and counts.
class Findings {
 public:
  explicit Findings(const OnFinding& on_finding, const OnProgress& on_progress = nullptr)
      : on_finding_(on_finding), on_progress_(on_progress) {}

  void Damage(const std::filesystem::path& file, std::int64_t position, std::string reason) {
    ++summary.damages;
    on_finding_({Finding::Severity::kDamage, file, position, std::move(reason)});
  }
  void Damage(const std::filesystem::path& file, std::int64_t position,
              const absl::Status& status) {
    Damage(file, position, std::string(status.message()));
  }
  void Note(const std::filesystem::path& file, std::int64_t position, std::string reason) {
    ++summary.notes;
    on_finding_({Finding::Severity::kNote, file, position, std::move(reason)});
  }

  // A segment was read.
  void Progress() const {
    if (on_progress_) on_progress_(summary);
  }

  VerifySummary summary;

 private:
  const OnFinding on_finding_;
  const OnProgress on_progress_;
};

}  // namespace cairn::storage
