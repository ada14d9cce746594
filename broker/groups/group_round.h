#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

#include "broker/groups/group_draft.h"
#include "broker/groups/group_table.h"
#include "broker/state/state_record.h"

namespace cairn::broker {

// What is decided together and becomes durable with one append: drafts of the groups concerned, and
// who waits for the outcome. Later decisions of a round see the earlier ones.
class GroupRound {
 public:
  using Done = absl::AnyInvocable<void(const absl::Status&)>;

  explicit GroupRound(const GroupTable& table) : table_(table) {}

  // As the round leaves it so far; nullptr: there is no such group.
  const Group* Find(std::string_view name) const;
  // The names of those that `wanted` says yes to, as the round leaves them so far.
  std::vector<std::string> FindAll(const std::function<bool(const Group&)>& wanted) const;
  GroupDraft& Draft(std::string_view name);
  // Called once, with no lock held, when the round's records are durable, or with why not.
  void OnDone(Done done) { done_.push_back(std::move(done)); }
  // What the group's members are to hold may have changed.
  void Reassign(std::string_view name) { reassigned_.emplace(name); }

  const std::set<std::string, std::less<>>& reassigned() const { return reassigned_; }
  std::vector<StateRecord> Records() const;
  // How large those are so far.
  std::size_t CountBytes();
  std::vector<Done> TakeDone() { return std::move(done_); }

 private:
  const GroupTable& table_;
  std::map<std::string, GroupDraft, std::less<>> drafts_;
  std::size_t bytes_ = 0;
  std::vector<GroupDraft*> not_counted_;  // they may have grown since
  std::set<std::string, std::less<>> reassigned_;
  std::vector<Done> done_;
};

}  // namespace cairn::broker
