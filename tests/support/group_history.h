#pragma once

#include <cstdint>
#include <string>
#include <vector>

// What the members of a consumer group were told during a run, and what the broker showed of the
// group meanwhile, for group_checker.h. The record at an offset carries that offset, so nothing is
// kept of what was sent but how much.
//
// Times are nanoseconds of the monotonic clock, the same one in all processes.
namespace cairn::test {

// One thing that a member was told. Written to a file as it stands, by processes that are killed.
struct GroupStep {
  enum class Kind : std::int32_t {
    kGained,     // the partition is its own from now on
    kRecord,     // the record at `offset` was handed out by a poll that began at `time`
    kCommitted,  // the broker acknowledged `offset`, or said it was there when it gave the
                 // partition
    kGivenUp,    // the partition is given up, in good order, a moment after `time`
    kTakenAway,  // it was lost some time before
  };

  std::int64_t time = 0;
  std::int64_t offset = -1;
  std::int32_t partition = 0;
  Kind kind = Kind::kRecord;

  friend bool operator==(const GroupStep&, const GroupStep&) = default;
};

struct GroupActor {
  std::string name;
  std::vector<GroupStep> steps;
  // It was stopped at some time: what it says of a moment may be said much later.
  bool was_paused = false;
};

// What a description of the group said of one partition.
struct GroupSight {
  std::int64_t invoked = 0;   // the description was asked for
  std::int64_t returned = 0;  // and was there
  std::int64_t epoch = 0;
  std::int64_t committed = -1;  // -1: nothing
  std::int32_t partition = 0;
  std::string owner;  // empty: nobody
};

struct GroupHistory {
  std::vector<GroupActor> actors;
  std::vector<GroupSight> sights;  // in the order in which they were asked for
  std::vector<std::int64_t> ends;  // [partition]: the records that were sent and acknowledged
};

}  // namespace cairn::test
