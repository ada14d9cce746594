#include "tests/client/group_broker.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_format.h"
#include <catch2/catch.hpp>

#include "protocol/record_batch_builder.h"

namespace cairn::test {
namespace {

constexpr std::uint32_t kHeartbeatMs = 10;

Bytes TenRecords() {
  RecordBatchBuilder builder;
  for (int i = 0; i < 10; ++i) {
    const std::string value = std::to_string(i);
    builder.Add({.timestamp = Timestamp(1), .key = {}, .value = AsBytes(value), .headers = {}});
  }
  Bytes batch = *builder.Finish({});
  StampBatch(batch, Offset(0), LeaderEpoch(0));
  return batch;
}

}  // namespace

GroupBroker::GroupBroker()
    : topic(NewTopicId()),
      broker_(std::make_unique<FakeBroker>([this](Peer& peer) { Treat(peer); })) {}

void GroupBroker::Treat(Peer& peer) {
  if (!peer.Greet()) return;
  while (const wire::Message* message = peer.Receive()) {
    const std::lock_guard lock(mutex_);
    if (!Answer(peer, *message)) break;
  }
  const std::lock_guard lock(mutex_);
  peer_ = nullptr;
}

// False: the connection is to break.
bool GroupBroker::Answer(Peer& peer, const wire::Message& message) {
  const std::uint64_t correlation = message.correlation();
  if (const auto* join = message.body_as_JoinGroup()) {
    AnswerJoin(peer, correlation, *join);
  } else if (const auto* beat = message.body_as_GroupHeartbeat()) {
    AnswerHeartbeat(peer, correlation, *beat);
  } else if (const auto* commit = message.body_as_CommitOffsets()) {
    return AnswerCommit(peer, correlation, *commit);
  } else if (const auto* release = message.body_as_ReleasePartitions()) {
    if (release->version() == version_) Note("release");
    peer.Reply(correlation, wire::CreatePartitionsReleased(peer.builder));
  } else if (message.body_type() == wire::Body::LeaveGroup) {
    Note("leave");
    peer.Reply(correlation, wire::CreateGroupLeft(peer.builder));
  } else if (const auto* subscribe = message.body_as_Subscribe()) {
    AnswerSubscribe(peer, correlation, *subscribe);
  } else if (const auto* ended = message.body_as_Unsubscribe()) {
    peer.Reply(correlation, wire::CreateUnsubscribed(peer.builder, ended->subscription()));
  }
  return true;
}

void GroupBroker::AnswerJoin(Peer& peer, std::uint64_t correlation, const wire::JoinGroup& join) {
  Note("join");
  if (joins_ != ErrorCode::kOk)
    return Refuse(peer, correlation, std::exchange(joins_, ErrorCode::kOk));
  const MemberId member = MemberFromWire(*join.member());
  const bool known = std::find(members_.begin(), members_.end(), member) != members_.end();
  if (!known) members_.push_back(member);
  const bool is_new = is_new_.value_or(!known);
  is_new_.reset();
  peer.Reply(correlation, wire::CreateGroupJoined(peer.builder, is_new, kHeartbeatMs));
  peer_ = &peer;
  version_ = heard_ = 0;
  Push();
}

void GroupBroker::AnswerHeartbeat(Peer& peer, std::uint64_t correlation,
                                  const wire::GroupHeartbeat& beat) {
  heard_ = beat.version();
  asked_something_.notify_all();
  if (!answer_heartbeats_) {
    owed_.push_back(correlation);
    return;
  }
  if (heartbeats_ != ErrorCode::kOk) {
    return Refuse(peer, correlation, std::exchange(heartbeats_, ErrorCode::kOk));
  }
  if (beat.version() < version_) {
    --version_;
    Push();
  }
  peer.Reply(correlation, wire::CreateGroupAlive(peer.builder));
}

bool GroupBroker::AnswerCommit(Peer& peer, std::uint64_t correlation,
                               const wire::CommitOffsets& commit) {
  std::vector<std::uint16_t> codes;
  for (const auto* row : *commit.commits()) {
    Note(absl::StrFormat("commit %d@%d:%d", row->partition(), row->epoch(), row->offset()));
    codes.push_back(static_cast<std::uint16_t>(commits_));
    if (commits_ == ErrorCode::kOk && !break_at_commit_) trimmed_ += row->trimmed();
  }
  if (std::exchange(break_at_commit_, false)) return false;
  peer.Reply(correlation,
             wire::CreateOffsetsCommitted(peer.builder, peer.builder.CreateVector(codes)));
  return true;
}

void GroupBroker::AnswerSubscribe(Peer& peer, std::uint64_t correlation,
                                  const wire::Subscribe& subscribe) {
  const std::int64_t start = subscribe.start_at() == wire::StartAt::Latest   ? 10
                             : subscribe.start_at() == wire::StartAt::Offset ? subscribe.offset()
                                                                             : 0;
  Note(absl::StrFormat("subscribe %d:%d", subscribe.partition(), start));
  peer.Reply(correlation, wire::CreateSubscribed(peer.builder, start, 0, 10, -1));
  if (start >= 10) return;
  const Bytes batch = TenRecords();
  Bytes frame;
  FinishFrame(peer.builder, 0, wire::CreateBatches(peer.builder, subscribe.subscription(), 10),
              batch.size(), frame);
  AppendBytes(frame, batch);
  frame.resize(PadTo8(frame.size()));
  peer.SendBytes(frame);
}

void GroupBroker::Push() {
  if (peer_ == nullptr) return;
  auto& builder = peer_->builder;
  const auto group = ToWire(builder, "g");
  const auto name = ToWire(builder, "t");
  const wire::Uuid topic_id = ToWire(topic);
  const auto topic_row = wire::CreateGroupTopic(builder, &topic_id, name);
  const auto topics = builder.CreateVector(&topic_row, 1);
  std::vector<wire::AssignedPartition> rows;
  for (const Part& part : parts_) {
    rows.emplace_back(topic_id, part.partition, 0, part.epoch, part.offset);
  }
  const auto partitions = builder.CreateVectorOfStructs(rows);
  const wire::Uuid member = ToWire(members_.back());
  peer_->Reply(
      0, wire::CreateGroupAssignment(builder, group, &member, ++version_, topics, partitions));
}

void GroupBroker::Note(std::string what) {
  asked_.push_back(std::move(what));
  asked_something_.notify_all();
}

void GroupBroker::Refuse(Peer& peer, std::uint64_t correlation, ErrorCode code) {
  peer.Reply(correlation, wire::CreateFailure(peer.builder, static_cast<std::uint16_t>(code),
                                              ToWire(peer.builder, NameOf(code))));
}

// ---- the test's thread ----

void GroupBroker::Assign(std::vector<Part> parts) {
  const std::lock_guard lock(mutex_);
  parts_ = std::move(parts);
  Push();
}

std::vector<std::string> GroupBroker::Asked() {
  const std::lock_guard lock(mutex_);
  return asked_;
}

int GroupBroker::CountAsked(const std::string& what) {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(std::count(asked_.begin(), asked_.end(), what));
}

void GroupBroker::AwaitAsked(const std::string& what, int times) {
  std::unique_lock lock(mutex_);
  const bool asked = asked_something_.wait_for(lock, std::chrono::seconds(30), [&] {
    return std::count(asked_.begin(), asked_.end(), what) >= times;
  });
  INFO("awaited: " << what);
  CAPTURE(asked_);
  REQUIRE(asked);
}

void GroupBroker::AwaitHeard() {
  std::unique_lock lock(mutex_);
  REQUIRE(asked_something_.wait_for(lock, std::chrono::seconds(30),
                                    [&] { return heard_ == version_; }));
}

void GroupBroker::FailJoins(ErrorCode code) {
  const std::lock_guard lock(mutex_);
  joins_ = code;
}
void GroupBroker::FailHeartbeats(ErrorCode code) {
  const std::lock_guard lock(mutex_);
  heartbeats_ = code;
}
void GroupBroker::AnswerHeartbeats(bool answer) {
  const std::lock_guard lock(mutex_);
  answer_heartbeats_ = answer;
  for (const std::uint64_t correlation : std::exchange(owed_, {})) {
    if (peer_ != nullptr) peer_->Reply(correlation, wire::CreateGroupAlive(peer_->builder));
  }
}
void GroupBroker::AnswerCommits(ErrorCode code) {
  const std::lock_guard lock(mutex_);
  commits_ = code;
}
void GroupBroker::BreakAtNextCommit() {
  const std::lock_guard lock(mutex_);
  break_at_commit_ = true;
}
void GroupBroker::SayIsNew(bool is_new) {
  const std::lock_guard lock(mutex_);
  is_new_ = is_new;
}
std::vector<MemberId> GroupBroker::members() {
  const std::lock_guard lock(mutex_);
  return members_;
}
std::int64_t GroupBroker::trimmed() {
  const std::lock_guard lock(mutex_);
  return trimmed_;
}

}  // namespace cairn::test
