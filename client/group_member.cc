#include "client/group_member.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"

#include "client/deadline.h"
#include "client/detached.h"
#include "protocol/group_name.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::client {
namespace {

GroupHoldings::Outcome OutcomeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOk:
      return GroupHoldings::Outcome::kDone;
    case ErrorCode::kStaleAssignment:
    case ErrorCode::kCommitBehind:
    case ErrorCode::kUnknownTopic:
    case ErrorCode::kUnknownPartition:
      return GroupHoldings::Outcome::kRefused;
    default:
      return GroupHoldings::Outcome::kNotDone;
  }
}

std::string_view Meaning(ErrorCode code) {
  switch (code) {
    case ErrorCode::kStaleAssignment:
      return "this member does not hold the partition, or holds it anew";
    case ErrorCode::kCommitBehind:
      return "that is below the committed offset; only a reset goes back";
    case ErrorCode::kUnknownTopic:
      return "the topic was deleted";
    default:
      return NameOf(code);
  }
}

absl::Status CommitError(const CommittedPartition& partition, ErrorCode code) {
  if (code == ErrorCode::kOk) return absl::OkStatus();
  return MakeError(
      code, absl::StrFormat("%s:%d is not committed at offset %d: %s", partition.topic,
                            partition.partition.value(), partition.offset.value(), Meaning(code)));
}

// That a member was lost is heard otherwise.
bool IsOwnEnd(const absl::Status& why) {
  const ErrorCode code = CodeOf(why);
  return code == ErrorCode::kUnknownMember || code == ErrorCode::kUnknownGroup ||
         code == ErrorCode::kFencedInstance;
}

absl::Status FirstErrorOf(const absl::Status& status,
                          const std::vector<CommittedPartition>& partitions) {
  absl::Status error = status;
  for (const CommittedPartition& partition : partitions) error.Update(partition.status);
  return error;
}

}  // namespace

absl::Status CheckGroupOptions(const GroupOptions& options) {
  RETURN_IF_ERROR(CheckGroupName(options.group));
  if (options.instance_id.size() > kInstanceIdBytesMax) {
    return absl::InvalidArgumentError(absl::StrFormat("an instance_id has at most %d bytes, not %d",
                                                      kInstanceIdBytesMax,
                                                      options.instance_id.size()));
  }
  if (options.session_timeout < kSessionTimeoutMin ||
      options.session_timeout > kSessionTimeoutMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "session_timeout is from 1 s to 30 min, not %d ms", options.session_timeout.count()));
  }
  if (options.auto_commit && options.auto_commit_interval < Duration(1)) {
    return absl::InvalidArgumentError("auto_commit_interval is at least 1 ms");
  }
  if (options.max_processing.has_value() && *options.max_processing < Duration(1)) {
    return absl::InvalidArgumentError("max_processing is at least 1 ms, or nothing");
  }
  return absl::OkStatus();
}

GroupMember::GroupMember(std::shared_ptr<Core> core, const GroupOptions& options, Reading& reading,
                         std::function<void()> wake)
    : options_(options),
      reading_(reading),
      wake_(wake),
      session_(std::make_shared<GroupSession>(std::move(core), options, std::move(wake))),
      commit_at_(DeadlineAfter(options.auto_commit_interval)) {}

void GroupMember::Subscribe(std::vector<std::string> topics) { session_->Join(std::move(topics)); }

// ---- within Poll ----

void GroupMember::EnterPoll() {
  session_->EnterPoll();
  holdings_.Finish();
}

void GroupMember::LeavePoll() { session_->LeavePoll(); }

absl::Status GroupMember::Step() {
  GroupSession::News news = session_->TakeNews();
  TakeAnswers(std::move(news.answers));
  sure_until_ = news.sure_until;
  if (news.lost) LoseAll();
  if (failed_.ok()) failed_ = std::move(news.failed);
  if (!failed_.ok()) return failed_;
  if (news.assignment.has_value()) Apply(*news.assignment);
  if (options_.auto_commit && Clock::now() >= commit_at_) {
    CommitDue(holdings_.TakeDue());
    commit_at_ = DeadlineAfter(options_.auto_commit_interval);
  }
  return std::exchange(error_, absl::OkStatus());
}

GroupMember::Clock::time_point GroupMember::due_at() const {
  if (!options_.auto_commit || !holdings_.has_due()) return Clock::time_point::max();
  return commit_at_;
}

void GroupMember::Apply(const GroupSession::Assignment& assignment) {
  const GroupHoldings::Change change = holdings_.Compare(assignment.partitions);
  if (!change.lost.empty()) GiveUp(change.lost);
  // Even if nothing was lost: something may have been given and taken back unheard.
  session_->Release(assignment);
  if (change.gained.empty()) return;
  std::vector<TopicPartition> gained;
  for (const GivenPartition& given : change.gained) {
    holdings_.Gain(given);
    reading_.Begin(given);
    gained.push_back(given.id);
  }
  TellGained(holdings_.names(gained));
}

