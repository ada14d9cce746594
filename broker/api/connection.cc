#include "broker/api/connection.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"

#include "asio/post.hpp"
#include "broker/api/connection_table.h"
#include "broker/api/handlers.h"
#include "broker/api/services.h"
#include "broker/runtime/logging.h"
#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

// What one turn may move in each direction, and how long it may handle requests, before the
// worker's other connections get their turns.
constexpr std::size_t kTurnBytes = 4u << 20;
constexpr std::chrono::milliseconds kTurnTime{5};
constexpr std::size_t kWriteBytes = 1u << 20;
// Answers wait for so many bytes of requests at most, so that a peer that sends large ones, with
// only a few on their way, makes the next ones while these are handled.
constexpr std::size_t kAnswerAfter = 256u << 10;
// Beyond these no more requests are read until some are answered and the answers taken.
constexpr std::size_t kControlBytesQueuedMax = 1u << 20;
constexpr std::int64_t kInFlightMax = 65536;
constexpr std::size_t kErrorBytesMax = 4096;
// What the frame's message takes around its body, at most.
constexpr std::size_t kMessageBytes = 64;

void Spend(std::size_t& budget, std::size_t bytes) { budget -= std::min(budget, bytes); }

}  // namespace

Connection::Connection(ConnectionTable& table, Stream stream)
    : table_(table),
      stream_(std::move(stream)),
      peer_(stream_.peer()),
      in_(table.spare(), table.unfinished()) {}

const Services& Connection::services() const { return table_.services(); }
flatbuffers::FlatBufferBuilder& Connection::builder() { return table_.builder(); }

void Connection::Start() {
  table_.Touch(table_.greeting(), *this, greeting_entry_);
  Turn();
}

void Connection::TurnAway(const absl::Status& why) {
  Finish(why);
  Turn();
}

void Connection::Greet(std::string client_id) {
  phase_ = Phase::kOpen;
  table_.greeting().Remove(greeting_entry_);
  LogDebug("client connected", {{"peer", peer_}, {"client", client_id}});
  client_id_ = std::move(client_id);
}

void Connection::Finish(const absl::Status& why) {
  if (!serving()) return;
  phase_ = Phase::kFinishing;
  farewell_ = why;
  in_.Consume(in_.pending().size());
  frame_ready_ = false;
  table_.arriving().Remove(arriving_entry_);
  subscriptions_.Clear();
  table_.greeting().Remove(greeting_entry_);
  table_.Touch(table_.leaving(), *this, leaving_entry_);
}

void Connection::Close() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  phase_ = Phase::kClosed;
  *peer_left_ = true;
  subscriptions_.Clear();
  stream_.Close();
  table_.Remove(*this);
}

void Connection::Fail(std::uint64_t correlation, const absl::Status& why) {
  if (correlation == 0) return;
  if (why.message().size() <= kErrorBytesMax) {
    return FinishFailure(builder(), correlation, why, out_.control());
  }
  // It quotes something the peer sent.
  const std::string_view start(why.message().data(), kErrorBytesMax);
  FinishFailure(builder(), correlation, MakeError(CodeOf(why), start), out_.control());
}

bool Connection::FitsControl(std::uint64_t correlation) {
  const std::size_t bytes = builder().GetSize() + kMessageBytes;
  if (bytes <= kControlBytesMax) return true;
  builder().Clear();
  const absl::Status why =
      MakeError(ErrorCode::kTooLarge, absl::StrFormat("the answer would be a message of %d bytes, "
                                                      "more than %d; ask for less at a time",
                                                      bytes, kControlBytesMax));
  LogWarning("a message to a client is too large", {{"peer", peer_}, {"reason", why}});
  Fail(correlation, why);
  return false;
}

// ---- from any thread ----

// An allocator, as Asio wants it, that gives out mail_call_.
template <typename T>
class Connection::MailCallMemory {
 public:
  using value_type = T;

  explicit MailCallMemory(Connection& connection) : connection_(&connection) {}
  template <typename Other>
  MailCallMemory(const MailCallMemory<Other>& other) : connection_(other.connection_) {}

  T* allocate(std::size_t) {
    static_assert(sizeof(T) <= sizeof(mail_call_));
    return reinterpret_cast<T*>(connection_->mail_call_.data());
  }
  void deallocate(T*, std::size_t) {}

  template <typename Other>
  bool operator==(const MailCallMemory<Other>& other) const {
    return connection_ == other.connection_;
  }

 private:
  template <typename Other>
  friend class MailCallMemory;

  Connection* connection_;
};

class Connection::MailCall {
 public:
  using allocator_type = MailCallMemory<std::byte>;

