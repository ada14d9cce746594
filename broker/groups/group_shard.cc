#include "broker/groups/group_shard.h"

#include <algorithm>
#include <atomic>

#include "absl/strings/str_format.h"

#include "broker/groups/topic_pattern.h"
#include "broker/runtime/logging.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

// A round takes no more, so that its batch stays small: far below what the log takes at once.
constexpr std::size_t kTasksPerRound = 1000;
constexpr std::size_t kBytesPerRound = 1 << 20;  // and as many that are given out
// Those who are told that they are fenced, however late they ask.
constexpr std::size_t kFencedKept = 100;

absl::Status UnknownMember(const std::string& group, const MemberId& member) {
  return MakeError(ErrorCode::kUnknownMember,
                   absl::StrFormat("group %s has no member %s: its session ended, or it left; join "
                                   "again",
                                   group, ToString(member)));
}

absl::Status Fenced(const std::string& group) {
  return MakeError(ErrorCode::kFencedInstance,
                   absl::StrFormat("another member joined group %s with the same instance id, and "
                                   "took over; give each running instance an id of its own",
                                   group));
}

// kOk, kUnknownTopic, kUnknownPartition.
ErrorCode CheckPartition(const KnownTopics& topics, const TopicPartition& id) {
  const auto name = topics.names.find(id.topic);
  if (name == topics.names.end()) return ErrorCode::kUnknownTopic;
  const std::int32_t partition = id.partition.value();
  const bool known = partition >= 0 && partition < topics.readable.at(name->second).partitions;
  return known ? ErrorCode::kOk : ErrorCode::kUnknownPartition;
}

bool HasTopic(const Group& group, const TopicId& id) {
  const TopicPartition first{id, PartitionIndex(0)};
  const auto offset = group.offsets.lower_bound(first);
  if (offset != group.offsets.end() && offset->first.topic == id) return true;
  const auto holding = group.holdings.lower_bound(first);
  return holding != group.holdings.end() && holding->first.topic == id;
}

bool Wants(const Group& group, const std::string& topic) {
  for (const auto& [id, member] : group.members) {
    for (const std::string& wanted : member.topics) {
      if (MatchesTopicPattern(wanted, topic)) return true;
    }
  }
  return false;
}

}  // namespace

GroupShard::GroupShard(Rooms rooms, std::shared_ptr<Partition> partition)
    : rooms_(rooms), partition_(std::move(partition)) {}

absl::Status GroupShard::Start(SteadyTime now) {
  state_ = std::make_shared<StateTopic>(partition_, rooms_.helpers,
                                        [this](ByteView key, std::optional<ByteView> value) {
                                          const std::lock_guard lock(mutex_);
                                          return table_.Apply(key, value);
                                        });
  status_ = state_->Replay();
  RETURN_IF_ERROR(status_);
  const std::shared_ptr<const KnownTopics> topics = rooms_.topics.Load();
  std::vector<std::string> concerned;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, group] : table_.groups()) {
      const auto is_gone = [&](const auto& row) { return !topics->all.contains(row.first.topic); };
      const bool forgets = std::any_of(group.offsets.begin(), group.offsets.end(), is_gone) ||
                           std::any_of(group.holdings.begin(), group.holdings.end(), is_gone);
      if (forgets || !group.members.empty()) concerned.push_back(name);
      for (const auto& [id, member] : group.members) {
        Session& session = live_[name].sessions[id];
        session.deadline = now + std::chrono::milliseconds(member.session_timeout_ms);
        look_at_ = std::min(look_at_, session.deadline);
        rooms_.sessions.Add(1);
      }
    }
  }
  for (std::string& name : concerned) {
    Submit([this, name = std::move(name)](GroupRound& round) { TakeInTopics(round, name); });
  }
  return absl::OkStatus();
}

// ---- rounds ----

void GroupShard::Submit(Task task) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
    if (running_) return;
    running_ = true;
  }
  Run();
}

