#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "broker/groups/group_round.h"
#include "broker/groups/group_topics.h"
#include "broker/groups/member_sink.h"
#include "broker/groups/session_count.h"
#include "broker/partitions/partition.h"
#include "broker/runtime/append_clock.h"
#include "broker/state/state_topic.h"

namespace cairn::broker {

class HelperPool;

// The groups of one partition of `__consumer_offsets`, while they run: takes what members ask for,
// decides it in rounds, one append each, and tells members what they hold.
//
//   asked ──► queue ──► a round: drafts ──► append ──► durable: applied, answered, pushed
//                         ▲  one at a time; what comes meanwhile waits for the next one  │
//                         └──────────────────────────────────────────────────────────────┘
//
// What is asked of one group takes effect in the order in which it was asked. Sessions and a reset
// that waits for its members are not remembered over a restart: members are given their session
// anew, and the reset has failed.
//
// Threads: any. `done` is called exactly once, with no lock held, from whatever thread ends the
// round: a helper's mostly, but also that of whoever asks, for itself or for others that wait.
class GroupShard : public std::enable_shared_from_this<GroupShard> {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;
  using Done = absl::AnyInvocable<void(absl::Status)>;

  // What it is built upon; all of it outlives the shard.
  struct Rooms {
    HelperPool& helpers;
    TopicsForGroups& topics;
    AppendClock& clock;
    SessionCount& sessions;  // of all shards
  };
  GroupShard(Rooms rooms, std::shared_ptr<Partition> partition);

  // Reads the log, gives every member a session that begins now, forgets topics that are no more
  // and gives out what was left free. Once, before anything else; may wait for the disk.
  //   errors of StateTopic::Replay; then every request is refused with it
  absl::Status Start(SteadyTime now);

  // From now on requests may come: the sessions of those that were members before begin again.
  void RestartSessions(SteadyTime now);

  struct JoinRequest {
    std::string group;
    MemberId member;
    GroupMember row;
    Assignor assignor = Assignor::kStickyUniform;
    bool rejoins = false;  // it was a member before: it takes over nobody's instance id
    std::shared_ptr<MemberSink> sink;
  };
  using Joined = absl::AnyInvocable<void(absl::StatusOr<bool>)>;  // whether it is new
  // An assignment follows through the sink.
  //   ErrorCode::kFencedInstance    the member's instance id has another member by now
  //   ErrorCode::kTooManyInFlight   the group has kGroupMembersMax members
  void Join(JoinRequest request, Joined done);

  // Keeps the session, and pushes the assignment again if `version` is not its last.
  //   ErrorCode::kUnknownMember, kFencedInstance
  absl::Status Heartbeat(const std::string& group, const MemberId& member, std::uint64_t version,
                         const std::shared_ptr<MemberSink>& sink, SteadyTime now);

  // Of what it was given, the member holds no more than its assignment of that version says, and
  // `keeps`. Of an older version it is no news.
  //   ErrorCode::kUnknownMember, kFencedInstance
  void Release(const std::string& group, const MemberId& member, std::uint64_t version,
               std::vector<HeldPartition> keeps, Done done);
  // Of one who is no member: OK.
  void Leave(const std::string& group, const MemberId& member, Done done);

  // A code for each commit: those of GroupDraft::CheckCommit, kUnknownTopic, kUnknownPartition.
  using Committed = absl::AnyInvocable<void(absl::StatusOr<std::vector<ErrorCode>>)>;
  void Commit(const std::string& group, const MemberId& member, std::vector<OffsetCommit> commits,
              Committed done);

  //   ErrorCode::kUnknownGroup, kGroupNotEmpty
  void Delete(const std::string& group, Done done);

  struct ResetRequest {
    std::string group;
    std::vector<OffsetChange> changes;  // old offsets are filled in
    std::string what;
    std::int64_t undoes = 0;
    bool force = false;
    std::chrono::milliseconds timeout{0};
    // True: who asked has gone, so that nobody wants it any more. Null: nobody who could go.
    std::shared_ptr<const std::atomic<bool>> asker_left;
  };
  struct ResetDone {
    std::int64_t number = 0;
    std::vector<OffsetChange> changes;
  };
  using OnReset = absl::AnyInvocable<void(absl::StatusOr<ResetDone>)>;
  // Waits until those who hold one of the partitions have let go, and moves all offsets at once. It
  // belongs to who asked: once that one has left, nothing is moved.
  //   ErrorCode::kResetUnderWay     another one waits
  //   ErrorCode::kUnknownTopic, kUnknownPartition, kInvalidRequest
  //   ErrorCode::kTimedOut          somebody still holds one, or nobody waits for it any more;
  //                                 nothing has changed
  void Reset(ResetRequest request, OnReset done);