  explicit MailCall(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  allocator_type get_allocator() const { return allocator_type(*connection_); }
  void operator()() { connection_->OpenMail(); }

 private:
  std::shared_ptr<Connection> connection_;
};

template <typename Leave>
void Connection::LeaveMail(Leave leave) {
  {
    const std::lock_guard lock(mail_mutex_);
    leave(mail_);
    if (mail_told_) return;
    mail_told_ = true;
  }
  asio::post(table_.context(), MailCall(shared_from_this()));
}

void Connection::Acknowledge(std::span<const Ack> acks) {
  LeaveMail([&](Mail& mail) { mail.acks.insert(mail.acks.end(), acks.begin(), acks.end()); });
}

void Connection::Post(Task task) {
  LeaveMail([&](Mail& mail) { mail.tasks.push_back(std::move(task)); });
}

void Connection::Wake(std::shared_ptr<Subscription> subscription) {
  LeaveMail([&](Mail& mail) { mail.woken.push_back(std::move(subscription)); });
}

void Connection::OpenMail() {
  {
    const std::lock_guard lock(mail_mutex_);
    std::swap(opened_, mail_);
    mail_told_ = false;
  }
  if (phase_ != Phase::kClosed) {
    for (const Ack& ack : opened_.acks) AnswerProduced(ack);
    for (Task& task : opened_.tasks) task(*this);
    for (const auto& subscription : opened_.woken) subscriptions_.Woken(subscription);
  }
  opened_.acks.clear();
  opened_.tasks.clear();
  opened_.woken.clear();
  Turn();
}

void Connection::AnswerProduced(const Ack& ack) {
  Answered();
  if (!ack.status.ok()) return Fail(ack.correlation, ack.status);
  Reply(ack.correlation, wire::CreateProduced(builder(), ack.base_offset.value(),
                                              wire::Durability::Durable, ack.duplicate));
}

// ---- a turn ----

bool Connection::Paused() const {
  return out_.control_bytes() > kControlBytesQueuedMax || in_flight_ > kInFlightMax;
}

void Connection::Turn() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  // One for each direction: a peer that never stops sending gets its answers all the same.
  std::size_t receiving = kTurnBytes, sending = kTurnBytes;
  turn_ends_ = std::chrono::steady_clock::now() + kTurnTime;
  arrived_ = false;
  bool spent = false;
  do {
    std::size_t slice = std::min(receiving, kAnswerAfter);
    receiving -= slice;
    Receive(slice);
    receiving += slice;
    Transmit(sending);
    spent = receiving == 0 || sending == 0 || std::chrono::steady_clock::now() >= turn_ends_;
  } while (serving() && !spent && !Paused() && (readable_ || frame_ready_));
  Park();
  FinishIfDone();
  if (phase_ == Phase::kClosed) return;
  if (serving()) table_.Touch(table_.idle(), *this, idle_entry_);
  WaitAgain(sending == 0 || (spent && (readable_ || frame_ready_)));
}

FrameLimits Connection::limits() const {
  if (greeted()) return {};
  return {.frame_bytes_max = kFrameBytesMaxBeforeHello,
          .control_bytes_max = kFrameBytesMaxBeforeHello};
}

void Connection::Receive(std::size_t& budget) {
  TakeFrames(budget);
  while (serving() && readable_ && !frame_ready_ && !Paused() && budget > 0) {
    if (!ReadMore(budget)) return;
    TakeFrames(budget);
  }
}

bool Connection::ReadMore(std::size_t& budget) {
  const MutableBytes room = in_.Room(frame_bytes_);
  const auto moved = stream_.Read(room);
  if (!moved.ok()) {
    Close();
    return false;
  }
  if (moved->end) {
    *peer_left_ = true;
    Finish(absl::OkStatus());
    return false;
  }
  // Less than there was room for: that was all, as far as anyone knows.
  readable_ = !moved->would_block && moved->bytes == room.size();
  in_.Filled(moved->bytes);
  arrived_ |= moved->bytes > 0;
  Spend(budget, moved->bytes);
  return !moved->would_block;
}

void Connection::TakeFrames(std::size_t& budget) {
  while (serving()) {
    const MutableBytes rest = in_.pending();
    const auto size = PeekFrame(rest, limits());
    if (!size.ok()) return NotUnderstood(size.status());
    frame_bytes_ = size->frame_bytes;
    frame_ready_ = frame_bytes_ > 0 && rest.size() >= frame_bytes_;
    if (!frame_ready_ || Paused() || budget == 0) return;
    Spend(budget, frame_bytes_);
    if (!Handle(rest.first(frame_bytes_))) return;
    if (serving()) in_.Consume(frame_bytes_);
    // A few bytes can ask for much work.
    if (std::chrono::steady_clock::now() >= turn_ends_) budget = 0;
  }
}

bool Connection::Handle(MutableBytes bytes) {
  const auto frame = ParseFrame(bytes);
  if (!frame.ok()) {
    NotUnderstood(frame.status());
    return false;
  }
  const auto message = ParseMessage(frame->control);
  if (!message.ok()) {
    NotUnderstood(message.status());
    return false;
  }
  Dispatch(*this, **message, frame->attachment);
  return true;
}

