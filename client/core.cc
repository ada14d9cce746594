#include "client/core.h"

#include <condition_variable>
#include <mutex>
#include <optional>

#include "client/deadline.h"
#include "client/detached.h"
#include "protocol/check.h"
#include "protocol/error_code.h"
#include "protocol/status.h"

namespace cairn::client {

struct Core::PendingCall {
  PendingCall(asio::io_context& io, Build a_build, Retry a_retry, OnAnswer an_answer)
      : build(std::move(a_build)),
        retry(a_retry),
        answer(std::move(an_answer)),
        deadline_timer(io),
        retry_timer(io),
        backoff(Duration(20), Duration(1000)) {}

  Build build;
  Retry retry;
  OnAnswer answer;
  asio::steady_timer deadline_timer;
  asio::steady_timer retry_timer;
  Backoff backoff;
  absl::Status last_error;
  bool on_wire = false;
  bool waits = false;  // for retry_timer
  bool done = false;
  Calls::iterator place;
};

Core::Core(ClusterOptions options, Address address)
    : options_(std::move(options)),
      address_(std::move(address)),
      io_(std::make_unique<asio::io_context>(1)),
      work_(io_->get_executor()),
      reconnect_timer_(std::make_unique<asio::steady_timer>(*io_)),
      backoff_(options_.backoff_min, options_.backoff_max) {
  thread_ = std::thread([this] { io_->run(); });
}

Core::~Core() { CAIRN_CHECK(!thread_.joinable()); }

void Core::Stop() {
  CAIRN_CHECK(!OnIoThread());
  PostAndWait([this] {
    stopping_ = true;
    const absl::Status why = absl::CancelledError("the cluster is closed");
    if (connection_) connection_->Close(why);
    reconnect_timer_->cancel();
    while (!calls_.empty()) FinishCall(calls_.front(), why, nullptr);
    subscriptions_.clear();
    members_.clear();
  });
  io_->stop();
  thread_.join();
  // What is still queued may hold whoever holds this core: let go of it now.
  connection_.reset();
  reconnect_timer_.reset();
  work_.reset();
  io_.reset();
}

void Core::PostAndWait(const std::function<void()>& job) {
  if (OnIoThread()) return job();
  std::mutex mutex;
  std::condition_variable wake;
  bool done = false;
  Post([&] {
    job();
    const std::lock_guard lock(mutex);
    done = true;
    wake.notify_one();  // under the lock: the waiter's stack goes away afterwards
  });
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return done; });
}

// ---- the connection ----

bool Core::wanted() {
  if (stopping_) return false;
  std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
  return !calls_.empty() || !listeners_.empty();
}

Connection* Core::connection() {
  if (connection_ && connection_->ready()) return connection_.get();
  Connect();
  return nullptr;
}

void Core::Connect() {
  if (connection_ || reconnecting_ || stopping_) return;
  connection_ = std::make_shared<Connection>(
      *io_, Connection::Handlers{
                .on_ready = [this] { OnReady(); },
                .on_push = [this](const ReceivedFrame& frame) { OnPush(frame); },
                .on_closed = [this](const absl::Status& why) { OnClosed(why); },
            });
  connection_->Start(address_, options_);
}

void Core::ScheduleConnect() {
  if (reconnecting_ || !wanted()) return;
  reconnecting_ = true;
  reconnect_timer_->expires_after(backoff_.Next());
  reconnect_timer_->async_wait([this](auto) {
    reconnecting_ = false;
    if (wanted()) Connect();
  });
}

std::vector<std::shared_ptr<Core::Listener>> Core::Listeners() {
  std::vector<std::shared_ptr<Listener>> alive;
  for (const auto& weak : listeners_) {
    if (auto listener = weak.lock()) alive.push_back(std::move(listener));
  }
  return alive;
}

void Core::OnReady() {
  connected_.store(true, std::memory_order_relaxed);
  backoff_.Reset();
  const auto connection = connection_;
  for (const auto& call : std::vector(calls_.begin(), calls_.end())) {
    if (!call->done && !call->on_wire && !call->waits) SendCall(call);
  }
  for (const auto& listener : Listeners()) {
    if (connection->ready()) listener->OnConnected(*connection);
  }
}

