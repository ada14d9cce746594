#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

#include "protocol/types.h"

namespace cairn::broker {

// All that a member is to hold.
struct MemberAssignment {
  struct Partition {
    TopicPartition id;
    std::int64_t epoch = 0;
    Offset offset = kNoOffset;  // committed, when it was given out; kNoOffset: none
    LeaderEpoch leader_epoch = kNoEpoch;
  };

  std::uint64_t version = 0;  // counts the member's assignments, from 1
  std::vector<std::pair<TopicId, std::string>> topics;
  std::vector<Partition> partitions;
};

// The way to a member. Called from any thread, with no lock held, and does not wait; what is lost
// on the way is asked for again by the member's heartbeat.
class MemberSink {
 public:
  virtual ~MemberSink() = default;

  virtual void Assigned(const std::string& group, const MemberId& member,
                        const MemberAssignment& assignment) = 0;
  // The member is one no more.
  virtual void Ended(const std::string& group, const MemberId& member, const absl::Status& why) = 0;
};

}  // namespace cairn::broker
