// Resets of a group's offsets: a part of GroupShard.

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "broker/groups/group_shard.h"
#include "broker/runtime/logging.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

absl::Status NobodyWaits(const std::string& name) {
  return MakeError(ErrorCode::kTimedOut,
                   absl::StrFormat("nothing was reset: the connection that asked for the reset of "
                                   "group %s ended while it waited for members",
                                   name));
}

std::string NameOf(const MemberId& id, const GroupMember& member) {
  std::string text = absl::StrFormat("%s (%s at %s", ToString(id), member.client_id, member.host);
  if (!member.instance_id.empty()) {
    text += absl::StrFormat(", instance %s", member.instance_id);
  }
  return text + ')';
}

}  // namespace

absl::Status GroupShard::CheckChanges(const ResetRequest& request) const {
  const std::shared_ptr<const KnownTopics> topics = rooms_.topics.Load();
  if (request.changes.empty()) {
    return MakeError(ErrorCode::kInvalidRequest, "a reset of no partitions");
  }
  std::set<TopicPartition> seen;
  for (const OffsetChange& change : request.changes) {
    const auto name = topics->names.find(change.partition.topic);
    if (name == topics->names.end()) {
      return MakeError(ErrorCode::kUnknownTopic, absl::StrFormat("there is no topic of id %s",
                                                                 ToString(change.partition.topic)));
    }
    const std::int32_t partitions = topics->readable.at(name->second).partitions;
    const std::int32_t partition = change.partition.partition.value();
    if (partition < 0 || partition >= partitions) {
      return MakeError(ErrorCode::kUnknownPartition,
                       absl::StrFormat("topic %s has no partition %d, only 0 to %d", name->second,
                                       partition, partitions - 1));
    }
    if (change.new_offset < kNoOffset || !seen.insert(change.partition).second) {
      return MakeError(ErrorCode::kInvalidRequest,
                       absl::StrFormat("%s:%d is to be moved twice, or to offset %d", name->second,
                                       partition, change.new_offset.value()));
    }
  }
  return absl::OkStatus();
}

void GroupShard::Reset(ResetRequest request, OnReset done) {
  if (absl::Status valid = CheckChanges(request); !valid.ok()) return done(std::move(valid));
  Submit([this, request = std::move(request), done = std::move(done)](GroupRound& round) mutable {
    const std::string name = request.group;
    Live& live = live_[name];
    if (live.reset.has_value() || !stopped_.ok()) {
      absl::Status why = stopped_;
      if (why.ok()) why = WhyUnderWay(name, *live.reset);
      round.OnDone([done = std::move(done), why = std::move(why)](const absl::Status&) mutable {
        done(std::move(why));
      });
      return;
    }
    for (const OffsetChange& change : request.changes) live.withheld.insert(change.partition);
    const SteadyTime deadline = std::chrono::steady_clock::now() + request.timeout;
    live.reset.emplace(PendingReset{std::move(request), std::move(done), deadline});
    look_at_ = SteadyTime::min();  // whether it is wanted, too
    if (MayReset(round.Draft(name).group(), *live.reset)) return DecideReset(round, name);
    round.Reassign(name);  // those who hold them are told to let go
  });
}

absl::Status GroupShard::WhyUnderWay(const std::string& name, const PendingReset& reset) const {
  const std::string_view what = reset.deciding
                                    ? "is just being written; try again"
                                    : "waits for members to let go; try again when that is over";
  return MakeError(ErrorCode::kResetUnderWay,
                   absl::StrFormat("another reset of group %s %s", name, what));
}

bool GroupShard::MayReset(const Group& group, const PendingReset& reset) const {
  if (reset.request.force) return true;
  return std::all_of(reset.request.changes.begin(), reset.request.changes.end(),
                     [&](const OffsetChange& change) {
                       const auto holding = group.holdings.find(change.partition);
                       return holding == group.holdings.end() || holding->second.owner == kNoMember;
                     });
}

