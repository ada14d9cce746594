#include "client/group_session.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_format.h"

#include "client/detached.h"
#include "protocol/limits.h"

namespace cairn::client {
namespace {

using Builder = flatbuffers::FlatBufferBuilder;

constexpr std::size_t kCommitsOnWireMax = 64;
constexpr Duration kTickMin{10};

// What makes a request of one table.
template <typename Make>
Core::Build BuildOf(Make make) {
  return [make = std::move(make)](Builder& builder, std::uint64_t correlation, Bytes& head) {
    const auto request = make(builder);
    FinishFrame(builder, correlation, request, 0, head);
  };
}

auto TextsToWire(Builder& builder, const std::vector<std::string>& texts) {
  std::vector<flatbuffers::Offset<flatbuffers::String>> offsets;
  offsets.reserve(texts.size());
  for (const std::string& text : texts) offsets.push_back(ToWire(builder, text));
  return builder.CreateVector(offsets);
}

wire::Assignor ToWire(GroupAssignor assignor) {
  return assignor == GroupAssignor::kRange ? wire::Assignor::Range : wire::Assignor::StickyUniform;
}

Core::Build LeaveOf(const std::string& group, const MemberId& member) {
  return BuildOf([group, id = cairn::ToWire(member)](Builder& builder) {
    const auto group_text = cairn::ToWire(builder, group);
    return wire::CreateLeaveGroup(builder, group_text, &id);
  });
}

bool IsNoMember(const absl::Status& why) {
  return CodeOf(why) == ErrorCode::kUnknownMember || CodeOf(why) == ErrorCode::kUnknownGroup;
}

// Refusals of a connection that will be repeated on the next one.
bool IsForGood(const absl::Status& why) {
  return absl::IsUnimplemented(why) || absl::IsPermissionDenied(why) || absl::IsCancelled(why);
}

}  // namespace

GroupSession::GroupSession(std::shared_ptr<Core> core, GroupOptions options,
                           std::function<void()> wake)
    : core_(std::move(core)),
      options_(std::move(options)),
      wake_(std::move(wake)),
      member_(NewMemberId()),
      tick_timer_(core_->io()),
      retry_timer_(core_->io()),
      backoff_(core_->options().backoff_min, core_->options().backoff_max) {}

// ---- the application's thread ----

void GroupSession::Join(std::vector<std::string> topics) {
  core_->Post([self = shared_from_this(), topics = std::move(topics)]() mutable {
    if (self->state_ == State::kFinished) return;
    const bool first = self->topics_.empty();
    self->topics_ = std::move(topics);
    self->wants_in_ = true;
    if (!first) return self->SendJoin();
    self->core_->AddMember(self->member_, [weak = self->weak_from_this()](const auto* frame) {
      if (const auto session = weak.lock()) session->OnPush(*frame);
    });
    self->core_->AddListener(self);
  });
}

void GroupSession::EnterPoll() {
  const std::lock_guard lock(mutex_);
  busy_since_.reset();
  if (!std::exchange(stuck_, false)) return;
  core_->Post([self = shared_from_this()] {
    if (self->state_ != State::kOut) return;
    self->wants_in_ = true;
    self->SendJoin();
  });
}

void GroupSession::LeavePoll() {
  const std::lock_guard lock(mutex_);
  busy_since_ = BootClock::now();
}

std::uint64_t GroupSession::Commit(const std::vector<GroupHoldings::Commit>& commits,
                                   std::vector<std::string> metadata) {
  std::vector<wire::OffsetCommit> rows;
  rows.reserve(commits.size());
  for (const GroupHoldings::Commit& commit : commits) {
    rows.emplace_back(cairn::ToWire(commit.id.topic), commit.id.partition.value(),
                      commit.position.epoch.value(), commit.epoch, commit.position.offset.value(),
                      commit.trimmed);
  }
  auto request = std::make_shared<Request>(Request{.kind = Request::Kind::kCommit, .build = {}});
  request->commits = commits.size();
  request->build =
      BuildOf([group = options_.group, id = cairn::ToWire(member_), rows = std::move(rows),
               metadata = std::move(metadata)](Builder& builder) {
        const auto group_text = cairn::ToWire(builder, group);
        const auto row_vector = builder.CreateVectorOfStructs(rows);
        flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>> texts;
        if (!metadata.empty()) texts = TextsToWire(builder, metadata);
        return wire::CreateCommitOffsets(builder, group_text, &id, row_vector, texts);
      });
  {
    const std::lock_guard lock(mutex_);
    request->number = ++last_number_;
  }
  const std::uint64_t number = request->number;
  Enqueue(std::move(request));
  return number;
}

void GroupSession::Release(const Assignment& assignment) {
  auto request = std::make_shared<Request>(Request{.kind = Request::Kind::kRelease, .build = {}});
  request->join = assignment.join;
  request->build = BuildOf([group = options_.group, id = cairn::ToWire(member_),
                            version = assignment.version](Builder& builder) {
    const auto group_text = cairn::ToWire(builder, group);
    return wire::CreateReleasePartitions(builder, group_text, &id, version);
  });
  Enqueue(std::move(request));
}

void GroupSession::End(bool leave, bool at_once) {
  if (at_once) return core_->Post([self = shared_from_this(), leave] { self->EndNow(leave); });
  auto request = std::make_shared<Request>(Request{.kind = Request::Kind::kEnd, .build = {}});
  if (leave) request->build = LeaveOf(options_.group, member_);
  Enqueue(std::move(request));
}

GroupSession::News GroupSession::TakeNews() {
  const std::lock_guard lock(mutex_);
  News news = std::move(news_);
  news_ = News();
  // Of a session that may be over, an assignment may be over, too: a process that was stopped finds
  // old ones in its socket. It counts once a heartbeat is answered.
  if (BootClock::now() >= news.sure_until) news.assignment.swap(news_.assignment);
  news_.failed = Detached(news.failed);
  news_.sure_until = news.sure_until;
  return news;
}

std::vector<GroupSession::CommitAnswer> GroupSession::TakeAnswers() {
  const std::lock_guard lock(mutex_);
  return std::exchange(news_.answers, {});
}

bool GroupSession::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

// ---- joining; the I/O thread from here on ----

bool GroupSession::Ask(const Core::Build& build, OnReply reply, std::function<void()> broken) {
  Connection* connection = core_->connection();
  if (connection == nullptr) {
    if (broken) broken();
    return true;
  }
  const std::uint64_t correlation = connection->NextCorrelation();
  Bytes head;
  build(connection->builder(), correlation, head);
  if (head.size() > kFrameHeaderBytes + kControlBytesMax) return false;
  connection->Request(
      correlation, std::move(head), nullptr,
      [self = shared_from_this(), reply = std::move(reply), broken = std::move(broken)](
          const absl::Status&, const ReceivedFrame* frame) {
        if (frame != nullptr) return reply(*frame);
        if (broken) broken();
      });
  return true;
}

void GroupSession::Tell(const Core::Build& build) {
  Ask(build, [](const ReceivedFrame&) {});
}

void GroupSession::OnConnected(Connection& /*connection*/) {
  if (state_ == State::kFinished || !wants_in_) return;
  // Whatever was heard before is told again, over this connection.
  version_ = 0;
  knows_its_own_ = false;
  SendJoin();
}

void GroupSession::OnDisconnected(const absl::Status& why) {
  if (state_ == State::kFinished) return;
  if (IsForGood(why)) return Fail(why);
  if (state_ == State::kOut) return;
  state_ = State::kOut;
  wants_in_ = true;
  tick_timer_.cancel();
}

void GroupSession::SendJoin() {
  if (state_ == State::kFinished || core_->connection() == nullptr) return;
  if (state_ == State::kOut) state_ = State::kJoining;
  const std::uint64_t join = ++joins_;
  Ask(BuildOf([this](Builder& builder) {
        const auto group = cairn::ToWire(builder, options_.group);
        const auto instance = cairn::ToWire(builder, options_.instance_id);
        const auto topics = TextsToWire(builder, topics_);
        const wire::Uuid member = cairn::ToWire(member_);
        return wire::CreateJoinGroup(
            builder, group, &member, instance, topics, ToWire(options_.assignor),
            static_cast<std::uint32_t>(options_.session_timeout.count()), was_member_);
      }),
      [this, join, sent_at = BootClock::now()](const ReceivedFrame& reply) {
        OnJoined(join, sent_at, reply);
      });
}

void GroupSession::OnJoined(std::uint64_t join, BootClock::time_point sent_at,
                            const ReceivedFrame& reply) {
  if (state_ != State::kJoining && state_ != State::kMember) return;
  if (join != joins_) return;  // another one is on its way, and counts
  const auto joined = ReplyAs<wire::GroupJoined>(*reply.message);
  if (joined.ok()) return BecomeMember(sent_at, **joined);
  if (!IsTransient(joined.status())) return Fail(joined.status());
  if (state_ == State::kJoining) state_ = State::kOut;
  wants_in_ = true;
  RetryLater();
}

void GroupSession::BecomeMember(BootClock::time_point sent_at, const wire::GroupJoined& joined) {
  wants_in_ = false;
  if (joined.is_new() && was_member_) {
    Lose(MakeError(ErrorCode::kUnknownMember,
                   absl::StrFormat("the session in group %s had ended", options_.group)));
  }
  was_member_ = true;
  // Of a member that only reads other topics now: what it holds is counted from the start again.
  if (state_ == State::kMember) version_ = 0;
  state_ = State::kMember;
  backoff_.Reset();
  joined_at_ = sent_at;
  if (knows_its_own_) Confirm(sent_at);
  heartbeat_ = std::max(Duration(joined.heartbeat_ms()), kTickMin);
  heartbeat_at_ = std::chrono::steady_clock::now() + heartbeat_;
  Tick();
  SendQueued();
}

void GroupSession::RetryLater() {
  if (std::exchange(retrying_, true)) return;
  retry_timer_.expires_after(backoff_.Next());
  retry_timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    self->retrying_ = false;
    if (error || self->state_ == State::kFinished) return;
    if (self->wants_in_) self->SendJoin();
    self->SendQueued();
  });
}

