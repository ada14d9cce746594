#include "tools/cairn/record_printer.h"

#include <algorithm>
#include <cstddef>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "tools/cairn/record_json.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

// While nothing comes: how long until Ctrl-C or a reader that left is noticed, at most.
constexpr client::Duration kIdleWait{100};
constexpr std::size_t kPollRecordsMax = 10'000;

}  // namespace

RecordPrinter::RecordPrinter(RecordFormat format, Options options, Session& session)
    : format_(std::move(format)),
      options_(options),
      output_(session.output),
      progress_("consumed", isatty(STDOUT_FILENO) != 0),
      exit_code_(kExitOk) {}

absl::StatusOr<bool> RecordPrinter::Step(client::Consumer& consumer) {
  ASSIGN_OR_RETURN(client::PolledRecords polled, Poll(consumer));
  for (const auto& record : polled.records()) Write(record);
  for (const auto& event : polled.events()) Tell(event);
  if (options_.flush_each) {
    RETURN_IF_ERROR(output_.Flush());
  } else {
    output_.Commit();
  }
  progress_.Show(written_, bytes_);
  return !polled.empty();
}

absl::StatusOr<client::PolledRecords> RecordPrinter::Poll(client::Consumer& consumer) {
  const auto records_max = static_cast<std::size_t>(
      std::min<std::int64_t>(kPollRecordsMax, options_.count_max - written_));
  ASSIGN_OR_RETURN(client::PolledRecords polled, consumer.Poll(client::Duration(0), records_max));
  if (!polled.empty()) return polled;
  RETURN_IF_ERROR(output_.Flush());
  return consumer.Poll(kIdleWait, records_max);
}

void RecordPrinter::Write(const client::ConsumedRecord& record) {
  if (options_.json) {
    AppendRecordJson(record, output_.buffer());
    output_.buffer() += '\n';
  } else {
    format_.Append(record, output_.buffer());
  }
  ++written_;
  bytes_ +=
      static_cast<std::int64_t>(record.key.value_or("").size() + record.value.value_or("").size());
  output_.Commit();
}

void RecordPrinter::Tell(const client::ConsumerEvent& event) {
  const std::string place = absl::StrFormat("%s:%d", event.topic, event.partition.value());
  switch (event.kind) {
    case client::ConsumerEvent::Kind::kEnd:
      return;
    case client::ConsumerEvent::Kind::kTrimmed:
      return SayAside(
          absl::StrFormat("cairn: %s: offsets %d to %d were dropped before they were read", place,
                          event.from.value(), (event.to - 1).value()));
    case client::ConsumerEvent::Kind::kTruncated:
      return SayAside(
          absl::StrFormat("cairn: %s: truncated: offsets %d to %d were taken back by a power cut "
                          "or a repair, though they may have been seen",
                          place, event.from.value(), (event.to - 1).value()));
    case client::ConsumerEvent::Kind::kFailed:
      exit_code_ = kExitFailed;
      failed_.emplace(event.topic, event.partition);
      return SayAside(absl::StrFormat("cairn: %s: %s", place, std::string(event.status.message())));
  }
}

void RecordPrinter::SayAside(const std::string& line) {
  progress_.Wipe();
  Session::Say(line);
}

}  // namespace cairn::tools