void GroupShard::Run() {
  for (;;) {
    auto round = std::make_shared<GroupRound>(table_);
    std::vector<StateRecord> records;
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty()) {
        running_ = false;
        return;
      }
      Decide(*round);
      records = round->Records();
    }
    if (records.empty()) {
      Finish(*round, absl::OkStatus());
      continue;
    }
    // What is refused is refused before Append returns, and then this loop goes on, not one within
    // it: of the two that come to the end of this round, the second goes on.
    const auto is_over = std::make_shared<std::atomic<bool>>(false);
    state_->Append(records, rooms_.clock.Now(),
                   [self = shared_from_this(), round, is_over](const absl::Status& status) {
                     self->NoteWritten(status);
                     self->Finish(*round, status);
                     if (is_over->exchange(true)) self->Run();
                   });
    if (!is_over->exchange(true)) return;
  }
}

void GroupShard::Decide(GroupRound& round) {
  for (std::size_t i = 0; i < kTasksPerRound && !queue_.empty(); ++i) {
    Task task = std::move(queue_.front());
    queue_.pop_front();
    task(round);
    if (round.CountBytes() >= kBytesPerRound) break;
  }
  const std::size_t bytes_max = round.CountBytes() + kBytesPerRound;
  for (const std::string& name : round.reassigned()) {
    const auto live = live_.find(name);
    if (round.Find(name) == nullptr) continue;
    if (round.CountBytes() >= bytes_max) {
      queue_.push_front([name](GroupRound& next) { next.Reassign(name); });
      continue;
    }
    round.Draft(name).GiveOut(live == live_.end() ? std::set<TopicPartition>()
                                                  : live->second.withheld);
  }
}

// Of many failures in a row the first is told.
void GroupShard::NoteWritten(const absl::Status& status) {
  {
    const std::lock_guard lock(mutex_);
    const bool was_failing = std::exchange(failing_, !status.ok());
    if (status.ok() || was_failing) return;
  }
  LogWarning("a change of groups could not be written",
             {{"partition", partition_->id().partition.value()}, {"reason", status}});
}

void GroupShard::Finish(GroupRound& round, const absl::Status& status) {
  std::vector<Push> pushes;
  {
    const std::lock_guard lock(mutex_);
    if (status.ok()) {
      for (const std::string& name : round.reassigned()) TellMembers(name, pushes);
      TryResets(round);
    }
  }
  for (GroupRound::Done& done : round.TakeDone()) done(status);
  std::vector<Ending> endings;
  {
    const std::lock_guard lock(mutex_);
    endings.swap(endings_);
  }
  for (const Ending& ending : endings) {
    if (ending.sink != nullptr) ending.sink->Ended(ending.group, ending.member, ending.why);
  }
  for (const Push& push : pushes) push.sink->Assigned(push.group, push.member, push.assignment);
}

// ---- what members are told ----

void GroupShard::TellMembers(const std::string& name, std::vector<Push>& pushes) {
  const auto live = live_.find(name);
  const Group* group = table_.Find(name);
  if (live == live_.end() || group == nullptr) return;
  std::map<MemberId, std::map<TopicPartition, std::int64_t>> held;
  for (const auto& [partition, holding] : group->holdings) {
    if (holding.owner == kNoMember || holding.owner != holding.target) continue;
    if (live->second.withheld.contains(partition)) continue;
    held[holding.owner][partition] = holding.epoch;
  }
  for (auto& [id, session] : live->second.sessions) {
    std::map<TopicPartition, std::int64_t>& now = held[id];
    // The first says that there is nothing, too.
    if (session.is_told && session.held == now) continue;
    session.is_told = true;
    session.held = std::move(now);
    ++session.version;
    if (session.sink != nullptr) pushes.push_back(MakePush(name, id, session, *group));
  }
}

