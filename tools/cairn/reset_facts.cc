#include "tools/cairn/reset_facts.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/error_code.h"
#include "protocol/status.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

using Kind = ResetScenario::Kind;

absl::StatusOr<std::string> ReadFile(const std::string& name) {
  std::error_code unknown;
  if (std::filesystem::is_directory(name, unknown)) {
    return absl::NotFoundError(absl::StrFormat("%s cannot be read: it is a directory", name));
  }
  std::ifstream file(name == "-" ? "/dev/stdin" : name, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.is_open() && !file.bad()) return text;
  return absl::NotFoundError(absl::StrFormat("%s cannot be read: %s", name, std::strerror(errno)));
}

using Committed = std::map<std::pair<std::string, PartitionIndex>, Offset>;

Committed CommittedOf(const client::GroupDescription& group) {
  Committed committed;
  for (const client::GroupPartitionDescription& partition : group.partitions) {
    if (!partition.committed.has_value()) continue;
    committed.emplace(std::pair(partition.topic, partition.partition), *partition.committed);
  }
  return committed;
}

std::optional<Offset> FindIn(const Committed& committed, const std::string& topic,
                             PartitionIndex partition) {
  const auto found = committed.find({topic, partition});
  return found == committed.end() ? std::nullopt : std::optional(found->second);
}

// Whether a member holds one of the partitions.
bool IsHeld(const client::GroupDescription& group, const std::vector<ResetPartition>& partitions) {
  std::set<std::pair<std::string, PartitionIndex>> held;
  for (const client::GroupPartitionDescription& partition : group.partitions) {
    if (partition.owner.has_value()) held.emplace(partition.topic, partition.partition);
  }
  return std::any_of(partitions.begin(), partitions.end(), [&](const ResetPartition& partition) {
    return held.contains({partition.topic, partition.partition});
  });
}

std::string MovedOn(const client::GroupResetSummary& reset, std::size_t moved, std::size_t all) {
  return absl::StrFormat(
      "the group has moved on since reset %d: in %d of %d partitions CURRENT-OFFSET is not where "
      "that reset put it",
      reset.number, moved, all);
}

}  // namespace

absl::Status ResetFacts::Prepare() {
  ASSIGN_OR_RETURN(const auto topics, admin_.ListTopics());
  for (const client::TopicSummary& topic : topics) {
    names_[topic.id] = topic.name;
    ids_[topic.name] = topic.id;
  }
  if (task_.scenario.kind == Kind::kGroup) {
    ASSIGN_OR_RETURN(example_, admin_.DescribeGroup(task_.scenario.source));
  } else if (task_.scenario.kind == Kind::kFile) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(task_.scenario.source));
    ASSIGN_OR_RETURN(lines_, ParseOffsetCsv(text, task_.scenario.source));
    if (lines_.empty()) {
      return UsageError(absl::StrFormat("%s has no line with an offset", task_.scenario.source));
    }
    return CheckFileGroups();
  }
  return absl::OkStatus();
}

absl::Status ResetFacts::CheckFileGroups() const {
  if (!lines_.front().group.empty() || task_.groups.size() == 1) return absl::OkStatus();
  return UsageError(
      absl::StrFormat("%s names no groups, so it is for one; for several write "
                      "group,topic,partition,offset",
                      task_.scenario.source));
}

absl::StatusOr<std::vector<std::string>> ResetFacts::Groups() {
  if (!task_.groups.empty()) return task_.groups;
  std::set<std::string> names;
  for (const OffsetLine& line : lines_) names.insert(line.group);
  if (task_.scenario.kind != Kind::kFile) {
    ASSIGN_OR_RETURN(const auto groups, admin_.ListGroups());
    for (const client::GroupSummary& group : groups) names.insert(group.group);
  }
  return std::vector<std::string>(names.begin(), names.end());
}

std::optional<TopicId> ResetFacts::IdOf(const std::string& topic) const {
  const auto known = ids_.find(topic);
  return known == ids_.end() ? std::nullopt : std::optional(known->second);
}

absl::StatusOr<client::GroupDescription> ResetFacts::Describe(const std::string& group) {
  auto description = admin_.DescribeGroup(group);
  if (description.ok() || CodeOf(description.status()) != ErrorCode::kUnknownGroup) {
    return description;
  }
  client::GroupDescription empty;
  empty.group = group;
  return empty;
}

ResetFacts::Wanted ResetFacts::WantedByFile(const std::string& group) const {
  Wanted wanted;
  for (const OffsetLine& line : lines_) {
    if (!line.group.empty() && line.group != group) continue;
    if (!task_.topics.empty() && !InScope(task_.topics, line.topic, line.partition)) continue;
    wanted.scopes[line.topic].insert(line.partition);
    wanted.given[{line.topic, line.partition}] = line.offset;
  }
  return wanted;
}

ResetFacts::Wanted ResetFacts::WantedByGroup() const {
  Wanted wanted{task_.topics, {}};
  for (const auto& [place, offset] : CommittedOf(example_)) {
    wanted.given[place] = offset;
    if (task_.topics.empty()) wanted.scopes[place.first].insert(place.second);
  }
  return wanted;
}

