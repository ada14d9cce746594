#include "tools/cairn/consume_group.h"

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "client/consumer.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "tools/cairn/interrupt.h"
#include "tools/cairn/slow_notice.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr client::Duration kCommitTimeout{10'000};
constexpr client::Duration kCloseTimeout{10'000};
constexpr std::chrono::milliseconds kMoment{1'000};
constexpr std::size_t kHoldersNamed = 3;

bool IsPattern(const std::string& topic) { return topic.find_first_of("*?") != std::string::npos; }

// A name that is misspelled would be waited for without a word.
absl::Status CheckTopics(const GroupConsumption& wanted, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  for (const std::string& topic : wanted.topics) {
    if (IsInternalTopicName(topic)) {
      return UsageError(
          absl::StrFormat("'%s': what begins with \"__\" is the broker's own, and no group reads "
                          "it; 'cairn consume "
                          "%s' does, without -g",
                          topic, topic));
    }
    if (IsPattern(topic)) continue;
    const absl::Status found = admin.Offsets(topic).status();
    if (found.ok()) continue;
    if (CodeOf(found) != ErrorCode::kUnknownTopic || wanted.stop_at_end) return found;
    Session::Say(absl::StrFormat("cairn: there is no topic '%s' yet; waiting for it", topic));
  }
  return absl::OkStatus();
}

// Knows when all that a member holds is read to the end that it had when the member came to hold
// it.
class PresentEnd {
 public:
  explicit PresentEnd(client::Admin admin) : admin_(std::move(admin)) {}

  absl::StatusOr<bool> Reached(const client::Consumer& consumer, const RecordPrinter& printer) {
    const std::vector<client::GroupPartition> held = consumer.assignment();
    std::map<client::GroupPartition, Offset> ends;
    bool reached = !held.empty();
    for (const client::GroupPartition& partition : held) {
      if (printer.HasFailed(partition.topic, partition.partition)) continue;
      ASSIGN_OR_RETURN(ends[partition], EndOf(partition));
      const auto position = consumer.Position(partition.topic, partition.partition);
      reached = reached && position.ok() && position->has_value() && **position >= ends[partition];
    }
    ends_ = std::move(ends);  // what comes back later is looked up anew
    return reached;
  }

 private:
  absl::StatusOr<Offset> EndOf(const client::GroupPartition& partition) {
    if (const auto known = ends_.find(partition); known != ends_.end()) return known->second;
    ASSIGN_OR_RETURN(const auto found,
                     admin_.Offsets(partition.topic, std::nullopt, {partition.partition}));
    if (found.empty()) return absl::InternalError("the broker left out an offset");
    return found.front().committed_end;
  }

  client::Admin admin_;
  std::map<client::GroupPartition, Offset> ends_;
};

std::string HolderText(const client::GroupMemberDescription& member) {
  std::string text =
      absl::StrFormat("%s (%s at %s", ToString(member.id), member.client_id, member.host);
  if (!member.instance_id.empty()) text += absl::StrFormat(", instance %s", member.instance_id);
  return text + absl::StrFormat(", session %g s)",
                                static_cast<double>(member.session_timeout.count()) / 1000);
}

// For a member that holds nothing: who else does.
std::string WhatItWaitsFor(const client::GroupDescription& group) {
  std::set<std::size_t> owners;
  std::size_t held = 0;
  for (const client::GroupPartitionDescription& partition : group.partitions) {
    if (!partition.owner.has_value()) continue;
    owners.insert(*partition.owner);
    ++held;
  }
  if (held == 0) return "no topic that it reads is there yet";
  std::vector<std::string> names;
  for (const std::size_t owner : owners) {
    if (names.size() == kHoldersNamed) break;
    names.push_back(HolderText(group.members[owner]));
  }
  if (owners.size() > names.size()) names.emplace_back("others");
  return absl::StrFormat(
      "%d partition%s held by %s; a member that is gone loses what it held when its session is "
      "over",
      held, held == 1 ? " is" : "s are", absl::StrJoin(names, ", "));
}

// Says once why -e has nothing to come to the end of.
class IdleNotice {
 public:
  explicit IdleNotice(std::string group) : group_(std::move(group)) {}

  void Look(const client::Consumer& consumer, Session& session) {
    if (said_ || !consumer.assignment().empty()) {
      said_ = true;
      return;
    }
    if (std::chrono::steady_clock::now() - since_ < kMoment) return;
    said_ = true;
    auto admin = session.Ask();
    if (!admin.ok()) return;
    const auto described = admin->DescribeGroup(group_);
    if (!described.ok()) return;
    Session::Say(
        absl::StrFormat("cairn: group %s has no partition for this member yet: %s; waiting", group_,
                        WhatItWaitsFor(*described)));
  }

 private:
  const std::string group_;
  const std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
  bool said_ = false;
};

absl::Status PrintAll(const GroupConsumption& wanted, client::Consumer& consumer,
                      RecordPrinter& printer, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  PresentEnd present_end(std::move(admin));
  IdleNotice idle(wanted.group);
  while (!printer.done() && !Interrupt::requested()) {
    RETURN_IF_ERROR(printer.Step(consumer).status());
    if (!wanted.stop_at_end) continue;
    idle.Look(consumer, session);
    ASSIGN_OR_RETURN(const bool reached, present_end.Reached(consumer, printer));
    if (reached) break;
  }
  return absl::OkStatus();
}

// Commits what was printed, and leaves.
absl::Status Leave(const GroupConsumption& wanted, bool commits, client::Consumer& consumer,
                   Session& session) {
  const auto longest = std::chrono::duration_cast<std::chrono::seconds>(
      (commits ? kCommitTimeout : client::Duration(0)) + kCloseTimeout);
  const SlowNotice notice(
      kMoment, absl::StrFormat("cairn: leaving group %s: waiting for broker %s up to %d s%s",
                               wanted.group, session.broker, longest.count(),
                               Interrupt::requested() ? "; Ctrl-C again to stop at once" : ""));
  absl::Status status;
  if (commits) status = consumer.Commit(kCommitTimeout);
  status.Update(consumer.Close(kCloseTimeout));
  return status;
}

}  // namespace

absl::StatusOr<client::AutoOffsetReset> AutoOffsetResetOf(const OffsetRange& range) {
  if (!range.stop_at_present_end && !range.stop_time.has_value()) {
    switch (range.start) {
      case OffsetRange::Start::kEarliest:
        return client::AutoOffsetReset::Earliest();
      case OffsetRange::Start::kLatest:
        return client::AutoOffsetReset::Latest();
      case OffsetRange::Start::kTime:
        return client::AutoOffsetReset::AtTime(range.time);
      case OffsetRange::Start::kOffset:
      case OffsetRange::Start::kLast:
        break;
    }
  }
  return UsageError(
      "with -g, -o only says where a partition without a committed offset begins: start, end or "
      "@TIME; 'cairn group reset-offsets' moves the others");
}

absl::StatusOr<int> ConsumeAsMember(const GroupConsumption& wanted, RecordPrinter& printer,
                                    Session& session) {
  client::GroupOptions group;
  group.auto_offset_reset = wanted.begin;
  group.group = wanted.group;
  group.instance_id = wanted.instance_id;
  group.session_timeout = wanted.session_timeout.value_or(group.session_timeout);
  ASSIGN_OR_RETURN(auto cluster, session.Cluster());
  client::ConsumerOptions options;
  options.group = std::move(group);
  auto opened = client::Consumer::Open(std::move(cluster), std::move(options));
  if (absl::IsInvalidArgument(opened.status())) return AsUsageError(opened.status());
  ASSIGN_OR_RETURN(const auto consumer, std::move(opened));
  RETURN_IF_ERROR(CheckTopics(wanted, session));
  RETURN_IF_ERROR(consumer->Subscribe(wanted.topics));
  absl::Status status = PrintAll(wanted, *consumer, printer, session);
  // A reader that left has not seen the last of it.
  const bool commits = status.ok() && !session.output.broken();
  status.Update(Leave(wanted, commits, *consumer, session));
  RETURN_IF_ERROR(status);
  return printer.exit_code();
}

}  // namespace cairn::tools
