#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include "client/address.h"
#include "client/options.h"
#include "client/receive_buffer.h"
#include "protocol/bytes.h"
#include "protocol/messages.h"

namespace cairn::client {

// One TCP connection to a broker, from resolving its name to its end, greeted with Hello. Requests
// are pipelined; replies are matched by correlation. What is sent while a write is under way goes
// out together with the next one. A peer that is silent is pinged, and given up when it stays so.
//
// Threads: everything on the I/O thread. Keeps itself alive until it is closed.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct Handlers {
    std::function<void()> on_ready;                      // Welcome is there
    std::function<void(const ReceivedFrame&)> on_push;   // correlation 0
    std::function<void(const absl::Status&)> on_closed;  // once, before requests are failed
  };
  // Called exactly once: with the reply, or with why there will be none (and a null reply).
  using OnReply = std::function<void(const absl::Status& broken, const ReceivedFrame* reply)>;
  using OnWritten = std::function<void()>;
  using Attachment = std::shared_ptr<const Bytes>;

  Connection(asio::io_context& io, Handlers handlers);

  void Start(const Address& address, const ClusterOptions& options);
  bool ready() const { return ready_; }

  // Ends it: on_closed, then every outstanding request, hears `why`.
  void Close(const absl::Status& why);

  // For building the next frame's head; FinishFrame leaves it empty.
  flatbuffers::FlatBufferBuilder& builder() { return builder_; }
  std::uint64_t NextCorrelation() { return ++last_correlation_; }

  // Sends a frame whose head was built with `correlation`; `reply` is called for its answer.
  void Request(std::uint64_t correlation, Bytes head, Attachment attachment, OnReply reply);
  // Sends a frame that has no answer. `written` is called when the kernel has all of it, or never.
  void Send(Bytes head, Attachment attachment, OnWritten written = nullptr);

 private:
  struct Outgoing {
    Bytes head;
    Attachment attachment;
    OnWritten written;
  };
  using Endpoints = asio::ip::tcp::resolver::results_type;

  void Connect(const Endpoints& endpoints);
  void Greet();
  void Welcomed(const absl::Status& broken, const ReceivedFrame* reply);
  void Read();
  bool TakeFrames();
  void Dispatch(const ReceivedFrame& frame);
  void AnswerPing(std::uint64_t correlation);
  void Write();
  void Written();
  void WatchSilence();

  asio::ip::tcp::socket socket_;
  asio::ip::tcp::resolver resolver_;
  asio::steady_timer timer_;  // for connecting, then for silence
  Handlers handlers_;
  Address address_;
  std::string client_id_;
  flatbuffers::FlatBufferBuilder builder_;

  ReceiveBuffer received_;
  std::deque<Outgoing> outgoing_;  // not yet being written
  std::vector<Outgoing> writing_;  // being written now
  absl::flat_hash_map<std::uint64_t, OnReply> pending_;
  std::uint64_t last_correlation_ = 0;
  int silent_periods_ = 0;
  bool ready_ = false;
  bool closed_ = false;
};

}  // namespace cairn::client