ResetFacts::Wanted ResetFacts::WantedOf(const client::GroupDescription& group) const {
  if (task_.scenario.kind == Kind::kFile) return WantedByFile(group.group);
  if (task_.scenario.kind == Kind::kGroup) return WantedByGroup();
  Wanted wanted{task_.topics, {}};
  if (!wanted.scopes.empty()) return wanted;
  for (const client::GroupPartitionDescription& partition : group.partitions) {
    // Of all topics only what can be shifted is, as in Kafka; a topic that was named must be.
    if (task_.scenario.kind == Kind::kShift && !partition.committed.has_value()) continue;
    wanted.scopes[partition.topic].insert(partition.partition);
  }
  return wanted;
}

absl::StatusOr<const std::vector<client::OffsetsOfPartition>*> ResetFacts::Offsets(
    const std::string& topic) {
  const bool timed = task_.scenario.kind == Kind::kTime;
  auto known = offsets_.find(topic);
  if (known == offsets_.end()) {
    auto found = admin_.Offsets(topic, timed ? std::optional(task_.scenario.time) : std::nullopt);
    known = offsets_.emplace(topic, std::move(found)).first;
  }
  RETURN_IF_ERROR(known->second.status());
  return &*known->second;
}

absl::Status ResetFacts::AddTopic(const std::string& topic,
                                  const std::set<PartitionIndex>& partitions, OfGroup& facts) {
  const auto offsets = Offsets(topic);
  if (CodeOf(offsets.status()) == ErrorCode::kUnknownTopic) {
    facts.errors.emplace_back(offsets.status().message());
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(offsets.status());
  const auto count = static_cast<std::int32_t>((*offsets)->size());
  for (const client::OffsetsOfPartition& found : **offsets) {
    if (!partitions.empty() && !partitions.contains(found.partition)) continue;
    ResetPartition& partition = facts.partitions.emplace_back();
    partition.topic = topic;
    partition.partition = found.partition;
    partition.status = found.status;
    partition.log_start = found.log_start;
    partition.log_end = found.committed_end;
    if (found.timestamp.has_value()) partition.at_time = found.offset;
  }
  for (const PartitionIndex wanted : partitions) {
    if (wanted < PartitionIndex(count)) continue;
    ResetPartition& partition = facts.partitions.emplace_back();
    partition.topic = topic;
    partition.partition = wanted;
    partition.status = absl::NotFoundError(
        absl::StrFormat("the topic has no such partition, only 0 to %d", count - 1));
  }
  return absl::OkStatus();
}

// What the last reset replaced goes back as it was, wherever the log begins and ends by now.
absl::Status ResetFacts::AddUndo(const client::GroupDescription& group, OfGroup& facts) {
  ASSIGN_OR_RETURN(const client::GroupResetDescription last, admin_.DescribeReset(group.group, 0));
  facts.undone = last.summary;
  for (const client::GroupResetSummary& reset : group.resets) {
    if (reset.number <= last.summary.number || reset.undone_by != 0 || reset.undoes != 0) continue;
    facts.warnings.push_back(absl::StrFormat("reset %d (%s) is left out: its topics were deleted",
                                             reset.number, reset.what));
  }
  const Committed committed = CommittedOf(group);
  std::size_t moved_on = 0;
  for (const client::GroupOffsetChange& change : last.changes) {
    const auto name = names_.find(change.topic);
    if (name == names_.end()) {
      facts.warnings.push_back(absl::StrFormat(
          "partition %d of a topic that was deleted since is left out", change.partition.value()));
      continue;
    }
    ResetPartition& partition = facts.partitions.emplace_back();
    partition.topic = name->second;
    partition.partition = change.partition;
    partition.committed = FindIn(committed, name->second, change.partition);
    partition.given = change.old_offset;
    if (partition.committed != change.new_offset) ++moved_on;
  }
  if (moved_on > 0) {
    facts.warnings.push_back(MovedOn(last.summary, moved_on, facts.partitions.size()));
  }
  return absl::OkStatus();
}

absl::StatusOr<ResetFacts::OfGroup> ResetFacts::Find(const std::string& group) {
  ASSIGN_OR_RETURN(const client::GroupDescription description, Describe(group));
  OfGroup facts;
  if (task_.scenario.kind == Kind::kUndo) {
    RETURN_IF_ERROR(AddUndo(description, facts));
  } else {
    const Wanted wanted = WantedOf(description);
    for (const auto& [topic, partitions] : wanted.scopes) {
      RETURN_IF_ERROR(AddTopic(topic, partitions, facts));
    }
    const Committed committed = CommittedOf(description);
    for (ResetPartition& partition : facts.partitions) {
      partition.committed = FindIn(committed, partition.topic, partition.partition);
      const auto given = wanted.given.find({partition.topic, partition.partition});
      if (given != wanted.given.end()) partition.given = given->second;
    }
  }
  if (task_.groups.empty() && task_.scenario.kind == Kind::kShift) {
    // Of all groups, those that can be shifted.
    std::erase_if(facts.partitions, [](const ResetPartition& partition) {
      return partition.status.ok() && !partition.committed.has_value();
    });
  }
  facts.is_held = IsHeld(description, facts.partitions);
  std::sort(facts.partitions.begin(), facts.partitions.end(),
            [](const ResetPartition& a, const ResetPartition& b) {
              return std::tie(a.topic, a.partition) < std::tie(b.topic, b.partition);
            });
  return facts;
}

}  // namespace cairn::tools
