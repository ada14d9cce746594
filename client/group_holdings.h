#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/options.h"
#include "protocol/types.h"

namespace cairn::client {

// A place in a partition: the next record to read, and the epoch of the one before it.
struct GroupPosition {
  Offset offset = kNoOffset;  // kNoOffset: none
  LeaderEpoch epoch = kNoEpoch;

  friend auto operator<=>(const GroupPosition&, const GroupPosition&) = default;
};

// A partition as the broker gives it to a member.
struct GivenPartition {
  TopicPartition id;
  std::string topic;
  std::int64_t epoch = 0;   // of the assignment: for commits and for the release
  GroupPosition committed;  // where to begin
};

// What a member of a group holds and what has been done with it: how far each partition was handed
// out, how far it was processed, what is committed and what is to be committed next.
//
// Pure: no socket, clock or lock. Threads: one at a time.
class GroupHoldings {
 public:
  // ---- assignments ----

  struct Change {
    std::vector<TopicPartition> lost;
    std::vector<GivenPartition> gained;

    bool empty() const { return lost.empty() && gained.empty(); }
  };
  // From what is held to what was given. What is held under another epoch is lost and gained.
  // What comes back under the epoch that it was let go of is gained where it was left: the broker
  // may not have known of the last commits yet.
  Change Compare(const std::vector<GivenPartition>& given) const;

  void Gain(const GivenPartition& given);
  // Not held any more, by the member's own will.
  void Release(const std::vector<TopicPartition>& partitions);
  // Nothing is held any more: the session has ended.
  void LoseAll();

  bool empty() const { return held_.empty(); }
  bool holds(const TopicPartition& id) const { return held_.contains(id); }
  // Held partitions, by topic and number.
  std::vector<TopicPartition> all() const;
  std::vector<GroupPartition> names(const std::vector<TopicPartition>& partitions) const;
  std::optional<TopicPartition> Find(std::string_view topic, PartitionIndex partition) const;

  // ---- progress ----

  // Everything before `position` has been handed out, or is not wanted.
  void HandOut(const TopicPartition& id, GroupPosition position);
  // [from, to) was gone before it could be handed out.
  void Trim(const TopicPartition& id, Offset from, Offset to);
  // The application has finished what was handed out.
  void Finish();

  // ---- commits ----

  struct Commit {
    TopicPartition id;
    std::int64_t epoch = 0;  // of the assignment
    GroupPosition position;
    std::int64_t trimmed = 0;
  };
  // What is processed and neither committed nor on its way, and not below what is committed. It
  // counts as on its way now.
  std::vector<Commit> TakeDue();
  std::vector<Commit> TakeDue(const std::vector<TopicPartition>& partitions);
  // Whether TakeDue has something to give.
  bool has_due() const;
  // A commit on demand; nothing: not held. `position` without an epoch gets it from what was
  // handed out, if it ends there. Counts as processed.
  std::optional<Commit> TakeCommit(const TopicPartition& id, GroupPosition position);

  // A commit was answered. One that was not done is due again, unless it was refused for good.
  enum class Outcome { kDone, kRefused, kNotDone };
  void Answered(const Commit& commit, Outcome outcome);

  // kNoOffset: none.
  GroupPosition committed(const TopicPartition& id) const;

 private:
  struct Holding {
    std::string topic;
    std::int64_t epoch = 0;
    GroupPosition handed_out, processed, committed, asked;  // asked: the last commit on its way
    // To go with the next commit that is not below: the broker counts no more trimmed records than
    // the commit moves on, so that one that it is sent twice counts once.
    std::int64_t trimmed = 0;
    Offset trimmed_to = kNoOffset;
  };
  static bool MayFollow(const GroupPosition& position, const GroupPosition& committed);
  static bool IsDue(const Holding& holding);
  static Commit Take(const TopicPartition& id, Holding& holding, GroupPosition position);

  std::map<TopicPartition, Holding> held_;
  struct Left {
    std::int64_t epoch = 0;
    GroupPosition asked;
  };
  std::map<TopicPartition, Left> left_;  // where partitions were let go of
  bool unfinished_ = false;              // something was handed out since the last Finish
};

}  // namespace cairn::client