GroupShard::Push GroupShard::MakePush(const std::string& name, const MemberId& member,
                                      const Session& session, const Group& group) const {
  const std::shared_ptr<const KnownTopics> topics = rooms_.topics.Load();
  Push push{session.sink, name, member, {}};
  push.assignment.version = session.version;
  for (const auto& [partition, epoch] : session.held) {
    const auto topic = topics->names.find(partition.topic);
    if (topic == topics->names.end()) continue;  // deleted a moment ago
    if (push.assignment.topics.empty() || push.assignment.topics.back().first != partition.topic) {
      push.assignment.topics.emplace_back(partition.topic, topic->second);
    }
    MemberAssignment::Partition& given = push.assignment.partitions.emplace_back();
    given.id = partition;
    given.epoch = epoch;
    const auto offset = group.offsets.find(partition);
    if (offset == group.offsets.end()) continue;
    given.offset = offset->second.offset;
    given.leader_epoch = offset->second.leader_epoch;
  }
  return push;
}

// ---- sessions ----

void GroupShard::StartSession(const std::string& group, const MemberId& member,
                              std::shared_ptr<MemberSink> sink) {
  const Group* row = table_.Find(group);
  if (row == nullptr) return;
  const auto found = row->members.find(member);
  if (found == row->members.end()) return;
  Live& live = live_[group];
  const auto [session, is_new] = live.sessions.try_emplace(member);
  if (is_new) rooms_.sessions.Add(1);
  session->second.sink = std::move(sink);
  session->second.is_told = false;  // whatever it holds
  session->second.deadline = std::chrono::steady_clock::now() +
                             std::chrono::milliseconds(found->second.session_timeout_ms);
  look_at_ = std::min(look_at_, session->second.deadline);
}

void GroupShard::EndSession(const std::string& group, const MemberId& member,
                            const absl::Status& why) {
  const auto live = live_.find(group);
  if (live == live_.end()) return;
  const auto session = live->second.sessions.find(member);
  if (session == live->second.sessions.end()) return;
  if (!why.ok()) endings_.push_back({std::move(session->second.sink), group, member, why});
  live->second.sessions.erase(session);
  rooms_.sessions.Add(-1);
  DropIfIdle(group);
}

void GroupShard::SetEnding(const std::string& group, const MemberId& member, bool is_ending) {
  const auto live = live_.find(group);
  if (live == live_.end()) return;
  const auto session = live->second.sessions.find(member);
  if (session != live->second.sessions.end()) session->second.is_ending = is_ending;
}

void GroupShard::DropIfIdle(const std::string& name) {
  const auto live = live_.find(name);
  if (live == live_.end() || !live->second.sessions.empty() || live->second.reset.has_value()) {
    return;
  }
  live_.erase(live);
}

absl::Status GroupShard::CheckMember(const GroupRound& round, const std::string& group,
                                     const MemberId& member) const {
  if (IsFenced(group, member)) return Fenced(group);
  const Group* found = round.Find(group);
  if (found == nullptr || !found->members.contains(member)) return UnknownMember(group, member);
  return absl::OkStatus();
}

absl::Status GroupShard::Heartbeat(const std::string& group, const MemberId& member,
                                   std::uint64_t version, const std::shared_ptr<MemberSink>& sink,
                                   SteadyTime now) {
  std::optional<Push> push;
  {
    const std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(stopped_);
    const GroupRound nothing(table_);
    RETURN_IF_ERROR(CheckMember(nothing, group, member));
    const auto live = live_.find(group);
    if (live == live_.end()) return UnknownMember(group, member);
    const auto found = live->second.sessions.find(member);
    if (found == live->second.sessions.end()) return UnknownMember(group, member);
    Session& session = found->second;
    // Others may have what it holds before it hears of it: nothing that it could count on. It joins
    // again once that is done and it is told, not before what it is told of the end.
    if (session.is_ending) {
      return MakeError(ErrorCode::kTimedOut,
                       absl::StrFormat("the session of member %s in group %s is ending",
                                       ToString(member), group));
    }
    const Group& row = *table_.Find(group);
    session.deadline = now + std::chrono::milliseconds(row.members.at(member).session_timeout_ms);
    session.sink = sink;
    if (version < session.version) push = MakePush(group, member, session, row);
  }
  if (push.has_value()) push->sink->Assigned(push->group, push->member, push->assignment);
  return absl::OkStatus();
}