void Connection::NotUnderstood(const absl::Status& why) {
  if (table_.MayLog()) LogWarning("frame not understood", {{"peer", peer_}, {"error", why}});
  const ErrorCode code =
      CodeOf(why) == ErrorCode::kTooLarge ? ErrorCode::kTooLarge : ErrorCode::kMalformed;
  Finish(MakeError(code, std::string_view(why.message().data(), why.message().size())));
}

void Connection::Transmit(std::size_t& budget) {
  while (phase_ != Phase::kClosed && !waits_writable_ && budget > 0) {
    if (serving()) subscriptions_.Pump(builder(), out_);
    if (out_.empty()) return NoteProgress(true);
    if (!WriteOnce(budget)) return;
  }
}

bool Connection::WriteOnce(std::size_t& budget) {
  std::array<iovec, 64> parts;
  const std::size_t count = out_.Gather(parts, kWriteBytes);
  const auto moved = stream_.Write(std::span(parts).first(count));
  if (!moved.ok()) {
    if (absl::IsDataLoss(moved.status())) LoseBytes(moved.status());
    Close();
    return false;
  }
  out_.Sent(moved->bytes);
  NoteProgress(moved->bytes > 0);
  Spend(budget, moved->bytes);
  if (moved->would_block) {
    waits_writable_ = true;
    stream_.WaitWritable([self = shared_from_this()] {
      self->waits_writable_ = false;
      self->Turn();
    });
    return false;
  }
  return true;
}

// Half a frame may be on its way, so the peer cannot be told. It comes back and hears what is the
// matter with that partition, which knows as soon as the bytes were probed.
void Connection::LoseBytes(const absl::Status& found) {
  const absl::Status probed = out_.Probe();
  LogError("connection ended: records that were being sent cannot be read any more",
           {{"peer", peer_}, {"reason", probed.ok() ? found : probed}});
}

void Connection::NoteProgress(bool moved) {
  if (out_.empty()) {
    table_.writing().Remove(writing_entry_);
  } else if (moved || !writing_entry_.listed()) {
    table_.Touch(table_.writing(), *this, writing_entry_);
  }
}

void Connection::Park() {
  in_.Park();
  if (!serving()) return;
  if (in_.empty() || frame_ready_) return table_.arriving().Remove(arriving_entry_);
  if (arrived_) table_.Touch(table_.arriving(), *this, arriving_entry_);
  const ReceiveBudget& budget = table_.unfinished();
  if (!budget.exceeded()) return;
  Finish(
      MakeError(ErrorCode::kTooManyInFlight,
                absl::StrFormat("all clients together have sent %d bytes of frames that have not "
                                "arrived whole; the broker holds at most %d",
                                budget.bytes(), budget.bytes_max())));
  in_.Park();
}

void Connection::FinishIfDone() {
  if (phase_ == Phase::kFinishing && in_flight_ == 0) {
    if (!farewell_.ok()) {
      FinishFailure(builder(), 0, farewell_, out_.control());
      farewell_ = absl::OkStatus();
      std::size_t budget = kTurnBytes;
      Transmit(budget);
    }
    if (phase_ != Phase::kClosed && out_.empty()) {
      if (*peer_left_) return Close();
      stream_.CloseSending();
      phase_ = Phase::kLingering;
    }
  }
  if (phase_ == Phase::kLingering) Discard();
}

void Connection::Discard() {
  std::size_t budget = kTurnBytes;
  while (budget > 0) {
    const auto moved = stream_.Read(table_.spare().bytes());
    if (!moved.ok() || moved->end) return Close();
    if (moved->would_block) return;
    Spend(budget, moved->bytes);
  }
}

void Connection::WaitAgain(bool out_of_budget) {
  if (out_of_budget) PostTurn();
  const bool wants_more = phase_ == Phase::kLingering || (serving() && !readable_ && !Paused());
  if (!wants_more || waits_readable_) return;
  waits_readable_ = true;
  stream_.WaitReadable([self = shared_from_this()] {
    self->waits_readable_ = false;
    self->readable_ = true;
    self->Turn();
  });
}

void Connection::PostTurn() {
  if (turn_posted_) return;
  turn_posted_ = true;
  asio::post(table_.context(), [self = shared_from_this()] {
    self->turn_posted_ = false;
    self->Turn();
  });
}

// ---- patience ----

void Connection::GreetingTimedOut() {
  Finish(MakeError(ErrorCode::kTimedOut, "nothing that could be a Hello came in time"));
  Turn();
}

void Connection::ArrivingTimedOut() {
  Finish(MakeError(ErrorCode::kTimedOut, "the rest of a frame did not come in time"));
  Turn();
}

void Connection::WritingTimedOut() {
  if (table_.MayLog()) {
    LogWarning("closing a connection whose peer takes nothing",
               {{"peer", peer_}, {"queued_bytes", out_.control_bytes() + out_.data_bytes()}});
  }
  Close();
}

void Connection::ReleaseBuffers() {
  in_.Release();
  out_.Release();
  opened_ = {};
}

}  // namespace cairn::broker
