#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "protocol/types.h"

namespace cairn::broker {

// How partitions are shared among a group's members. The numbers stand in records and on the wire.
enum class Assignor : std::uint8_t {
  kStickyUniform = 0,  // as even as can be, with as few moves as that takes
  kRange = 1,          // of each topic, neighbours go to one member; moves more
};

// A member as an assignor sees it: which topics it reads. Members are known by their place in the
// list, whose order decides where there is a choice.
struct AssignedMember {
  std::vector<TopicId> topics;  // sorted, each once
};

struct AssignedTopic {
  TopicId id;
  std::int32_t partitions = 0;
};

// The place of a member in the list; kNobody: no member reads the topic.
using MemberIndex = std::int32_t;
inline constexpr MemberIndex kNobody = -1;

using Assignment = std::map<TopicPartition, MemberIndex>;

// Who is to hold which partition: each partition of each topic stands in the result, with one of
// the members that read its topic, or nobody if there are none.
//
// `before` says who was to hold a partition so far, as far as those members are still there; other
// partitions and members may stand in it and count for nothing.
//
// kStickyUniform: no member has two partitions more than another one that could take one of them.
// Of all such assignments it is one in which a partition leaves a member only if the balance asks
// for it: where all members read the same topics, the number of moves is the least possible.
//
// kRange: the readers of a topic, in their order, get its partitions in order, the first of them
// one more where they do not divide evenly, as Kafka's RangeAssignor has it; `before` counts for
// nothing.
//
// Topics are sorted by id, each once. Pure: the same arguments give the same result.
Assignment Assign(Assignor assignor, std::span<const AssignedMember> members,
                  std::span<const AssignedTopic> topics, const Assignment& before);

}  // namespace cairn::broker