void GroupShard::Expire(SteadyTime now) {
  std::vector<std::pair<std::string, MemberId>> over;
  std::vector<std::string> resets_over;
  {
    const std::lock_guard lock(mutex_);
    if (now < look_at_) return;
    look_at_ = SteadyTime::max();
    const auto is_over = [&](SteadyTime deadline) {
      // What is over is looked at again, should it not be written that it is.
      look_at_ = std::min(look_at_, deadline <= now ? now + std::chrono::seconds(1) : deadline);
      return deadline <= now;
    };
    for (const auto& [name, live] : live_) {
      for (const auto& [id, session] : live.sessions) {
        if (is_over(session.deadline)) over.emplace_back(name, id);
      }
      if (!live.reset.has_value() || live.reset->deciding) continue;
      look_at_ = now;  // nobody says that who asked has left
      if (live.reset->deadline <= now || !live.reset->is_wanted()) resets_over.push_back(name);
    }
  }
  for (const auto& [name, id] : over) {
    Submit([this, name = name, id = id](GroupRound& round) { EndIfOver(round, name, id); });
  }
  for (const std::string& name : resets_over) CancelReset(name, absl::OkStatus());
}

void GroupShard::EndIfOver(GroupRound& round, const std::string& name, const MemberId& member) {
  // It may have been heard of since.
  const auto live = live_.find(name);
  if (live == live_.end() || round.Find(name) == nullptr) return;
  const auto session = live->second.sessions.find(member);
  if (session == live->second.sessions.end()) return;
  if (session->second.deadline > std::chrono::steady_clock::now()) return;
  LogInfo("a member's session ended", {{"group", name}, {"member", ToString(member)}});
  GroupDraft& draft = round.Draft(name);
  draft.Leave(member);
  if (!draft.group().members.empty()) draft.Rebalance(rooms_.topics.Load()->readable);
  round.Reassign(name);
  SetEnding(name, member, true);
  round.OnDone([self = shared_from_this(), name, member](const absl::Status& status) {
    const std::lock_guard lock(self->mutex_);
    if (!status.ok()) return self->SetEnding(name, member, false);
    self->EndSession(name, member, UnknownMember(name, member));
  });
}

void GroupShard::RestartSessions(SteadyTime now) {
  const std::lock_guard lock(mutex_);
  for (auto& [name, live] : live_) {
    const Group* group = table_.Find(name);
    if (group == nullptr) continue;
    for (auto& [id, session] : live.sessions) {
      const auto member = group->members.find(id);
      if (member == group->members.end()) continue;
      session.deadline = now + std::chrono::milliseconds(member->second.session_timeout_ms);
      look_at_ = std::min(look_at_, session.deadline);
    }
  }
}

void GroupShard::Forgive(std::chrono::steady_clock::duration held_up) {
  const std::lock_guard lock(mutex_);
  for (auto& [name, live] : live_) {
    for (auto& [id, session] : live.sessions) session.deadline += held_up;
  }
}

// ---- members ----

void GroupShard::Join(JoinRequest request, Joined done) {
  Submit([this, request = std::move(request), done = std::move(done)](GroupRound& round) mutable {
    const auto refuse = [&](absl::Status why) {
      round.OnDone([done = std::move(done), why = std::move(why)](const absl::Status&) mutable {
        done(std::move(why));
      });
    };
    if (!stopped_.ok()) return refuse(stopped_);
    if (IsFenced(request.group, request.member)) return refuse(Fenced(request.group));
    GroupDraft& draft = round.Draft(request.group);
    const std::optional<MemberId> instance = draft.FindInstance(request.row.instance_id);
    if (request.rejoins && instance.has_value() && *instance != request.member) {
      return refuse(Fenced(request.group));
    }
    // Who takes another one's place is no more than that one was.
    if (draft.group().members.size() >= kGroupMembersMax && !instance.has_value() &&
        !draft.group().members.contains(request.member)) {
      return refuse(MakeError(ErrorCode::kTooManyInFlight,
                              absl::StrFormat("group %s has %d members, the most it may",
                                              request.group, kGroupMembersMax)));
    }
    const GroupDraft::Joined joined =
        draft.Join(request.member, std::move(request.row), request.assignor);
    if (draft.Rebalance(rooms_.topics.Load()->readable) > 0) {
      LogWarning("a group asks for more topics than it may read; some are left out",
                 {{"group", request.group}});
    }
    round.Reassign(request.group);
    if (joined.fenced.has_value()) SetEnding(request.group, *joined.fenced, true);
    round.OnDone([self = shared_from_this(), group = request.group, member = request.member,
                  sink = std::move(request.sink), joined,
                  done = std::move(done)](const absl::Status& status) mutable {
      if (!status.ok()) {
        if (joined.fenced.has_value()) {
          const std::lock_guard lock(self->mutex_);
          self->SetEnding(group, *joined.fenced, false);
        }
        return done(status);
      }
      {
        const std::lock_guard lock(self->mutex_);
        self->StartSession(group, member, std::move(sink));
        if (joined.fenced.has_value()) self->Fence(group, *joined.fenced);
      }
      done(joined.is_new);
      self->Submit([group](GroupRound& next) { next.Reassign(group); });  // tells it what it holds
    });
  });
}