void GroupMember::GiveUp(const std::vector<TopicPartition>& lost) {
  TellLost(holdings_.names(lost), LostHow::kInGoodOrder);
  if (options_.auto_commit) CommitDue(holdings_.TakeDue(lost));
  holdings_.Release(lost);
  for (const TopicPartition& id : lost) reading_.End(id);
}

void GroupMember::LoseAll() {
  const std::vector<TopicPartition> all = holdings_.all();
  const std::vector<GroupPartition> names = holdings_.names(all);
  holdings_.LoseAll();
  for (const TopicPartition& id : all) reading_.End(id);
  TellLost(names, LostHow::kTakenAway);
}

void GroupMember::TellLost(const std::vector<GroupPartition>& lost, LostHow how) {
  if (lost.empty() || !options_.on_lost) return;
  calling_back_ = true;
  options_.on_lost(lost, how);
  calling_back_ = false;
}

void GroupMember::TellGained(const std::vector<GroupPartition>& gained) {
  if (!options_.on_gained) return;
  calling_back_ = true;
  options_.on_gained(gained);
  calling_back_ = false;
}

// ---- commits ----

GroupMember::Pending GroupMember::PendingOf(
    const std::vector<GroupHoldings::Commit>& commits) const {
  Pending pending;
  pending.commits = commits;
  for (const GroupHoldings::Commit& commit : commits) {
    const auto names = holdings_.names({commit.id});
    pending.partitions.push_back({.topic = names.empty() ? "" : names[0].topic,
                                  .partition = commit.id.partition,
                                  .offset = commit.position.offset,
                                  .status = {}});
  }
  return pending;
}

std::uint64_t GroupMember::Send(Pending pending, std::vector<std::string> metadata) {
  const std::uint64_t number = session_->Commit(pending.commits, std::move(metadata));
  pending_.emplace(number, std::move(pending));
  return number;
}

void GroupMember::CommitDue(const std::vector<GroupHoldings::Commit>& due) {
  if (due.empty()) return;
  Pending pending = PendingOf(due);
  pending.automatic = true;
  Send(std::move(pending), {});
}

void GroupMember::Refuse(Pending& pending, const OffsetToCommit& offset,
                         const absl::Status& why) const {
  pending.partitions.push_back({.topic = offset.topic,
                                .partition = offset.partition,
                                .offset = offset.offset,
                                .status = why});
}

// 0: nothing was sent.
std::uint64_t GroupMember::SendOffsets(const std::vector<OffsetToCommit>& offsets,
                                       OnCommitted done) {
  std::vector<GroupHoldings::Commit> commits;
  std::vector<std::string> metadata;
  Pending refused;
  std::map<TopicPartition, std::size_t> rows;
  for (const OffsetToCommit& offset : offsets) {
    const CommittedPartition about{.topic = offset.topic,
                                   .partition = offset.partition,
                                   .offset = offset.offset,
                                   .status = {}};
    if (offset.offset < Offset(0) || offset.metadata.size() > kCommitMetadataBytesMax) {
      Refuse(refused, offset, CommitError(about, ErrorCode::kInvalidRequest));
      continue;
    }
    const auto id = holdings_.Find(offset.topic, offset.partition);
    if (!id.has_value()) {
      Refuse(refused, offset, CommitError(about, ErrorCode::kStaleAssignment));
      continue;
    }
    // One that is named again moves on: a request names each partition once.
    const auto [row, is_first] = rows.emplace(*id, commits.size());
    if (!is_first && offset.offset < commits[row->second].position.offset) {
      Refuse(refused, offset, CommitError(about, ErrorCode::kCommitBehind));
      continue;
    }
    GroupHoldings::Commit commit = *holdings_.TakeCommit(*id, {offset.offset, offset.leader_epoch});
    if (is_first) {
      commits.push_back(commit);
      metadata.push_back(offset.metadata);
    } else {
      commit.trimmed += commits[row->second].trimmed;
      commits[row->second] = commit;
      metadata[row->second] = offset.metadata;
    }
  }
  Pending pending = PendingOf(commits);
  std::move(refused.partitions.begin(), refused.partitions.end(),
            std::back_inserter(pending.partitions));
  pending.done = std::move(done);
  if (!commits.empty()) return Send(std::move(pending), std::move(metadata));
  TakeAnswer({}, std::move(pending));
  return 0;
}

absl::Status GroupMember::Commit(Duration timeout) {
  const auto deadline = DeadlineAfter(timeout);
  holdings_.Finish();
  CommitDue(holdings_.TakeDue());
  // Whatever is on its way is a part of it.
  if (pending_.empty()) return absl::OkStatus();
  return AwaitCommits(1, pending_.rbegin()->first, deadline);
}

absl::Status GroupMember::Commit(const std::vector<OffsetToCommit>& offsets, Duration timeout) {
  const auto deadline = DeadlineAfter(timeout);
  // Outlives the wait, should that be too short.
  const auto outcome = std::make_shared<absl::Status>();
  const std::uint64_t number = SendOffsets(
      offsets, [outcome](const absl::Status& status, const std::vector<CommittedPartition>& each) {
        *outcome = FirstErrorOf(status, each);
      });
  if (number != 0) RETURN_IF_ERROR(AwaitCommits(number, number, deadline));
  return *outcome;
}