// ---- what the broker says by itself ----

void GroupSession::OnPush(const ReceivedFrame& frame) {
  if (state_ != State::kJoining && state_ != State::kMember) return;
  if (const auto* assignment = frame.message->body_as_GroupAssignment()) {
    return OnAssignment(*assignment);
  }
  const auto* ended = frame.message->body_as_GroupEnded();
  if (ended == nullptr) return;
  const absl::Status why = StatusFromWire(ended->code(), FromWire(ended->message()));
  if (why.ok() || IsNoMember(why) || IsTransient(why)) {
    // It may be about an earlier session: the answer to a heartbeat is about this one.
    if (state_ == State::kMember) SendHeartbeat();
    return;
  }
  Fail(why);
}

void GroupSession::OnAssignment(const wire::GroupAssignment& assignment) {
  // What comes before the answer to a join is of an earlier session, which others' may have
  // followed.
  if (state_ != State::kMember || assignment.version() <= version_) return;
  version_ = assignment.version();
  std::map<TopicId, std::string> names;
  if (assignment.topics() != nullptr) {
    for (const auto* topic : *assignment.topics()) {
      if (topic->id() == nullptr) continue;
      names[cairn::FromWire(*topic->id())] = std::string(FromWire(topic->name()));
    }
  }
  std::vector<GivenPartition> given;
  if (assignment.partitions() != nullptr) {
    given.reserve(assignment.partitions()->size());
    for (const auto* row : *assignment.partitions()) {
      GivenPartition& partition = given.emplace_back();
      partition.id = {cairn::FromWire(row->topic()), PartitionIndex(row->partition())};
      const auto name = names.find(partition.id.topic);
      partition.topic = name == names.end() ? ToString(partition.id.topic) : name->second;
      partition.epoch = row->epoch();
      if (row->offset() < 0) continue;
      partition.committed = {Offset(row->offset()), LeaderEpoch(row->leader_epoch())};
    }
  }
  {
    const std::lock_guard lock(mutex_);
    news_.assignment = {joins_, version_, std::move(given)};
  }
  knows_its_own_ = true;
  if (state_ == State::kMember) Confirm(joined_at_);
  wake_();
}

