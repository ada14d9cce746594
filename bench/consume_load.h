#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "bench/target.h"
#include "bench/window.h"
#include "client/consumer.h"

namespace cairn::bench {

// A consumer with its connection and its thread, which reads all partitions of a topic from start
// to end, again and again.
class ConsumeLoad {
 public:
  static absl::StatusOr<std::unique_ptr<ConsumeLoad>> Open(const Target& target,
                                                           const std::string& topic,
                                                           std::size_t prefetch_bytes);

  // Reads until Stop, or an error. Blocks.
  void Run();
  void Stop() { stop_ = true; }

  const absl::Status& status() const { return status_; }  // after Run
  // Handed to the application so far; from any thread.
  Window::Counts counts() const { return tally_.counts(); }

 private:
  absl::Status ReadOnce();
  absl::Status Count(const client::PolledRecords& polled);

  std::unique_ptr<client::Consumer> consumer_;
  std::vector<client::Assignment> assignments_;
  std::atomic<bool> stop_ = false;
  Tally tally_;
  absl::Status status_;
};

}  // namespace cairn::bench