void GroupMember::CommitAsync(OnCommitted done) {
  holdings_.Finish();
  Pending pending = PendingOf(holdings_.TakeDue());
  if (pending.commits.empty() && !pending_.empty()) {
    // It is on its way already.
    OnCommitted& last = pending_.rbegin()->second.done;
    last = [before = std::move(last), done = std::move(done)](const auto& status,
                                                              const auto& each) {
      if (before) before(status, each);
      if (done) done(status, each);
    };
    return;
  }
  pending.done = std::move(done);
  if (pending.commits.empty()) return TakeAnswer({}, std::move(pending));
  Send(std::move(pending), {});
}

void GroupMember::CommitAsync(const std::vector<OffsetToCommit>& offsets, OnCommitted done) {
  SendOffsets(offsets, std::move(done));
}

std::optional<Offset> GroupMember::Committed(const TopicPartition& id) const {
  const GroupPosition committed = holdings_.committed(id);
  if (committed.offset == kNoOffset) return std::nullopt;
  return committed.offset;
}

void GroupMember::TakeAnswers(std::vector<GroupSession::CommitAnswer> answers) {
  for (const GroupSession::CommitAnswer& answer : answers) {
    auto pending = pending_.extract(answer.number);
    if (!pending.empty()) TakeAnswer(answer, std::move(pending.mapped()));
  }
}

void GroupMember::TakeAnswer(const GroupSession::CommitAnswer& answer, Pending pending) {
  for (std::size_t i = 0; i < pending.commits.size(); ++i) {
    const ErrorCode code = answer.status.ok() ? answer.codes[i] : CodeOf(answer.status);
    holdings_.Answered(pending.commits[i], OutcomeOf(code));
    if (answer.status.ok()) {
      pending.partitions[i].status = CommitError(pending.partitions[i], code);
    } else {
      pending.partitions[i].status = answer.status;
    }
  }
  const absl::Status error = FirstErrorOf(answer.status, pending.partitions);
  const bool awaited = answer.number >= awaited_from_ && answer.number <= awaited_to_;
  if (awaited && answer.number != 0) {
    awaited_error_.Update(error);
  } else if (pending.automatic && !IsOwnEnd(answer.status)) {
    error_.Update(answer.status);
  }
  if (!pending.done) return;
  const bool before = std::exchange(calling_back_, true);
  pending.done(answer.status, pending.partitions);
  calling_back_ = before;
}

absl::Status GroupMember::AwaitCommits(std::uint64_t first, std::uint64_t last,
                                       Clock::time_point deadline) {
  awaited_from_ = first;
  awaited_to_ = last;
  awaited_error_ = absl::OkStatus();
  const auto is_over = [&] {
    const auto next = pending_.lower_bound(first);
    return next == pending_.end() || next->first > last;
  };
  while (!is_over()) {
    reading_.AwaitNews(deadline);
    TakeAnswers(session_->TakeAnswers());
    if (!is_over() && Clock::now() >= deadline) {
      awaited_error_ =
          absl::DeadlineExceededError("the commit was not answered in time; it may still be done");
      break;
    }
  }
  awaited_from_ = awaited_to_ = 0;
  wake_();  // there may have been other news
  return std::exchange(awaited_error_, absl::OkStatus());
}

// ---- the end ----

absl::Status GroupMember::Close(Duration timeout) {
  const auto deadline = DeadlineAfter(timeout);
  if (std::exchange(closed_, true)) return absl::OkStatus();
  GroupSession::News news = session_->TakeNews();
  TakeAnswers(std::move(news.answers));
  if (news.lost) LoseAll();
  const std::vector<TopicPartition> held = holdings_.all();
  TellLost(holdings_.names(held), LostHow::kInGoodOrder);
  if (options_.auto_commit) CommitDue(holdings_.TakeDue());
  absl::Status outcome;
  if (!pending_.empty()) outcome = AwaitCommits(1, pending_.rbegin()->first, deadline);
  for (const TopicPartition& id : held) reading_.End(id);
  holdings_.LoseAll();
  const bool leave = options_.leave_on_close.value_or(options_.instance_id.empty());
  if (!leave) {
    // What it was told to give up goes to the others now, and not only when its session is over.
    std::optional<GroupSession::Assignment> last = session_->TakeNews().assignment;
    if (!last.has_value()) last = std::move(news.assignment);
    if (last.has_value()) session_->Release(*last);
  }
  session_->End(leave, false);
  while (!session_->ended()) {
    if (Clock::now() >= deadline) {
      session_->End(leave, true);
      outcome.Update(absl::DeadlineExceededError(absl::StrFormat(
          "the broker did not confirm in time that the member left group %s", options_.group)));
      break;
    }
    reading_.AwaitNews(deadline);
  }
  return outcome;
}

void GroupMember::Abandon() {
  if (std::exchange(closed_, true)) return;
  if (options_.auto_commit) CommitDue(holdings_.TakeDue());
  session_->End(options_.leave_on_close.value_or(options_.instance_id.empty()), true);
}

}  // namespace cairn::client
