#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "client/admin.h"
#include "tools/cairn/offset_csv.h"
#include "tools/cairn/reset_options.h"
#include "tools/cairn/reset_plan.h"

namespace cairn::tools {

// What must be known to plan the resets of a task: asks the broker, once about each topic, and
// reads the file.
//
// Threads: one.
class ResetFacts {
 public:
  // Borrows the task.
  ResetFacts(client::Admin admin, const ResetTask& task) : admin_(std::move(admin)), task_(task) {}

  // Before all else.
  //   kNotFound         the group of kGroup is not there
  //   kInvalidArgument  the file is wrong; names line and field
  absl::Status Prepare();

  // The groups of the task: those named, or all there are, or all that the file names.
  absl::StatusOr<std::vector<std::string>> Groups();

  struct OfGroup {
    std::vector<ResetPartition> partitions;           // in scope
    bool is_held = false;                             // one of them, by a member
    std::optional<client::GroupResetSummary> undone;  // kUndo
    // Why the reset cannot be made, or what to know besides; for people.
    std::vector<std::string> errors, warnings;
  };
  // The topic's id, when Prepare looked.
  std::optional<TopicId> IdOf(const std::string& topic) const;

  // A group that is not there has no commits.
  absl::StatusOr<OfGroup> Find(const std::string& group);

 private:
  using Given = std::map<std::pair<std::string, PartitionIndex>, std::optional<Offset>>;
  struct Wanted {
    TopicScopes scopes;
    Given given;
  };

  absl::StatusOr<client::GroupDescription> Describe(const std::string& group);
  Wanted WantedOf(const client::GroupDescription& group) const;
  Wanted WantedByFile(const std::string& group) const;
  Wanted WantedByGroup() const;
  absl::Status AddTopic(const std::string& topic, const std::set<PartitionIndex>& partitions,
                        OfGroup& facts);
  absl::Status AddUndo(const client::GroupDescription& group, OfGroup& facts);
  absl::StatusOr<const std::vector<client::OffsetsOfPartition>*> Offsets(const std::string& topic);
  absl::Status CheckFileGroups() const;

  client::Admin admin_;
  const ResetTask& task_;
  std::map<TopicId, std::string> names_;
  std::map<std::string, TopicId> ids_;
  std::vector<OffsetLine> lines_;     // kFile
  client::GroupDescription example_;  // kGroup
  std::map<std::string, absl::StatusOr<std::vector<client::OffsetsOfPartition>>> offsets_;
};

}  // namespace cairn::tools