void Core::OnClosed(const absl::Status& why) {
  connected_.store(false, std::memory_order_relaxed);
  last_error_ = why;
  // Kept until the connection's own function has returned.
  Post([gone = std::move(connection_)] {});
  connection_ = nullptr;
  const auto subscriptions = std::exchange(subscriptions_, {});
  for (const auto& [id, sink] : subscriptions) sink(nullptr);
  for (const auto& listener : Listeners()) listener->OnDisconnected(why);
  // A broker that refuses for good is not asked over and over by calls that would only wait.
  if (!IsTransient(why)) {
    for (const auto& call : std::vector(calls_.begin(), calls_.end())) {
      if (!call->on_wire) FinishCall(call, why, nullptr);
    }
  }
  ScheduleConnect();
}

void Core::OnPush(const ReceivedFrame& frame) {
  if (const auto* assigned = frame.message->body_as_GroupAssignment()) {
    return OnMemberPush(MemberFromWire(*assigned->member()), frame);
  }
  if (const auto* ended = frame.message->body_as_GroupEnded()) {
    return OnMemberPush(MemberFromWire(*ended->member()), frame);
  }
  std::uint32_t id = 0;
  if (const auto* batches = frame.message->body_as_Batches()) id = batches->subscription();
  if (const auto* ended = frame.message->body_as_SubscriptionEnded()) id = ended->subscription();
  // Frames of an abandoned subscription find nobody.
  const auto found = subscriptions_.find(id);
  if (found == subscriptions_.end()) return;
  const PushSink sink = found->second;
  sink(&frame);
}

void Core::OnMemberPush(const MemberId& member, const ReceivedFrame& frame) {
  const auto found = members_.find(member);
  if (found == members_.end()) return;
  const PushSink sink = found->second;
  sink(&frame);
}

void Core::AddListener(const std::shared_ptr<Listener>& listener) {
  listeners_.push_back(listener);
  if (Connection* present = connection()) listener->OnConnected(*present);
}

// ---- calls ----

void Core::Call(Build build, Retry retry, Clock::time_point deadline, OnAnswer answer) {
  if (stopping_) return answer(absl::CancelledError("the cluster is closed"), nullptr);
  auto call = std::make_shared<PendingCall>(*io_, std::move(build), retry, std::move(answer));
  call->place = calls_.insert(calls_.end(), call);
  call->deadline_timer.expires_at(deadline);
  call->deadline_timer.async_wait([this, call](const asio::error_code& error) {
    if (error || call->done) return;
    const absl::Status& why = call->last_error.ok() ? last_error_ : call->last_error;
    FinishCall(call,
               absl::DeadlineExceededError(absl::StrFormat(
                   "no answer from broker %s in time%s%s", options_.broker,
                   why.ok() ? "" : "; the last error was: ", std::string(why.message()))),
               nullptr);
  });
  if (connection() != nullptr) SendCall(call);
}

void Core::SendCall(const std::shared_ptr<PendingCall>& call) {
  Connection* to = connection();
  if (to == nullptr) return;
  const std::uint64_t correlation = to->NextCorrelation();
  Bytes head;
  call->build(to->builder(), correlation, head);
  if (head.size() > kFrameHeaderBytes + kControlBytesMax) {
    // The broker would end the connection, and everything else that is under way on it.
    return FinishCall(
        call,
        absl::InvalidArgumentError(absl::StrFormat(
            "a request of %d bytes; a broker takes at most %d: ask for less at a time",
            head.size() - kFrameHeaderBytes, kControlBytesMax)),
        nullptr);
  }
  call->on_wire = true;
  to->Request(correlation, std::move(head), nullptr,
              [this, call](const absl::Status& broken, const ReceivedFrame* reply) {
                call->on_wire = false;
                if (call->done) return;
                if (!broken.ok()) return RetryCall(call, broken);
                if (const auto* failure = reply->message->body_as_Failure()) {
                  const absl::Status why =
                      StatusFromWire(failure->code(), FromWire(failure->message()));
                  if (call->retry == Retry::kUntilDeadline && IsTransient(why)) {
                    return RetryCall(call, why);
                  }
                }
                FinishCall(call, absl::OkStatus(), reply->message);
              });
}

