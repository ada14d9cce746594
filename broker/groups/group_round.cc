#include "broker/groups/group_round.h"

namespace cairn::broker {

const Group* GroupRound::Find(std::string_view name) const {
  const auto draft = drafts_.find(name);
  if (draft == drafts_.end()) return table_.Find(name);
  return draft->second.group() == Group() ? nullptr : &draft->second.group();
}

std::vector<std::string> GroupRound::FindAll(
    const std::function<bool(const Group&)>& wanted) const {
  std::vector<std::string> names;
  for (const auto& [name, group] : table_.groups()) {
    if (!drafts_.contains(name) && wanted(group)) names.push_back(name);
  }
  for (const auto& [name, draft] : drafts_) {
    if (wanted(draft.group())) names.push_back(name);
  }
  return names;
}

GroupDraft& GroupRound::Draft(std::string_view name) {
  auto draft = drafts_.find(name);
  if (draft == drafts_.end()) {
    const std::string key(name);
    draft = drafts_.emplace(key, GroupDraft(key, table_.Find(name))).first;
  }
  not_counted_.push_back(&draft->second);
  return draft->second;
}

std::size_t GroupRound::CountBytes() {
  for (GroupDraft* draft : not_counted_) bytes_ += draft->TakeNewBytes();
  not_counted_.clear();
  return bytes_;
}

std::vector<StateRecord> GroupRound::Records() const {
  std::vector<StateRecord> records;
  for (const auto& [name, draft] : drafts_) {
    records.insert(records.end(), draft.records().begin(), draft.records().end());
  }
  return records;
}

}  // namespace cairn::broker
