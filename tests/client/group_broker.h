#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "protocol/error_code.h"
#include "tests/client/fake_broker.h"

namespace cairn::test {

// A broker with one group and the topic "t", that does as its test says and writes down what it
// was asked. Every partition has the records "0" to "9" at their offsets.
//
// Threads: the public functions are the test's.
class GroupBroker {
 public:
  GroupBroker();

  std::shared_ptr<client::Cluster> cluster() const { return ClusterOf(*broker_); }

  struct Part {
    int partition = 0;
    std::int64_t epoch = 1;
    std::int64_t offset = -1;
  };
  // What the member is to hold: pushed now, and again whenever it joins.
  void Assign(std::vector<Part> parts);
  // Waits until the member has heard the last of that, by its heartbeats.
  void AwaitHeard();

  // What was asked, in words: "join", "commit 0@1:5" (partition, epoch, offset), "release" (as the
  // last assignment says), "leave", "subscribe 0:5" (partition, offset). No heartbeats.
  std::vector<std::string> Asked();
  // Waits until that was asked, so many times.
  void AwaitAsked(const std::string& what, int times = 1);
  int CountAsked(const std::string& what);

  // What the next ones are answered with; kOk: as they should be.
  void FailJoins(ErrorCode code);
  void FailHeartbeats(ErrorCode code);
  void AnswerHeartbeats(bool answer);  // true: also those that were left without
  void AnswerCommits(ErrorCode code);  // each partition
  void BreakAtNextCommit();            // instead of an answer
  void SayIsNew(bool is_new);
  // Every member id that joined, without repeats.
  std::vector<MemberId> members();
  std::int64_t trimmed();  // as commits said

  const TopicId topic;

 private:
  using Peer = FakeBroker::Peer;

  void Treat(Peer& peer);
  bool Answer(Peer& peer, const wire::Message& message);
  void AnswerJoin(Peer& peer, std::uint64_t correlation, const wire::JoinGroup& join);
  void AnswerHeartbeat(Peer& peer, std::uint64_t correlation, const wire::GroupHeartbeat& beat);
  bool AnswerCommit(Peer& peer, std::uint64_t correlation, const wire::CommitOffsets& commit);
  void AnswerSubscribe(Peer& peer, std::uint64_t correlation, const wire::Subscribe& subscribe);
  void Push();
  void Note(std::string what);
  void Refuse(Peer& peer, std::uint64_t correlation, ErrorCode code);

  std::mutex mutex_;  // guards everything below, and sending
  std::condition_variable asked_something_;
  std::vector<std::string> asked_;
  std::vector<MemberId> members_;
  std::vector<Part> parts_;
  std::uint64_t version_ = 0, heard_ = 0;
  Peer* peer_ = nullptr;  // that joined
  ErrorCode joins_ = ErrorCode::kOk, heartbeats_ = ErrorCode::kOk, commits_ = ErrorCode::kOk;
  bool answer_heartbeats_ = true, break_at_commit_ = false;
  std::vector<std::uint64_t> owed_;  // heartbeats without an answer
  std::optional<bool> is_new_;
  std::int64_t trimmed_ = 0;

  std::unique_ptr<FakeBroker> broker_;  // ends before the rest
};

}  // namespace cairn::test
