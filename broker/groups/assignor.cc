#include "broker/groups/assignor.h"

#include <algorithm>
#include <set>
#include <utility>

namespace cairn::broker {
namespace {

bool Reads(const AssignedMember& member, const TopicId& topic) {
  return std::binary_search(member.topics.begin(), member.topics.end(), topic);
}

std::vector<MemberIndex> ReadersOf(std::span<const AssignedMember> members, const TopicId& topic) {
  std::vector<MemberIndex> readers;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (Reads(members[i], topic)) readers.push_back(static_cast<MemberIndex>(i));
  }
  return readers;
}

Assignment AssignRanges(std::span<const AssignedMember> members,
                        std::span<const AssignedTopic> topics) {
  Assignment result;
  for (const AssignedTopic& topic : topics) {
    const std::vector<MemberIndex> readers = ReadersOf(members, topic.id);
    const auto count = static_cast<std::int32_t>(readers.size());
    std::int32_t next = 0;
    for (std::int32_t i = 0; i < count; ++i) {
      const std::int32_t share = topic.partitions / count + (i < topic.partitions % count ? 1 : 0);
      for (std::int32_t j = 0; j < share; ++j, ++next) {
        result[{topic.id, PartitionIndex(next)}] = readers[static_cast<std::size_t>(i)];
      }
    }
    for (; next < topic.partitions; ++next) result[{topic.id, PartitionIndex(next)}] = kNobody;
  }
  return result;
}

// Shares partitions out evenly, step by step: keeps what may stay, gives what is free to the least
// laden reader, then moves single partitions from laden members to less laden ones until no such
// move helps.
//
// Such a move may lead through others: A (3) and C (1) read no topic in common, but A gives one to
// B, and B one to C. So it looks for the shortest path of moves that ends two below where it began.
class Balancing {
 public:
  Balancing(std::span<const AssignedMember> members, std::span<const AssignedTopic> topics)
      : members_(members), topics_(topics), held_(members.size()), load_(members.size(), 0) {
    for (const AssignedTopic& topic : topics) readers_[topic.id] = ReadersOf(members, topic.id);
  }

  Assignment Run(const Assignment& before) {
    Keep(before);
    GiveOutFree();
    for (std::size_t from = LadenToMove(); from < members_.size(); from = LadenToMove()) {
      MoveAlong(from);
    }
    return std::move(result_);
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  void Put(const TopicPartition& partition, std::size_t member) {
    result_[partition] = static_cast<MemberIndex>(member);
    held_[member][partition.topic].insert(partition.partition);
    ++load_[member];
  }

  void Take(const TopicPartition& partition, std::size_t member) {
    const auto held = held_[member].find(partition.topic);
    held->second.erase(partition.partition);
    if (held->second.empty()) held_[member].erase(held);
    --load_[member];
  }

  void Keep(const Assignment& before) {
    for (const AssignedTopic& topic : topics_) {
      const auto begin = before.lower_bound({topic.id, PartitionIndex(0)});
      for (auto it = begin; it != before.end() && it->first.topic == topic.id; ++it) {
        const auto member = static_cast<std::size_t>(it->second);
        if (it->second < 0 || member >= members_.size()) continue;
        if (it->first.partition.value() >= topic.partitions) break;
        if (Reads(members_[member], topic.id)) Put(it->first, member);
      }
    }
  }

  void GiveOutFree() {
    for (const AssignedTopic& topic : topics_) {
      const std::vector<MemberIndex>& readers = readers_[topic.id];
      std::set<std::pair<std::int64_t, MemberIndex>> by_load;
      for (const MemberIndex reader : readers) {
        by_load.emplace(load_[static_cast<std::size_t>(reader)], reader);
      }
      for (std::int32_t i = 0; i < topic.partitions; ++i) {
        const TopicPartition partition{topic.id, PartitionIndex(i)};
        if (result_.contains(partition)) continue;
        if (readers.empty()) {
          result_[partition] = kNobody;
          continue;
        }
        const auto [load, least] = *by_load.begin();
        by_load.erase(by_load.begin());
        by_load.emplace(load + 1, least);
        Put(partition, static_cast<std::size_t>(least));
      }
    }
  }

  // From every member at most once: who leads to it, and with which partition.
  struct Step {
    std::size_t from = kNone;
    TopicPartition with;
  };

  // The members that moves starting at `from` can reach, in order of their distance; steps_ knows
  // the way. A topic's readers are looked at once, whoever holds a partition of it.
  std::vector<std::size_t> Reach(std::size_t from) {
    steps_.assign(members_.size(), {});
    std::vector<bool> seen(members_.size(), false);
    std::set<TopicId> passed;
    std::vector<std::size_t> order{from};
    seen[from] = true;
    for (std::size_t i = 0; i < order.size(); ++i) {
      for (const auto& [topic, partitions] : held_[order[i]]) {
        if (!passed.insert(topic).second) continue;
        for (const MemberIndex reader : readers_[topic]) {
          const auto next = static_cast<std::size_t>(reader);
          if (seen[next]) continue;
          seen[next] = true;
          // The highest numbered goes, so that members keep what begins a topic.
          steps_[next] = {order[i], {topic, *partitions.rbegin()}};
          order.push_back(next);
        }
      }
    }
    return order;
  }

  // The most laden member from which a path leads to one with at least two partitions less; the end
  // of that path is target_.
  std::size_t LadenToMove() {
    std::vector<std::size_t> by_load(members_.size());
    for (std::size_t i = 0; i < by_load.size(); ++i) by_load[i] = i;
    std::stable_sort(by_load.begin(), by_load.end(),
                     [this](std::size_t a, std::size_t b) { return load_[a] > load_[b]; });
    std::set<std::size_t> hopeless;  // what they reach was searched, from a member more laden
    for (const std::size_t from : by_load) {
      if (hopeless.contains(from)) continue;
      const std::vector<std::size_t> reached = Reach(from);
      target_ = kNone;
      for (const std::size_t to : reached) {
        if (load_[to] + 2 <= load_[from] && (target_ == kNone || load_[to] < load_[target_])) {
          target_ = to;
        }
      }
      if (target_ != kNone) return from;
      hopeless.insert(reached.begin(), reached.end());
    }
    return members_.size();
  }

  void MoveAlong(std::size_t from) {
    for (std::size_t at = target_; at != from; at = steps_[at].from) {
      Take(steps_[at].with, steps_[at].from);
      Put(steps_[at].with, at);
    }
  }

  const std::span<const AssignedMember> members_;
  const std::span<const AssignedTopic> topics_;
  std::map<TopicId, std::vector<MemberIndex>> readers_;
  std::vector<std::map<TopicId, std::set<PartitionIndex>>> held_;  // by member
  std::vector<std::int64_t> load_;                                 // by member
  std::vector<Step> steps_;                                        // by member, of the last Reach
  std::size_t target_ = kNone;
  Assignment result_;
};

}  // namespace

Assignment Assign(Assignor assignor, std::span<const AssignedMember> members,
                  std::span<const AssignedTopic> topics, const Assignment& before) {
  if (assignor == Assignor::kRange) return AssignRanges(members, topics);
  return Balancing(members, topics).Run(before);
}

}  // namespace cairn::broker
