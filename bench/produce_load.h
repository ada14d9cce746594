#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include <CLI/CLI.hpp>

#include "bench/histogram.h"
#include "bench/payload.h"
#include "bench/target.h"
#include "bench/window.h"
#include "client/producer.h"
#include "nlohmann/json.hpp"

namespace cairn::bench {

// What a producer sends, and how.
struct LoadOptions {
  std::size_t record_bytes = 1024;
  std::int64_t keys = 0;  // 0: records without a key
  std::string acks = "default";
  std::string compression = "none";
  std::size_t batch_bytes = 256u << 10;
  std::size_t buffer_bytes = 64u << 20;
  std::int64_t linger_ms = 5;
  std::int64_t in_flight = 0;  // records sent and not acknowledged, of each producer; 0: no bound
  double rate = 0;             // records in a second, of all producers; 0: as fast as they can
  std::int64_t latency_every =
      16;  // of so many records one is timed; with a rate, or in_flight, all

  void AddTo(CLI::App& command);
  nlohmann::ordered_json ToJson() const;
};

// One producer with its connection and its thread, sending until it is told to stop.
//
// With a rate it is an open loop: each record has a time at which it is due, and its latency counts
// from there, so that a broker that stalls is charged for all who would have come meanwhile.
class ProduceLoad {
 public:
  // One of `producers` that share the rate.
  static absl::StatusOr<std::unique_ptr<ProduceLoad>> Open(const Target& target,
                                                           const std::string& topic,
                                                           const LoadOptions& options,
                                                           int producers = 1);

  // Sends until stop() or, with records_max > 0, so many. Blocks.
  void Run(const Window& window, std::int64_t records_max);
  void Stop() { stop_ = true; }
  // Waits for what is under way. Of the first record that failed, the error.
  absl::Status Finish();

  // Acknowledged so far; from any thread.
  Window::Counts counts() const;
  bool failed() const { return failed_; }
  // After Finish.
  const Histogram& latency() const { return latency_; }

  // The first 8 bytes of each value are the time at which it was due (steady clock, ns).
  void StampValues() { stamp_ = true; }

 private:
  using Clock = std::chrono::steady_clock;

  ProduceLoad(const LoadOptions& options, std::string topic, int producers);
  absl::Status SendOne(std::uint64_t number, Clock::time_point due, bool timed);
  void OnDelivered(const client::Delivery& delivery);

  const LoadOptions options_;
  const std::string topic_;
  const std::chrono::nanoseconds every_;  // between two records; zero: as fast as it can
  const Payload payload_;
  std::unique_ptr<client::Producer> producer_;
  const Window* window_ = nullptr;
  bool stamp_ = false;
  std::string stamped_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> failed_ = false;
  absl::Status error_;  // of the sending thread
  // The I/O thread's own, but for what is atomic.
  alignas(64) std::atomic<std::int64_t> acknowledged_ = 0;
  absl::Status first_failure_;
  Histogram latency_;
  // in_flight: places free.
  std::atomic<std::int64_t> places_ = 0;
};

// Writes about so many bytes, for others to read.
absl::Status Fill(const Target& target, const std::string& topic, const LoadOptions& options,
                  std::int64_t bytes);

}  // namespace cairn::bench
