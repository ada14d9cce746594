#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "flatbuffers/flatbuffers.h"

#include "asio/io_context.hpp"
#include "asio/steady_timer.hpp"
#include "broker/api/connection.h"
#include "broker/api/deadline_list.h"
#include "broker/api/receive_buffer.h"
#include "broker/net/stream.h"
#include "broker/partitions/partition_map.h"
#include "protocol/limits.h"

namespace cairn::broker {

struct Services;

// How many connections there are, over all workers, and what they hold.
struct ConnectionCount {
  std::atomic<int> served{0};
  std::atomic<int> turned_away{0};  // being told that there are too many
  ReceiveBudget unfinished;         // frames that have not arrived whole

  explicit ConnectionCount(std::int64_t unfinished_bytes_max) : unfinished(unfinished_bytes_max) {}
};

// The connections of one worker, what they share, and the one timer that ends their patience: no
// connection has a timer of its own.
//
// Threads: Adopt, TurnAway and Stop from any; everything else on the worker.
class ConnectionTable {
 public:
  struct Options {
    std::chrono::milliseconds hello_timeout = kHelloTimeout;
    std::chrono::milliseconds write_timeout = kWriteProgressTimeout;
    // How long the rest of a frame may fail to come.
    std::chrono::milliseconds frame_timeout = kWriteProgressTimeout;
    // How long a connection that ends may take to be told so.
    std::chrono::milliseconds leave_timeout{2000};
    // After it a connection without traffic gives its buffers back.
    std::chrono::milliseconds idle_timeout{1000};
  };

  // Borrows all three; they outlive it, and it outlives everything that may acknowledge a produce.
  ConnectionTable(asio::io_context& context, const Services& services, ConnectionCount& count,
                  const Options& options);

  // The caller has counted it in `served`, or in `turned_away`.
  void Adopt(Stream stream);
  void TurnAway(Stream stream, absl::Status why);
  // Ends all connections in good order, and those that are not gone after `patience` at once; then
  // calls `done`. What is adopted later is closed.
  void Stop(absl::Status why, std::chrono::milliseconds patience, absl::AnyInvocable<void()> done);

  // ---- for its connections ----
  asio::io_context& context() { return context_; }
  const Services& services() const { return services_; }
  ReceiveBuffer::Spare& spare() { return spare_; }
  ReceiveBudget& unfinished() { return count_.unfinished; }
  flatbuffers::FlatBufferBuilder& builder() { return builder_; }
  // For unpacking compressed batches that must be looked into.
  Bytes& scratch() { return scratch_; }
  // What is served now. Valid until the next call.
  const ServedTopics& topics() { return topics_.Get(); }
  // At most a few a second: a hostile peer must not fill the disk with log lines.
  bool MayLog();

  using List = DeadlineList<Connection>;
  List& greeting() { return greeting_; }
  List& writing() { return writing_; }
  List& arriving() { return arriving_; }
  List& leaving() { return leaving_; }
  List& idle() { return idle_; }
  void Touch(List& list, Connection& connection, List::Entry& entry);
  void Remove(Connection& connection);

 private:
  using Clock = List::Clock;

  void Add(std::shared_ptr<Connection> connection, std::atomic<int>& counter);
  void EndPatience();
  void ArmTimer(Clock::time_point due);
  void CloseAll();
  void DoneIfEmpty();

  asio::io_context& context_;
  const Services& services_;
  ConnectionCount& count_;
  ReceiveBuffer::Spare spare_;
  flatbuffers::FlatBufferBuilder builder_;
  Bytes scratch_;
  PartitionMap::Reader topics_;

  struct Entry {
    std::shared_ptr<Connection> connection;
    std::atomic<int>* counter;
  };
  absl::flat_hash_map<const Connection*, Entry> connections_;
  List greeting_, writing_, arriving_, leaving_, idle_;
  asio::steady_timer timer_;
  std::optional<Clock::time_point> armed_;
  Clock::time_point logged_at_{};
  int logged_ = 0;

  asio::steady_timer stop_timer_;
  absl::AnyInvocable<void()> stopped_;
  bool stopping_ = false;
};

}  // namespace cairn::broker