// ---- heartbeats ----

void GroupSession::Tick() {
  if (state_ != State::kMember) return;
  LeaveIfStuck();
  if (state_ != State::kMember) return;
  const auto now = std::chrono::steady_clock::now();
  if (now >= heartbeat_at_) {
    if (heartbeats_on_wire_ == 0) SendHeartbeat();
    heartbeat_at_ = now + heartbeat_;
  }
  auto next = heartbeat_at_;
  if (options_.max_processing.has_value()) {
    next = std::min(next, now + std::max(*options_.max_processing / 4, kTickMin));
  }
  tick_timer_.expires_at(next);  // cancels what waited before
  tick_timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (!error) self->Tick();
  });
}

void GroupSession::SendHeartbeat() {
  ++heartbeats_on_wire_;
  Ask(
      BuildOf([this](Builder& builder) {
        const auto group = cairn::ToWire(builder, options_.group);
        const wire::Uuid member = cairn::ToWire(member_);
        return wire::CreateGroupHeartbeat(builder, group, &member, version_);
      }),
      [this, join = joins_, sent_at = BootClock::now()](const ReceivedFrame& reply) {
        --heartbeats_on_wire_;
        if (state_ == State::kMember && join == joins_) OnHeartbeat(sent_at, reply);
      },
      [this] { --heartbeats_on_wire_; });
}

