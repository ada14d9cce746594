#pragma once

#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

#include "client/consumer.h"
#include "tools/cairn/progress.h"
#include "tools/cairn/record_format.h"
#include "tools/cairn/session.h"

namespace cairn::tools {

// Writes what a consumer brings to stdout, and what there is to say about it to stderr.
//
// Threads: one.
class RecordPrinter {
 public:
  struct Options {
    bool json = false;  // one object a line, else by the format
    std::int64_t count_max = std::numeric_limits<std::int64_t>::max();
    // What was polled is out before the next Poll, which tells a group that it is done.
    bool flush_each = false;
  };
  // The session outlives the printer.
  RecordPrinter(RecordFormat format, Options options, Session& session);

  // All the records that were wanted are written, or the reader left.
  bool done() { return written_ >= options_.count_max || output_.broken(); }

  // One Poll that is written out; waits a moment if nothing is there, but only after everything
  // that came before is out. False: nothing came.
  //   errors of Poll, and of writing
  absl::StatusOr<bool> Step(client::Consumer& consumer);

  // A line on stderr.
  void SayAside(const std::string& line);

  int exit_code() const { return exit_code_; }
  // Of this partition nothing more comes; it was told.
  bool HasFailed(const std::string& topic, PartitionIndex partition) const {
    return failed_.contains({topic, partition});
  }

 private:
  absl::StatusOr<client::PolledRecords> Poll(client::Consumer& consumer);
  void Write(const client::ConsumedRecord& record);
  void Tell(const client::ConsumerEvent& event);

  RecordFormat format_;
  const Options options_;
  Output& output_;
  Progress progress_;
  std::int64_t written_ = 0;
  std::int64_t bytes_ = 0;
  int exit_code_;
  std::set<std::pair<std::string, PartitionIndex>> failed_;
};

}  // namespace cairn::tools