void GroupShard::Fence(const std::string& group, const MemberId& member) {
  std::deque<MemberId>& fenced = live_[group].fenced;
  if (fenced.size() >= kFencedKept) fenced.pop_front();
  fenced.push_back(member);
  EndSession(group, member, Fenced(group));
}

bool GroupShard::IsFenced(const std::string& group, const MemberId& member) const {
  const auto live = live_.find(group);
  if (live == live_.end()) return false;
  const std::deque<MemberId>& fenced = live->second.fenced;
  return std::find(fenced.begin(), fenced.end(), member) != fenced.end();
}

void GroupShard::Leave(const std::string& group, const MemberId& member, Done done) {
  Submit([this, group, member, done = std::move(done)](GroupRound& round) mutable {
    const Group* before = round.Find(group);
    if (before != nullptr && before->members.contains(member)) {
      GroupDraft& draft = round.Draft(group);
      draft.Leave(member);
      if (!draft.group().members.empty()) draft.Rebalance(rooms_.topics.Load()->readable);
      round.Reassign(group);
      SetEnding(group, member, true);
    }
    round.OnDone([self = shared_from_this(), group, member,
                  done = std::move(done)](const absl::Status& status) mutable {
      {
        const std::lock_guard lock(self->mutex_);
        if (status.ok()) {
          self->EndSession(group, member, absl::OkStatus());
        } else {
          self->SetEnding(group, member, false);
        }
      }
      done(status);
    });
  });
}

void GroupShard::Release(const std::string& group, const MemberId& member, std::uint64_t version,
                         std::vector<HeldPartition> keeps, Done done) {
  Submit([this, group, member, version, keeps = std::move(keeps),
          done = std::move(done)](GroupRound& round) mutable {
    absl::Status found = CheckMember(round, group, member);
    if (found.ok()) {
      const std::vector<HeldPartition> gone =
          LetGo(group, member, version, *round.Find(group), keeps);
      if (!gone.empty()) {
        round.Draft(group).Release(member, gone);
        round.Reassign(group);
      }
    }
    round.OnDone([found = std::move(found), done = std::move(done)](
                     const absl::Status& status) mutable { done(found.ok() ? status : found); });
  });
}

// What the member was given and holds no more.
std::vector<HeldPartition> GroupShard::LetGo(const std::string& group, const MemberId& member,
                                             std::uint64_t version, const Group& row,
                                             const std::vector<HeldPartition>& keeps) const {
  std::vector<HeldPartition> gone;
  const auto live = live_.find(group);
  if (live == live_.end()) return gone;
  const auto session = live->second.sessions.find(member);
  if (session == live->second.sessions.end() || session->second.version != version) return gone;
  std::set<std::pair<TopicPartition, std::int64_t>> kept;
  for (const HeldPartition& each : keeps) kept.emplace(each.partition, each.epoch);
  for (const auto& [id, holding] : row.holdings) {
    if (holding.owner != member || kept.contains({id, holding.epoch})) continue;
    const auto told = session->second.held.find(id);
    if (told != session->second.held.end() && told->second == holding.epoch) continue;
    gone.push_back({id, holding.epoch});
  }
  return gone;
}