void GroupSession::OnHeartbeat(BootClock::time_point sent_at, const ReceivedFrame& reply) {
  const auto alive = ReplyAs<wire::GroupAlive>(*reply.message);
  if (alive.ok()) {
    if (!knows_its_own_) {
      joined_at_ = sent_at;
      return;
    }
    return Confirm(sent_at);
  }
  if (IsNoMember(alive.status())) return JoinAnew(alive.status());
  // Others pass, or leave the session to its end.
  if (CodeOf(alive.status()) == ErrorCode::kFencedInstance) Fail(alive.status());
}

void GroupSession::LeaveIfStuck() {
  if (!options_.max_processing.has_value()) return;
  {
    const std::lock_guard lock(mutex_);
    if (!busy_since_.has_value()) return;
    if (BootClock::now() - *busy_since_ <= *options_.max_processing) return;
    stuck_ = true;
  }
  Lose(MakeError(ErrorCode::kUnknownMember,
                 absl::StrFormat("the member left group %s: more than %d ms between two polls",
                                 options_.group, options_.max_processing->count())));
  wants_in_ = false;
  state_ = State::kOut;
  Tell(LeaveOf(options_.group, member_));
  DropRequests(absl::OkStatus());
}

// ---- commits and releases ----

void GroupSession::Enqueue(std::shared_ptr<Request> request) {
  core_->Post([self = shared_from_this(), request = std::move(request)] {
    const bool is_end = request->kind == Request::Kind::kEnd;
    const bool out = self->state_ == State::kOut && !self->wants_in_;  // by its own will
    self->requests_.push_back(request);
    if (self->state_ == State::kFinished || out || (is_end && self->joins_ == 0)) {
      self->DropRequests(MakeError(
          ErrorCode::kUnknownMember,
          absl::StrFormat("this is no member of group %s any more", self->options_.group)));
    }
    self->SendQueued();
  });
}

// A later session counts its assignments anew, and has them answered anew.
void GroupSession::DropOldReleases() {
  for (const auto& request : std::vector(requests_.begin(), requests_.end())) {
    if (request->kind != Request::Kind::kRelease || request->join == joins_) continue;
    Done(request, absl::OkStatus());
  }
}

// Commits are many at a time; what comes after them waits for their answers, for one of them may
// have to be repeated.
void GroupSession::SendQueued() {
  if (retrying_) return;
  DropOldReleases();
  std::size_t on_wire = 0;
  // By value: what fails at once changes the queue.
  for (const auto& request : std::vector(requests_.begin(), requests_.end())) {
    if (state_ != State::kMember) return;
    if (request->kind != Request::Kind::kCommit) {
      if (!requests_.empty() && requests_.front() == request && !request->on_wire) Send(request);
      return;
    }
    if (++on_wire > kCommitsOnWireMax) return;
    if (!request->on_wire && !request->done) Send(request);
  }
}

void GroupSession::Send(const std::shared_ptr<Request>& request) {
  if (!request->build) return Done(request, absl::OkStatus());
  request->on_wire = true;
  const bool sent = Ask(
      request->build,
      [this, request](const ReceivedFrame& reply) {
        request->on_wire = false;
        if (!request->done) OnAnswer(request, reply);
      },
      [request] {
        request->on_wire = false;
        request->repeated = true;
      });
  if (sent) return;
  Done(request,
       absl::InvalidArgumentError("more than fits in one request; commit fewer offsets at a time"));
}

