#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include <asio/steady_timer.hpp>

#include "client/backoff.h"
#include "client/boot_clock.h"
#include "client/core.h"
#include "client/group_holdings.h"
#include "client/options.h"
#include "protocol/error_code.h"

namespace cairn::client {

// A member's session with its broker: joins, again after every broken connection; sends heartbeats
// whatever the application does; hears what the member is to hold; and sends commits and releases
// in their order, commits repeated until they are answered. Decides nothing about partitions: what
// it hears waits for the application's thread, which is woken.
//
// Threads: the public functions are the application's; the rest runs on the I/O thread. What they
// share is guarded by a mutex.
class GroupSession final : public Core::Listener,
                           public std::enable_shared_from_this<GroupSession> {
 public:
  // `wake` is called from the I/O thread whenever there is news.
  GroupSession(std::shared_ptr<Core> core, GroupOptions options, std::function<void()> wake);

  // Makes a member that reads `topics` (names and patterns), or changes what it reads.
  void Join(std::vector<std::string> topics);

  // The application asks for records, or has been given some and is busy with them.
  void EnterPoll();
  void LeavePoll();

  // Sent after everything before it. The answer comes with the news, under the number returned.
  // `metadata`: as many as commits, or none.
  std::uint64_t Commit(const std::vector<GroupHoldings::Commit>& commits,
                       std::vector<std::string> metadata);
  // An assignment is in effect: nothing is held but what it gave.
  struct Assignment;
  void Release(const Assignment& assignment);
  // The last of all: ends the session, after all that was asked for before. Without `leave` the
  // broker is not told: it goes on there until its timeout. `at_once` does not wait for answers.
  void End(bool leave, bool at_once);

  struct CommitAnswer {
    std::uint64_t number = 0;
    absl::Status status;           // not OK: nothing was done
    std::vector<ErrorCode> codes;  // as many as commits
  };
  struct Assignment {
    std::uint64_t join = 0;  // of which session, and
    std::uint64_t version = 0;
    std::vector<GivenPartition> partitions;
  };
  struct News {
    // The session ended since the last news: whatever was held before `assignment` is lost.
    bool lost = false;
    std::optional<Assignment> assignment;
    std::vector<CommitAnswer> answers;
    // Why the member is finished for good. OK: it is not.
    absl::Status failed;
    // Until when it is certain that nobody else was given what this member holds.
    BootClock::time_point sure_until;
  };
  News TakeNews();
  // Only of what was asked for.
  std::vector<CommitAnswer> TakeAnswers();
  // End has been answered, or the member is finished.
  bool ended() const;

 private:
  struct Request {
    enum class Kind { kCommit, kRelease, kEnd } kind;
    Core::Build build;         // null: there is nothing to send
    std::uint64_t number = 0;  // of a commit
    std::uint64_t join = 0;    // of a release: it counts in that session only
    std::size_t commits = 0;
    bool on_wire = false;
    bool repeated = false;  // it may have been done already
    bool done = false;
  };
  using Requests = std::deque<std::shared_ptr<Request>>;
  enum class State {
    kOut,      // no connection, or not a member by its own will
    kJoining,  // JoinGroup is on its way
    kMember,
    kFinished,  // for good
  };

  void OnConnected(Connection& connection) override;
  void OnDisconnected(const absl::Status& why) override;

  void SendJoin();
  void OnJoined(std::uint64_t join, BootClock::time_point sent_at, const ReceivedFrame& reply);
  void BecomeMember(BootClock::time_point sent_at, const wire::GroupJoined& joined);
  void OnPush(const ReceivedFrame& frame);
  void OnAssignment(const wire::GroupAssignment& assignment);

  void Tick();
  void SendHeartbeat();
  void OnHeartbeat(BootClock::time_point sent_at, const ReceivedFrame& reply);
  void LeaveIfStuck();

  void Enqueue(std::shared_ptr<Request> request);
  void SendQueued();
  void DropOldReleases();
  void Send(const std::shared_ptr<Request>& request);
  void OnAnswer(const std::shared_ptr<Request>& request, const ReceivedFrame& reply);
  void OnRefused(const std::shared_ptr<Request>& request, const absl::Status& why);
  void Done(const std::shared_ptr<Request>& request, const absl::Status& status,
            std::vector<ErrorCode> codes = {});
  void EndNow(bool leave);

  void RetryLater();
  // The session is over at the broker.
  void Lose(const absl::Status& why);
  void JoinAnew(const absl::Status& why);
  void Fail(const absl::Status& why);
  void Stop();
  void DropRequests(const absl::Status& why);
  void Confirm(BootClock::time_point heard_of_at);

  // Sends a request if there is a connection; `reply` or `broken` is called once. False: it is too
  // large, and neither is.
  using OnReply = std::function<void(const ReceivedFrame&)>;
  bool Ask(const Core::Build& build, OnReply reply, std::function<void()> broken = nullptr);
  void Tell(const Core::Build& build);

  const std::shared_ptr<Core> core_;
  const GroupOptions options_;
  const std::function<void()> wake_;
  const MemberId member_;

  // The I/O thread's.
  std::vector<std::string> topics_;
  State state_ = State::kOut;
  bool wants_in_ = false;       // JoinGroup is to be sent
  bool was_member_ = false;     // so that what it held may be lost
  bool knows_its_own_ = false;  // has heard what it holds since it joined
  std::uint64_t joins_ = 0;     // JoinGroups sent
  std::uint64_t version_ = 0;   // of the last assignment heard
  BootClock::time_point joined_at_;
  Duration heartbeat_{1'000};
  std::chrono::steady_clock::time_point heartbeat_at_;
  int heartbeats_on_wire_ = 0;
  asio::steady_timer tick_timer_;
  asio::steady_timer retry_timer_;
  bool retrying_ = false;
  Backoff backoff_;
  Requests requests_;

  mutable std::mutex mutex_;  // guards what follows
  News news_;
  bool ended_ = false;
  std::uint64_t last_number_ = 0;
  std::optional<BootClock::time_point> busy_since_;
  bool stuck_ = false;  // left because it was busy too long
};

}  // namespace cairn::client