void GroupShard::DecideReset(GroupRound& round, const std::string& name) {
  Live& live = live_.at(name);
  PendingReset& reset = *live.reset;
  if (!reset.is_wanted()) return EndReset(round, name, NobodyWaits(name));
  reset.deciding = true;
  live.withheld.clear();
  ResetDone outcome;
  outcome.changes = reset.request.changes;
  outcome.number = round.Draft(name).Reset(outcome.changes, reset.request.what,
                                           reset.request.undoes, rooms_.clock.Now());
  round.Reassign(name);
  round.OnDone([self = shared_from_this(), name,
                outcome = std::move(outcome)](const absl::Status& status) mutable {
    OnReset done;
    {
      const std::lock_guard lock(self->mutex_);
      Live& decided = self->live_.at(name);
      done = std::move(decided.reset->done);
      decided.reset.reset();
      self->DropIfIdle(name);
    }
    if (!status.ok()) {
      // What was withheld is given out again, from where it stood.
      self->Submit([name](GroupRound& next) { next.Reassign(name); });
      return done(status);
    }
    LogInfo("a group's offsets were reset",
            {{"group", name}, {"reset", outcome.number}, {"partitions", outcome.changes.size()}});
    done(std::move(outcome));
  });
}

// After a round: those who held a partition may have let go.
void GroupShard::TryResets(const GroupRound& round) {
  for (const std::string& name : round.reassigned()) {
    const auto live = live_.find(name);
    if (live == live_.end() || !live->second.reset.has_value() || live->second.reset->deciding) {
      continue;
    }
    const Group* group = table_.Find(name);
    if (!MayReset(group == nullptr ? Group() : *group, *live->second.reset)) continue;
    // The round that ends is followed by another one, for Run goes on.
    queue_.push_front([this, name](GroupRound& next) {
      const auto now = live_.find(name);
      if (now == live_.end() || !now->second.reset.has_value()) return;
      PendingReset& reset = *now->second.reset;
      if (!reset.deciding && MayReset(next.Draft(name).group(), reset)) DecideReset(next, name);
    });
  }
}

std::string GroupShard::HoldersOf(const Group& group, const PendingReset& reset) const {
  std::set<std::string> holders;
  for (const OffsetChange& change : reset.request.changes) {
    const auto holding = group.holdings.find(change.partition);
    if (holding == group.holdings.end() || holding->second.owner == kNoMember) continue;
    const auto member = group.members.find(holding->second.owner);
    if (member == group.members.end()) continue;
    holders.insert(NameOf(member->first, member->second));
  }
  return absl::StrJoin(holders, ", ");
}

// With `why` OK: if its time is over, or nobody wants it any more.
void GroupShard::CancelReset(const std::string& name, const absl::Status& why) {
  Submit([this, name, why](GroupRound& round) {
    const auto live = live_.find(name);
    if (live == live_.end() || !live->second.reset.has_value()) return;
    const PendingReset& reset = *live->second.reset;
    if (reset.deciding) return;
    if (!why.ok()) return EndReset(round, name, why);
    if (!reset.is_wanted()) return EndReset(round, name, NobodyWaits(name));
    if (reset.deadline > std::chrono::steady_clock::now()) return;
    EndReset(round, name, TookTooLong(round, name));
  });
}

void GroupShard::EndReset(GroupRound& round, const std::string& name, const absl::Status& why) {
  Live& live = live_.at(name);
  round.OnDone(
      [done = std::move(live.reset->done), why](const absl::Status&) mutable { done(why); });
  live.reset.reset();
  live.withheld.clear();
  round.Reassign(name);  // what was withheld is given out again, from where it stood
  DropIfIdle(name);
}

absl::Status GroupShard::TookTooLong(const GroupRound& round, const std::string& name) const {
  const PendingReset& reset = *live_.find(name)->second.reset;
  const Group* group = round.Find(name);
  return MakeError(
      ErrorCode::kTimedOut,
      absl::StrFormat("nothing was reset: after %d ms these members of group %s still work on "
                      "records of the partitions: %s; try again, or do not wait for them (--force)",
                      reset.request.timeout.count(), name,
                      HoldersOf(group == nullptr ? Group() : *group, reset)));
}

}  // namespace cairn::broker