// ---- offsets ----

void GroupShard::Commit(const std::string& group, const MemberId& member,
                        std::vector<OffsetCommit> commits, Committed done) {
  Submit([this, group, member, commits = std::move(commits),
          done = std::move(done)](GroupRound& round) mutable {
    absl::Status found;
    if (member != kNoMember) found = CheckMember(round, group, member);
    std::vector<ErrorCode> codes;
    if (found.ok()) {
      const std::shared_ptr<const KnownTopics> topics = rooms_.topics.Load();
      GroupDraft& draft = round.Draft(group);
      const Timestamp now = rooms_.clock.Now();
      for (const OffsetCommit& commit : commits) {
        ErrorCode code = CheckPartition(*topics, commit.partition);
        if (code == ErrorCode::kOk) {
          code = GroupDraft::CheckCommit(draft.group(), member, commit);
        }
        codes.push_back(code);
        if (codes.back() == ErrorCode::kOk) draft.Commit(commit, now);
      }
    }
    round.OnDone([found = std::move(found), codes = std::move(codes),
                  done = std::move(done)](const absl::Status& status) mutable {
      if (!found.ok()) return done(found);
      if (!status.ok()) return done(status);
      done(std::move(codes));
    });
  });
}

void GroupShard::Delete(const std::string& group, Done done) {
  Submit([group, done = std::move(done)](GroupRound& round) mutable {
    absl::Status refused;
    const Group* found = round.Find(group);
    if (found == nullptr) {
      refused = MakeError(ErrorCode::kUnknownGroup, absl::StrFormat("there is no group %s", group));
    } else if (!found->members.empty()) {
      refused =
          MakeError(ErrorCode::kGroupNotEmpty,
                    absl::StrFormat("group %s has %d member%s; stop %s first", group,
                                    found->members.size(), found->members.size() == 1 ? "" : "s",
                                    found->members.size() == 1 ? "it" : "them"));
    } else {
      round.Draft(group).Delete();
    }
    round.OnDone(
        [refused = std::move(refused), done = std::move(done)](const absl::Status& status) mutable {
          done(refused.ok() ? status : refused);
        });
  });
}

void GroupShard::TopicChanged(const TopicId& id, const std::string& name) {
  // In its turn: a member that joins, or a commit, may be on its way into the table just now.
  Submit([this, id, name](GroupRound& round) {
    const std::vector<std::string> concerned = round.FindAll(
        [&](const Group& group) { return HasTopic(group, id) || Wants(group, name); });
    for (const std::string& group : concerned) {
      queue_.push_front([this, group](GroupRound& next) { TakeInTopics(next, group); });
    }
  });
}

void GroupShard::TakeInTopics(GroupRound& round, const std::string& name) {
  if (round.Find(name) == nullptr) return;
  const std::shared_ptr<const KnownTopics> topics = rooms_.topics.Load();
  GroupDraft& draft = round.Draft(name);
  draft.ForgetTopics(topics->all);
  if (draft.group().members.empty()) return;
  draft.Rebalance(topics->readable);
  round.Reassign(name);
}

// ---- looking ----

std::optional<GroupShard::Picture> GroupShard::Find(std::string_view group) const {
  const std::lock_guard lock(mutex_);
  const Group* found = table_.Find(group);
  if (found == nullptr) return std::nullopt;
  const auto live = live_.find(group);
  return Picture{*found, live != live_.end() && live->second.reset.has_value()};
}

std::vector<std::string> GroupShard::Names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  names.reserve(table_.groups().size());
  for (const auto& [name, group] : table_.groups()) names.push_back(name);
  return names;
}

void GroupShard::Stop(const absl::Status& why) {
  std::vector<std::string> waiting;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = why;
    for (const auto& [name, live] : live_) {
      if (live.reset.has_value()) waiting.push_back(name);
    }
  }
  for (const std::string& name : waiting) CancelReset(name, why);
}

}  // namespace cairn::broker