  // A topic was created, altered or deleted.
  void TopicChanged(const TopicId& id, const std::string& name);

  // Ends sessions and resets whose time is over.
  void Expire(SteadyTime now);
  // The broker itself was held up: nobody could be heard of.
  void Forgive(std::chrono::steady_clock::duration held_up);

  // A moment's picture.
  struct Picture {
    Group group;
    bool resetting = false;
  };
  std::optional<Picture> Find(std::string_view group) const;
  std::vector<std::string> Names() const;
  const absl::Status& status() const { return status_; }

  // No more requests; those that wait are refused with why.
  void Stop(const absl::Status& why);

 private:
  using Task = absl::AnyInvocable<void(GroupRound&)>;

  // One member, as it is heard of.
  struct Session {
    SteadyTime deadline;
    std::shared_ptr<MemberSink> sink;  // nothing: not heard of since the start
    std::uint64_t version = 0;         // of the last assignment; goes on while the session lives
    bool is_told = false;              // of it, since it last joined
    bool is_ending = false;            // decided; a heartbeat does not help any more
    std::map<TopicPartition, std::int64_t> held;  // its partitions, with their epochs
  };
  struct PendingReset {
    ResetRequest request;
    OnReset done;
    SteadyTime deadline;
    bool deciding = false;  // a round takes it up

    bool is_wanted() const { return request.asker_left == nullptr || !*request.asker_left; }
  };
  // What of a group is not remembered.
  struct Live {
    std::map<MemberId, Session> sessions;
    std::deque<MemberId> fenced;  // so that they hear why; the last few
    std::optional<PendingReset> reset;
    std::set<TopicPartition> withheld;  // for the reset
  };
  struct Push {
    std::shared_ptr<MemberSink> sink;
    std::string group;
    MemberId member;
    MemberAssignment assignment;
  };
  struct Ending {
    std::shared_ptr<MemberSink> sink;
    std::string group;
    MemberId member;
    absl::Status why;
  };

  void Submit(Task task);
  void Run();
  void Finish(GroupRound& round, const absl::Status& status);
  void NoteWritten(const absl::Status& status);
  void Decide(GroupRound& round);
  absl::Status CheckMember(const GroupRound& round, const std::string& group,
                           const MemberId& member) const;
  void StartSession(const std::string& group, const MemberId& member,
                    std::shared_ptr<MemberSink> sink);
  void EndSession(const std::string& group, const MemberId& member, const absl::Status& why);
  void SetEnding(const std::string& group, const MemberId& member, bool is_ending);
  void Fence(const std::string& group, const MemberId& member);
  bool IsFenced(const std::string& group, const MemberId& member) const;
  void TakeInTopics(GroupRound& round, const std::string& name);
  void TellMembers(const std::string& name, std::vector<Push>& pushes);
  Push MakePush(const std::string& name, const MemberId& member, const Session& session,
                const Group& group) const;
  void DropIfIdle(const std::string& name);
  std::vector<HeldPartition> LetGo(const std::string& group, const MemberId& member,
                                   std::uint64_t version, const Group& row,
                                   const std::vector<HeldPartition>& keeps) const;
  void EndIfOver(GroupRound& round, const std::string& name, const MemberId& member);

  // group_reset.cc
  absl::Status CheckChanges(const ResetRequest& request) const;
  bool MayReset(const Group& group, const PendingReset& reset) const;
  void DecideReset(GroupRound& round, const std::string& name);
  void CancelReset(const std::string& name, const absl::Status& why);
  void EndReset(GroupRound& round, const std::string& name, const absl::Status& why);
  absl::Status WhyUnderWay(const std::string& name, const PendingReset& reset) const;
  absl::Status TookTooLong(const GroupRound& round, const std::string& name) const;
  void TryResets(const GroupRound& round);
  std::string HoldersOf(const Group& group, const PendingReset& reset) const;

  const Rooms rooms_;
  const std::shared_ptr<Partition> partition_;
  std::shared_ptr<StateTopic> state_;
  absl::Status status_;  // of Start

  mutable std::mutex mutex_;  // guards what follows
  GroupTable table_;
  std::map<std::string, Live, std::less<>> live_;
  std::deque<Task> queue_;
  bool running_ = false;
  bool failing_ = false;  // the last append did
  absl::Status stopped_;
  std::vector<Ending> endings_;             // to be told after the round
  SteadyTime look_at_ = SteadyTime::max();  // no session and no reset is over before
};

}  // namespace cairn::broker
