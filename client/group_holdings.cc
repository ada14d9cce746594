#include "client/group_holdings.h"

#include <algorithm>
#include <set>
#include <utility>

namespace cairn::client {

// ---- assignments ----

GroupHoldings::Change GroupHoldings::Compare(const std::vector<GivenPartition>& given) const {
  Change change;
  std::set<TopicPartition> kept;
  for (const GivenPartition& partition : given) {
    const auto held = held_.find(partition.id);
    if (held != held_.end() && held->second.epoch == partition.epoch) {
      kept.insert(partition.id);
      continue;
    }
    GivenPartition& gained = change.gained.emplace_back(partition);
    const auto left = left_.find(partition.id);
    if (left == left_.end() || left->second.epoch != partition.epoch) continue;
    if (MayFollow(left->second.asked, gained.committed)) gained.committed = left->second.asked;
  }
  for (const auto& [id, holding] : held_) {
    if (!kept.contains(id)) change.lost.push_back(id);
  }
  return change;
}

void GroupHoldings::Gain(const GivenPartition& given) {
  left_.erase(given.id);
  Holding& holding = held_[given.id];
  holding = Holding();
  holding.topic = given.topic;
  holding.epoch = given.epoch;
  holding.handed_out = holding.processed = holding.committed = holding.asked = given.committed;
}

void GroupHoldings::Release(const std::vector<TopicPartition>& partitions) {
  for (const TopicPartition& id : partitions) {
    const auto held = held_.find(id);
    if (held == held_.end()) continue;
    left_[id] = {held->second.epoch, held->second.asked};
    held_.erase(held);
  }
}

void GroupHoldings::LoseAll() {
  held_.clear();
  left_.clear();
  unfinished_ = false;
}

std::vector<TopicPartition> GroupHoldings::all() const {
  std::vector<TopicPartition> partitions;
  partitions.reserve(held_.size());
  for (const auto& [id, holding] : held_) partitions.push_back(id);
  return partitions;
}

std::vector<GroupPartition> GroupHoldings::names(
    const std::vector<TopicPartition>& partitions) const {
  std::vector<GroupPartition> names;
  for (const TopicPartition& id : partitions) {
    const auto held = held_.find(id);
    if (held != held_.end()) names.push_back({held->second.topic, id.partition});
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<TopicPartition> GroupHoldings::Find(std::string_view topic,
                                                  PartitionIndex partition) const {
  for (const auto& [id, holding] : held_) {
    if (id.partition == partition && holding.topic == topic) return id;
  }
  return std::nullopt;
}

// ---- progress ----

void GroupHoldings::HandOut(const TopicPartition& id, GroupPosition position) {
  const auto held = held_.find(id);
  if (held == held_.end()) return;
  held->second.handed_out = position;
  unfinished_ = true;
}

void GroupHoldings::Trim(const TopicPartition& id, Offset from, Offset to) {
  const auto held = held_.find(id);
  if (held == held_.end() || to <= from) return;
  held->second.trimmed += to - from;
  held->second.trimmed_to = to;
}

void GroupHoldings::Finish() {
  if (!std::exchange(unfinished_, false)) return;
  for (auto& [id, holding] : held_) holding.processed = holding.handed_out;
}

// ---- commits ----

// The broker's rule: never back, unless a power cut took back what was committed. Whoever seeks
// back meets lower epochs; without an epoch nothing is known.
bool GroupHoldings::MayFollow(const GroupPosition& position, const GroupPosition& committed) {
  if (position.offset >= committed.offset) return position.offset > committed.offset;
  return committed.epoch != kNoEpoch && position.epoch > committed.epoch;
}

bool GroupHoldings::IsDue(const Holding& holding) {
  if (holding.processed.offset == kNoOffset) return false;
  return MayFollow(holding.processed, holding.asked);
}

GroupHoldings::Commit GroupHoldings::Take(const TopicPartition& id, Holding& holding,
                                          GroupPosition position) {
  if (MayFollow(position, holding.asked)) holding.asked = position;
  const bool is_past = position.offset >= holding.trimmed_to;
  return {id, holding.epoch, position, is_past ? std::exchange(holding.trimmed, 0) : 0};
}

std::vector<GroupHoldings::Commit> GroupHoldings::TakeDue() {
  std::vector<Commit> due;
  for (auto& [id, holding] : held_) {
    if (IsDue(holding)) due.push_back(Take(id, holding, holding.processed));
  }
  return due;
}

std::vector<GroupHoldings::Commit> GroupHoldings::TakeDue(
    const std::vector<TopicPartition>& partitions) {
  std::vector<Commit> due;
  for (const TopicPartition& id : partitions) {
    const auto held = held_.find(id);
    if (held == held_.end() || !IsDue(held->second)) continue;
    due.push_back(Take(id, held->second, held->second.processed));
  }
  return due;
}

bool GroupHoldings::has_due() const {
  return std::any_of(held_.begin(), held_.end(),
                     [](const auto& held) { return IsDue(held.second); });
}

std::optional<GroupHoldings::Commit> GroupHoldings::TakeCommit(const TopicPartition& id,
                                                               GroupPosition position) {
  const auto held = held_.find(id);
  if (held == held_.end()) return std::nullopt;
  Holding& holding = held->second;
  if (position.epoch == kNoEpoch && position.offset == holding.handed_out.offset) {
    position.epoch = holding.handed_out.epoch;
  }
  if (position.offset > holding.processed.offset) holding.processed = position;
  return Take(id, holding, position);
}

void GroupHoldings::Answered(const Commit& commit, Outcome outcome) {
  const auto held = held_.find(commit.id);
  if (held == held_.end() || held->second.epoch != commit.epoch) return;
  Holding& holding = held->second;
  if (outcome == Outcome::kDone) {
    // Answers may come out of order.
    if (MayFollow(commit.position, holding.committed)) holding.committed = commit.position;
    return;
  }
  holding.trimmed += commit.trimmed;
  // What was asked for since speaks for itself.
  if (outcome == Outcome::kNotDone && holding.asked == commit.position) {
    holding.asked = holding.committed;
  }
}

GroupPosition GroupHoldings::committed(const TopicPartition& id) const {
  const auto held = held_.find(id);
  return held == held_.end() ? GroupPosition() : held->second.committed;
}

}  // namespace cairn::client
