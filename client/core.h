#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "client/address.h"
#include "client/backoff.h"
#include "client/connection.h"
#include "client/metadata.h"
#include "client/options.h"
#include "protocol/messages.h"

namespace cairn::client {

// The body of a reply as the kind that was expected; a Failure becomes its status. Borrows.
template <typename Table>
absl::StatusOr<const Table*> ReplyAs(const wire::Message& message) {
  if (const auto* failure = message.body_as_Failure()) {
    return StatusFromWire(failure->code(), FromWire(failure->message()));
  }
  if (message.body_type() != wire::BodyTraits<Table>::enum_value) {
    return absl::InternalError(
        absl::StrFormat("the broker answered with a %s", wire::EnumNameBody(message.body_type())));
  }
  return static_cast<const Table*>(message.body());
}

// What a Cluster is inside: the I/O thread, the connection (made when first needed, and again with
// backoff whenever it breaks), the metadata, and calls with deadlines.
//
// Threads: as each function says. What runs on the I/O thread must not block.
class Core : public std::enable_shared_from_this<Core> {
 public:
  using Clock = std::chrono::steady_clock;

  // Whoever lives on the connection and must know when it comes and goes.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnConnected(Connection& connection) = 0;
    virtual void OnDisconnected(const absl::Status& why) = 0;
  };

  Core(ClusterOptions options, Address address);
  ~Core();

  // Any thread but the I/O thread. Ends the thread; outstanding calls are answered with kCancelled.
  // Nothing of the core may be used afterwards, but it may be held.
  void Stop();

  const ClusterOptions& options() const { return options_; }
  // Any thread: the connection stands at this moment.
  bool connected() const { return connected_.load(std::memory_order_relaxed); }
  Metadata& metadata() { return metadata_; }

  // Any thread.
  bool OnIoThread() const { return std::this_thread::get_id() == thread_.get_id(); }
  template <typename Job>
  void Post(Job job) {
    asio::post(*io_, std::move(job));
  }
  // Runs `job` on the I/O thread and waits for its end; at once if this is that thread.
  void PostAndWait(const std::function<void()>& job);

  // ---- calls ----

  // Builds a request's head; may be called again for another connection.
  using Build =
      std::function<void(flatbuffers::FlatBufferBuilder&, std::uint64_t correlation, Bytes& head)>;
  // Called exactly once, on the I/O thread. Null frame: see the status.
  using OnAnswer = std::function<void(const absl::Status& status, const wire::Message* message)>;
  enum class Retry {
    kNever,  // sent once; kUnavailable if the answer is lost
    kUntilDeadline,
  };
  // I/O thread. A Failure is an answer like any other, except that transient ones are retried where
  // `retry` allows it.
  //   kDeadlineExceeded  with what last went wrong
  void Call(Build build, Retry retry, Clock::time_point deadline, OnAnswer answer);
  // Any thread but the I/O thread (kFailedPrecondition). `decode` runs on the I/O thread, before
  // this returns; its status is the result.
  absl::Status CallAndWait(Build build, Retry retry, Duration timeout,
                           const std::function<absl::Status(const wire::Message&)>& decode);

  // I/O thread: asks for one topic; the answer also goes into metadata(). kNotFound forgets it.
  using OnTopic = std::function<void(absl::StatusOr<std::shared_ptr<const TopicInfo>>)>;
  void FetchTopic(const std::string& name, Clock::time_point deadline, OnTopic done);
  // Any thread but the I/O thread: from the cache while it is believed, else from the broker.
  absl::StatusOr<std::shared_ptr<const TopicInfo>> ResolveTopic(std::string_view name,
                                                                Duration timeout);

  // ---- the connection; I/O thread ----

  // Null while there is none; nudges it into being.
  Connection* connection();
  // The listener is told of every connection from now on, and at once of the present one.
  void AddListener(const std::shared_ptr<Listener>& listener);

  // Any thread: an id for a new subscription.
  std::uint32_t NextSubscription() { return ++last_subscription_; }
  // Pushes of a subscription go to `sink` until RemoveSubscription; null: the connection is gone,
  // and the subscription with it.
  using PushSink = std::function<void(const ReceivedFrame*)>;
  void AddSubscription(std::uint32_t id, PushSink sink) { subscriptions_[id] = std::move(sink); }
  bool HasSubscription(std::uint32_t id) const { return subscriptions_.contains(id); }
  void RemoveSubscription(std::uint32_t id) { subscriptions_.erase(id); }
  // Pushes about a group's member go to `sink` until RemoveMember, over every connection.
  void AddMember(const MemberId& id, PushSink sink) { members_[id] = std::move(sink); }
  void RemoveMember(const MemberId& id) { members_.erase(id); }

  asio::io_context& io() { return *io_; }

 private:
  struct PendingCall;
  using Calls = std::list<std::shared_ptr<PendingCall>>;

  void Connect();
  void ScheduleConnect();
  void OnReady();
  void OnClosed(const absl::Status& why);
  void OnPush(const ReceivedFrame& frame);
  void OnMemberPush(const MemberId& member, const ReceivedFrame& frame);
  bool wanted();

  void SendCall(const std::shared_ptr<PendingCall>& call);
  void RetryCall(const std::shared_ptr<PendingCall>& call, const absl::Status& why);
  void FinishCall(const std::shared_ptr<PendingCall>& call, const absl::Status& status,
                  const wire::Message* message);
  std::vector<std::shared_ptr<Listener>> Listeners();

  const ClusterOptions options_;
  const Address address_;
  Metadata metadata_;

  std::unique_ptr<asio::io_context> io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;

  // The I/O thread's own.
  std::shared_ptr<Connection> connection_;
  std::unique_ptr<asio::steady_timer> reconnect_timer_;
  bool reconnecting_ = false;
  bool stopping_ = false;
  Backoff backoff_;
  absl::Status last_error_;
  std::vector<std::weak_ptr<Listener>> listeners_;
  Calls calls_;
  absl::flat_hash_map<std::uint32_t, PushSink> subscriptions_;
  absl::flat_hash_map<MemberId, PushSink> members_;
  std::atomic<std::uint32_t> last_subscription_{0};
  std::atomic<bool> connected_{false};

  std::thread thread_;
};

}  // namespace cairn::client
