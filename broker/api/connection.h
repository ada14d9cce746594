#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

#include "broker/api/deadline_list.h"
#include "broker/api/outbox.h"
#include "broker/api/principal.h"
#include "broker/api/receive_buffer.h"
#include "broker/api/subscription_set.h"
#include "broker/net/stream.h"
#include "broker/partitions/partition.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace cairn::broker {

class ConnectionTable;
struct Services;

// One peer: reads what is there, takes whole frames off it, hands each to its handler, and sends
// what the handlers and subscriptions have for it. A frame that cannot be understood ends it.
//
// It works in turns. A turn is bounded in bytes and in time, so that a busy peer leaves room for
// the others of its worker; it ends with one write that carries everything the turn produced.
// Reading pauses while too much is waiting to be sent or to become durable: a slow peer slows only
// itself.
//
//   greeting ──Hello──► open ──► finishing ──► lingering ──► closed
//
// Finishing: no more requests; what is under way is still answered, and then, if there is a reason,
// the peer is told (Failure, correlation 0). Lingering: everything is sent and what still arrives
// is thrown away, since closing a socket with unread bytes would destroy the last frame on its way.
//
// Threads: it lives on one worker. Acknowledge, Post and Wake may be called from any thread.
class Connection final : public AckSink, public std::enable_shared_from_this<Connection> {
 public:
  using Task = absl::AnyInvocable<void(Connection&)>;

  Connection(ConnectionTable& table, Stream stream);

  void Start();
  // Tells the peer why it is not served, and ends.
  void TurnAway(const absl::Status& why);
  // Ends in good order: no more requests, answers under way are sent, then `why` if it is not OK.
  void Finish(const absl::Status& why);
  void Close();

  // ---- for handlers, on the worker ----
  const Services& services() const;
  ConnectionTable& table() { return table_; }
  const Principal& principal() const { return principal_; }
  const Stream& stream() const { return stream_; }
  const std::string& client_id() const { return client_id_; }
  std::string peer_host() const { return stream_.peer_host(); }
  Outbox& outbox() { return out_; }
  SubscriptionSet& subscriptions() { return subscriptions_; }

  bool greeted() const { return phase_ != Phase::kGreeting; }
  void Greet(std::string client_id);

  // For building one reply at a time; empty, and to be left empty by Reply. Replies have a limit of
  // their own; one that passes kControlBytesMax all the same becomes a Failure TOO_LARGE.
  flatbuffers::FlatBufferBuilder& builder();
  // Nothing is sent under correlation 0: the peer did not ask for a reply.
  template <typename Table>
  void Reply(std::uint64_t correlation, flatbuffers::Offset<Table> body);
  void Fail(std::uint64_t correlation, const absl::Status& why);
  // A frame that nobody asked for.
  template <typename Table>
  void Push(flatbuffers::Offset<Table> body) {
    if (FitsControl(0)) FinishFrame(builder(), 0, body, 0, out_.control());
  }
  // True from when the peer has closed its side, or the connection has ended: for work that is not
  // to be done once nobody waits for it. May be kept and read by any thread.
  std::shared_ptr<const std::atomic<bool>> peer_left() const { return peer_left_; }
  // Counts a request that is answered later: by Acknowledge, or by a task that calls Answered().
  void Expect() { ++in_flight_; }
  void Answered() { --in_flight_; }

  // ---- from any thread ----
  // Answers produces that waited for a group commit.
  void Acknowledge(std::span<const Ack> acks) override;
  // Runs the task on the worker; not at all if the connection has ended by then.
  void Post(Task task);
  // The subscription has something to do again.
  void Wake(std::shared_ptr<Subscription> subscription);

 private:
  friend class ConnectionTable;

  enum class Phase { kGreeting, kOpen, kFinishing, kLingering, kClosed };

  // What other threads leave for the worker; it is told once, however much they leave.
  struct Mail {
    std::vector<Ack> acks;
    std::vector<Task> tasks;
    std::vector<std::shared_ptr<Subscription>> woken;
  };
  class MailCall;
  template <typename T>
  class MailCallMemory;
  template <typename Leave>
  void LeaveMail(Leave leave);
  void OpenMail();
  void AnswerProduced(const Ack& ack);

  void Turn();
  bool serving() const { return phase_ == Phase::kGreeting || phase_ == Phase::kOpen; }
  // Whether what was built is no larger than a control may be, which nobody would read. If not, it
  // is thrown away, and the request fails.
  bool FitsControl(std::uint64_t correlation);
  bool Paused() const;
  void Receive(std::size_t& budget);
  bool ReadMore(std::size_t& budget);
  void TakeFrames(std::size_t& budget);
  // False: not understood; the connection is finishing.
  bool Handle(MutableBytes frame);
  void Transmit(std::size_t& budget);
  bool WriteOnce(std::size_t& budget);
  void LoseBytes(const absl::Status& found);
  void NoteProgress(bool moved);
  void Park();
  void FinishIfDone();
  void Discard();
  void WaitAgain(bool out_of_budget);
  void PostTurn();
  // For the table, whose timer ends a connection's patience.
  void GreetingTimedOut();
  void WritingTimedOut();
  void ArrivingTimedOut();
  void ReleaseBuffers();
  FrameLimits limits() const;
  void NotUnderstood(const absl::Status& why);

  ConnectionTable& table_;
  Stream stream_;
  const std::string peer_;
  std::string client_id_;
  Principal principal_{"anonymous"};
  Phase phase_ = Phase::kGreeting;

  ReceiveBuffer in_;
  std::size_t frame_bytes_ = 0;  // of the frame in front of in_; 0: not known yet
  bool frame_ready_ = false;     // a whole frame is in front of in_
  bool arrived_ = false;         // something, in this turn
  std::chrono::steady_clock::time_point turn_ends_;
  bool readable_ = true;  // for all we know
  bool waits_readable_ = false;
  const std::shared_ptr<std::atomic<bool>> peer_left_ = std::make_shared<std::atomic<bool>>(false);

  Outbox out_;
  bool waits_writable_ = false;
  bool turn_posted_ = false;
  SubscriptionSet subscriptions_;

  std::int64_t in_flight_ = 0;
  absl::Status farewell_;

  DeadlineList<Connection>::Entry greeting_entry_;
  DeadlineList<Connection>::Entry writing_entry_;
  DeadlineList<Connection>::Entry arriving_entry_;
  DeadlineList<Connection>::Entry leaving_entry_;
  DeadlineList<Connection>::Entry idle_entry_;

  Mail opened_;  // the worker's; keeps the memory that mail_ will use again
  std::mutex mail_mutex_;
  Mail mail_;               // guarded by mail_mutex_
  bool mail_told_ = false;  // guarded by mail_mutex_
  // Where the call of OpenMail waits for its turn: one at a time, from when mail_told_ is set until
  // OpenMail begins. Other threads have none of Asio's spare memory, and would spoil the worker's.
  alignas(std::max_align_t) std::array<std::byte, 96> mail_call_;
};

template <typename Table>
void Connection::Reply(std::uint64_t correlation, flatbuffers::Offset<Table> body) {
  if (correlation == 0) {
    builder().Clear();
  } else if (FitsControl(correlation)) {
    FinishFrame(builder(), correlation, body, 0, out_.control());
  }
}

}  // namespace cairn::broker
