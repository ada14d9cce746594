#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "client/consumer.h"
#include "client/core.h"
#include "client/group_holdings.h"
#include "client/group_session.h"

namespace cairn::client {

//   kInvalidArgument  names the option that cannot be
absl::Status CheckGroupOptions(const GroupOptions& options);

// A consumer's part in its group, as the application's thread sees it: brings what the session
// heard into effect, step by step within Poll, and commits.
//
// Threads: the application's.
class GroupMember {
 public:
  using Clock = std::chrono::steady_clock;

  // What the consumer does for its member.
  class Reading {
   public:
    virtual ~Reading() = default;
    virtual void Begin(const GivenPartition& given) = 0;
    virtual void End(const TopicPartition& id) = 0;
    // Waits until there is news of the session, or until then.
    virtual void AwaitNews(Clock::time_point until) = 0;
  };

  // `wake`: any thread; there is news, or there may be.
  GroupMember(std::shared_ptr<Core> core, const GroupOptions& options, Reading& reading,
              std::function<void()> wake);

  void Subscribe(std::vector<std::string> topics);

  // ---- within Poll ----

  // Poll is called: what it handed out before is finished.
  void EnterPoll();
  void LeavePoll();
  // Brings what was heard into effect. An error is Poll's.
  absl::Status Step();
  // Whether records may be handed out: nobody else can have been given what is held.
  bool sure() const { return BootClock::now() < sure_until_; }
  // When Step has something to do, though there is no news.
  Clock::time_point due_at() const;
  bool calling_back() const { return calling_back_; }

  GroupHoldings& holdings() { return holdings_; }

  // ---- commits ----

  absl::Status Commit(Duration timeout);
  absl::Status Commit(const std::vector<OffsetToCommit>& offsets, Duration timeout);
  void CommitAsync(OnCommitted done);
  void CommitAsync(const std::vector<OffsetToCommit>& offsets, OnCommitted done);
  std::optional<Offset> Committed(const TopicPartition& id) const;

  absl::Status Close(Duration timeout);
  // Close without waiting and without calling anybody.
  void Abandon();

 private:
  struct Pending {
    std::vector<GroupHoldings::Commit> commits;
    std::vector<CommittedPartition> partitions;  // first as many as commits, then refused ones
    OnCommitted done;
    bool automatic = false;
  };

  void Apply(const GroupSession::Assignment& assignment);
  void GiveUp(const std::vector<TopicPartition>& lost);
  void LoseAll();
  void TellLost(const std::vector<GroupPartition>& lost, LostHow how);
  void TellGained(const std::vector<GroupPartition>& gained);

  void CommitDue(const std::vector<GroupHoldings::Commit>& due);
  std::uint64_t Send(Pending pending, std::vector<std::string> metadata);
  Pending PendingOf(const std::vector<GroupHoldings::Commit>& commits) const;
  std::uint64_t SendOffsets(const std::vector<OffsetToCommit>& offsets, OnCommitted done);
  void Refuse(Pending& pending, const OffsetToCommit& offset, const absl::Status& why) const;
  void TakeAnswers(std::vector<GroupSession::CommitAnswer> answers);
  void TakeAnswer(const GroupSession::CommitAnswer& answer, Pending pending);
  absl::Status AwaitCommits(std::uint64_t first, std::uint64_t last, Clock::time_point deadline);

  const GroupOptions options_;
  Reading& reading_;
  const std::function<void()> wake_;
  const std::shared_ptr<GroupSession> session_;

  GroupHoldings holdings_;
  BootClock::time_point sure_until_;
  Clock::time_point commit_at_;  // automatically, if there is something
  std::map<std::uint64_t, Pending> pending_;
  std::uint64_t awaited_from_ = 0, awaited_to_ = 0;  // whose errors go to who waits for them
  absl::Status awaited_error_;
  absl::Status error_;   // for the next Step
  absl::Status failed_;  // for every one
  bool calling_back_ = false;
  bool closed_ = false;
};

}  // namespace cairn::client