void GroupSession::OnAnswer(const std::shared_ptr<Request>& request, const ReceivedFrame& reply) {
  if (const auto* failure = reply.message->body_as_Failure()) {
    return OnRefused(request, StatusFromWire(failure->code(), FromWire(failure->message())));
  }
  if (!retrying_) backoff_.Reset();
  std::vector<ErrorCode> codes;
  if (request->kind == Request::Kind::kCommit) {
    const auto committed = ReplyAs<wire::OffsetsCommitted>(*reply.message);
    if (!committed.ok()) return Done(request, committed.status());
    const auto* rows = (*committed)->codes();
    if (rows == nullptr || rows->size() != request->commits) {
      return Done(request, absl::InternalError("the broker did not answer for every commit"));
    }
    for (const std::uint16_t row : *rows) {
      ErrorCode code = static_cast<ErrorCode>(row);
      // It was done the first time, and a later one of this member's as well.
      if (code == ErrorCode::kCommitBehind && request->repeated) code = ErrorCode::kOk;
      codes.push_back(code);
    }
  }
  Done(request, absl::OkStatus(), std::move(codes));
  SendQueued();
}

void GroupSession::OnRefused(const std::shared_ptr<Request>& request, const absl::Status& why) {
  const bool is_commit = request->kind == Request::Kind::kCommit;
  if (IsNoMember(why)) return JoinAnew(why);
  if (CodeOf(why) == ErrorCode::kFencedInstance) return Fail(why);
  if (IsTransient(why) || (!is_commit && CodeOf(why) == ErrorCode::kInternal)) {
    request->repeated = true;
    return RetryLater();
  }
  if (request->kind == Request::Kind::kRelease) return Fail(why);
  Done(request, why);
  SendQueued();
}

void GroupSession::Done(const std::shared_ptr<Request>& request, const absl::Status& status,
                        std::vector<ErrorCode> codes) {
  if (std::exchange(request->done, true)) return;
  const auto place = std::find(requests_.begin(), requests_.end(), request);
  if (place != requests_.end()) requests_.erase(place);
  if (request->kind == Request::Kind::kEnd) return Stop();
  if (request->kind != Request::Kind::kCommit) return;
  {
    const std::lock_guard lock(mutex_);
    news_.answers.push_back({request->number, Detached(status), std::move(codes)});
  }
  wake_();
}

void GroupSession::DropRequests(const absl::Status& why) {
  while (!requests_.empty()) Done(std::shared_ptr<Request>(requests_.front()), why);
}

// ---- ends ----

void GroupSession::EndNow(bool leave) {
  if (state_ == State::kFinished) return;
  // Commits that were sent arrive before it.
  if (leave && state_ != State::kOut) {
    Tell(LeaveOf(options_.group, member_));
  }
  Stop();
  DropRequests(absl::CancelledError("the consumer is closed"));
}

void GroupSession::Lose(const absl::Status& why) {
  was_member_ = false;
  version_ = 0;
  knows_its_own_ = false;
  {
    const std::lock_guard lock(mutex_);
    news_.lost = true;
    news_.assignment.reset();
    news_.sure_until = {};
  }
  // The end of it is still wanted.
  for (const auto& request : std::vector(requests_.begin(), requests_.end())) {
    if (request->kind != Request::Kind::kEnd) Done(request, why);
  }
  wake_();
}

void GroupSession::JoinAnew(const absl::Status& why) {
  Lose(why);
  DropRequests(why);
  if (state_ != State::kMember) return;
  state_ = State::kJoining;
  SendJoin();
}

void GroupSession::Fail(const absl::Status& why) {
  {
    const std::lock_guard lock(mutex_);
    news_.failed = Detached(why);
  }
  Lose(why);
  DropRequests(why);
  Stop();
}

void GroupSession::Stop() {
  if (state_ == State::kFinished) return;
  state_ = State::kFinished;
  tick_timer_.cancel();
  retry_timer_.cancel();
  core_->RemoveMember(member_);
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_();
}

void GroupSession::Confirm(BootClock::time_point heard_of_at) {
  {
    const std::lock_guard lock(mutex_);
    news_.sure_until = std::max(news_.sure_until, heard_of_at + options_.session_timeout);
  }
  wake_();
}

}  // namespace cairn::client