void Core::RetryCall(const std::shared_ptr<PendingCall>& call, const absl::Status& why) {
  call->last_error = why;
  if (stopping_) return FinishCall(call, absl::CancelledError("the cluster is closed"), nullptr);
  if (call->retry == Retry::kNever) {
    return FinishCall(call,
                      absl::UnavailableError(absl::StrFormat(
                          "the answer was lost, so it may have been done or not: %s",
                          std::string(why.message()))),
                      nullptr);
  }
  call->waits = true;
  call->retry_timer.expires_after(call->backoff.Next());
  call->retry_timer.async_wait([this, call](const asio::error_code& error) {
    call->waits = false;
    if (error || call->done) return;
    SendCall(call);  // without a connection: OnReady does
  });
}

void Core::FinishCall(const std::shared_ptr<PendingCall>& call, const absl::Status& status,
                      const wire::Message* message) {
  if (call->done) return;
  call->done = true;
  call->deadline_timer.cancel();
  call->retry_timer.cancel();
  const std::shared_ptr<PendingCall> kept = call;  // `call` may be the list's own
  calls_.erase(kept->place);
  kept->answer(status, message);
}

absl::Status Core::CallAndWait(Build build, Retry retry, Duration timeout,
                               const std::function<absl::Status(const wire::Message&)>& decode) {
  if (OnIoThread()) {
    return absl::FailedPreconditionError(
        "a call that waits for the broker cannot be made from a delivery callback");
  }
  std::mutex mutex;
  std::condition_variable wake;
  std::optional<absl::Status> result;
  Post([&, build = std::move(build), deadline = DeadlineAfter(timeout)]() mutable {
    Call(std::move(build), retry, deadline,
         [&](const absl::Status& status, const wire::Message* message) {
           absl::Status outcome = message == nullptr ? Detached(status) : decode(*message);
           const std::lock_guard lock(mutex);
           result = std::move(outcome);
           wake.notify_one();
         });
  });
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return result.has_value(); });
  return *std::move(result);
}

// ---- topics ----

namespace {

Core::Build AskForTopic(std::string name) {
  return [name = std::move(name)](flatbuffers::FlatBufferBuilder& builder,
                                  std::uint64_t correlation, Bytes& head) {
    const auto text = ToWire(builder, name);
    const auto names = builder.CreateVector(&text, 1);
    FinishFrame(builder, correlation, wire::CreateMetadata(builder, names), 0, head);
  };
}

absl::StatusOr<TopicInfo> OnlyTopicOf(const wire::Message& message) {
  ASSIGN_OR_RETURN(const auto* reply, ReplyAs<wire::MetadataReply>(message));
  if (reply->topics() == nullptr || reply->topics()->size() != 1) {
    return absl::InternalError("the broker did not answer for the one topic that was asked for");
  }
  return TopicInfoOf(*reply->topics()->Get(0));
}

}  // namespace

void Core::FetchTopic(const std::string& name, Clock::time_point deadline, OnTopic done) {
  Call(AskForTopic(name), Retry::kUntilDeadline, deadline,
       [this, name, done = std::move(done)](const absl::Status& status,
                                            const wire::Message* message) {
         if (message == nullptr) return done(status);
         auto info = OnlyTopicOf(*message);
         if (info.ok()) return done(metadata_.Keep(*std::move(info)));
         if (absl::IsNotFound(info.status())) metadata_.Forget(name);
         done(info.status());
       });
}

absl::StatusOr<std::shared_ptr<const TopicInfo>> Core::ResolveTopic(std::string_view name,
                                                                    Duration timeout) {
  if (auto known = metadata_.Find(name);
      known && Clock::now() - known->fetched < Metadata::kBelieved) {
    return known;
  }
  std::shared_ptr<const TopicInfo> topic;
  const absl::Status status =
      CallAndWait(AskForTopic(std::string(name)), Retry::kUntilDeadline, timeout,
                  [&](const wire::Message& message) -> absl::Status {
                    ASSIGN_OR_RETURN(TopicInfo info, OnlyTopicOf(message));
                    topic = metadata_.Keep(std::move(info));
                    return absl::OkStatus();
                  });
  if (absl::IsNotFound(status)) metadata_.Forget(name);
  RETURN_IF_ERROR(status);
  return topic;
}

}  // namespace cairn::client
