#include "tools/cairn/consume_group.h"

#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"

#include "client/consumer.h"
#include "protocol/error_code.h"
#include "protocol/status.h"
#include "tools/cairn/interrupt.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr client::Duration kCommitTimeout{10'000};
constexpr client::Duration kCloseTimeout{10'000};

bool IsPattern(const std::string& topic) { return topic.find_first_of("*?") != std::string::npos; }

// A name that is misspelled would be waited for without a word.
absl::Status CheckTopics(const GroupConsumption& wanted, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  for (const std::string& topic : wanted.topics) {
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

  absl::StatusOr<bool> Reached(const client::Consumer& consumer) {
    const std::vector<client::GroupPartition> held = consumer.assignment();
    std::map<client::GroupPartition, Offset> ends;
    bool reached = !held.empty();
    for (const client::GroupPartition& partition : held) {
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

absl::Status PrintAll(const GroupConsumption& wanted, client::Consumer& consumer,
                      RecordPrinter& printer, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  PresentEnd present_end(std::move(admin));
  while (!printer.done() && !Interrupt::requested()) {
    RETURN_IF_ERROR(printer.Step(consumer).status());
    if (!wanted.stop_at_end) continue;
    ASSIGN_OR_RETURN(const bool reached, present_end.Reached(consumer));
    if (reached) break;
  }
  // A reader that left has not seen the last of it.
  if (session.output.broken()) return absl::OkStatus();
  return consumer.Commit(kCommitTimeout);
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
  ASSIGN_OR_RETURN(group.auto_offset_reset, AutoOffsetResetOf(wanted.range));
  group.group = wanted.group;
  group.instance_id = wanted.instance_id;
  group.session_timeout = wanted.session_timeout.value_or(group.session_timeout);
  RETURN_IF_ERROR(CheckTopics(wanted, session));
  ASSIGN_OR_RETURN(auto cluster, session.Cluster());
  client::ConsumerOptions options;
  options.group = std::move(group);
  ASSIGN_OR_RETURN(auto consumer, client::Consumer::Open(std::move(cluster), std::move(options)));
  RETURN_IF_ERROR(consumer->Subscribe(wanted.topics));
  absl::Status status = PrintAll(wanted, *consumer, printer, session);
  status.Update(consumer->Close(kCloseTimeout));
  RETURN_IF_ERROR(status);
  return printer.exit_code();
}

}  // namespace cairn::tools
