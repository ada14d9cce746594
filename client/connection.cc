#include "client/connection.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include <asio/buffer.hpp>
#include <asio/connect.hpp>
#include <asio/write.hpp>

#include "client/deadline.h"
#include "protocol/limits.h"

namespace cairn::client {
namespace {

// Silence is measured in these; after one a Ping is sent, after three the connection is given up.
constexpr std::chrono::seconds kSilencePeriod{10};
constexpr int kSilentPeriodsMax = 3;
constexpr std::size_t kFramesPerWrite = 64;
// Asio would give the kernel 64 KiB at a time.
constexpr std::size_t kBytesPerWrite = 4u << 20;

constexpr std::array<std::byte, 8> kZeros{};

absl::Status Unreachable(const Address& address, std::string_view step, std::string_view why) {
  return absl::UnavailableError(
      absl::StrFormat("broker %s:%d: %s: %s", address.host, address.port, step, why));
}

}  // namespace

Connection::Connection(asio::io_context& io, Handlers handlers)
    : socket_(io), resolver_(io), timer_(io), handlers_(std::move(handlers)) {}

void Connection::Start(const Address& address, const ClusterOptions& options) {
  address_ = address;
  client_id_ = options.client_id.substr(0, kClientIdBytesMax);
  timer_.expires_at(DeadlineAfter(options.connect_timeout));
  timer_.async_wait([self = shared_from_this(),
                     timeout = options.connect_timeout](const asio::error_code& error) {
    if (error || self->ready_) return;
    self->Close(Unreachable(self->address_, "connect",
                            absl::StrFormat("no Welcome within %d ms", timeout.count())));
  });
  asio::error_code not_numeric;
  const auto numeric = asio::ip::make_address(address.host, not_numeric);
  if (!not_numeric) {
    const asio::ip::tcp::endpoint endpoint(numeric, address.port);
    return Connect(Endpoints::create(endpoint, address.host, std::to_string(address.port)));
  }
  resolver_.async_resolve(
      address.host, std::to_string(address.port),
      [self = shared_from_this()](const asio::error_code& error, const Endpoints& endpoints) {
        if (self->closed_) return;
        if (error) return self->Close(Unreachable(self->address_, "resolve", error.message()));
        self->Connect(endpoints);
      });
}

void Connection::Connect(const Endpoints& endpoints) {
  asio::async_connect(
      socket_, endpoints,
      [self = shared_from_this()](const asio::error_code& error, const asio::ip::tcp::endpoint&) {
        if (self->closed_) return;
        if (error) return self->Close(Unreachable(self->address_, "connect", error.message()));
        self->Greet();
      });
}

void Connection::Greet() {
  asio::error_code ignored;  // a socket that refuses this shows it at the first read
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  const auto client_id = ToWire(builder_, client_id_);
  const auto software = ToWire(builder_, "cairn-client/" CAIRN_VERSION);
  const auto hello = wire::CreateHello(builder_, kProtocolVersion, client_id, software);
  const std::uint64_t correlation = NextCorrelation();
  Bytes head;
  FinishFrame(builder_, correlation, hello, 0, head);
  // Not a shared pointer: the request belongs to this connection.
  Request(
      correlation, std::move(head), nullptr,
      [this](const absl::Status& broken, const ReceivedFrame* reply) { Welcomed(broken, reply); });
  Read();
}

void Connection::Welcomed(const absl::Status& broken, const ReceivedFrame* reply) {
  if (!broken.ok()) return;
  if (const auto* failure = reply->message->body_as_Failure()) {
    return Close(StatusFromWire(failure->code(), FromWire(failure->message())));
  }
  const auto* welcome = reply->message->body_as_Welcome();
  if (welcome == nullptr || welcome->protocol_version() != kProtocolVersion) {
    return Close(
        absl::UnimplementedError(absl::StrFormat("broker %s:%d does not speak protocol version %d",
                                                 address_.host, address_.port, kProtocolVersion)));
  }
  ready_ = true;
  WatchSilence();
  handlers_.on_ready();
}

void Connection::WatchSilence() {
  timer_.expires_after(kSilencePeriod);
  timer_.async_wait([self = shared_from_this()](const asio::error_code& error) {
    if (error || self->closed_) return;
    if (++self->silent_periods_ > kSilentPeriodsMax) {
      return self->Close(Unreachable(self->address_, "read", "it does not answer pings"));
    }
    if (self->silent_periods_ > 1) {
      const std::uint64_t correlation = self->NextCorrelation();
      Bytes head;
      FinishFrame(self->builder_, correlation, wire::CreatePing(self->builder_), 0, head);
      self->Request(correlation, std::move(head), nullptr, [](const auto&, const auto*) {});
    }
    self->WatchSilence();
  });
}

void Connection::Read() {
  const MutableBytes room = received_.Room();
  socket_.async_read_some(
      asio::buffer(room.data(), room.size()),
      [self = shared_from_this()](const asio::error_code& error, std::size_t bytes) {
        if (self->closed_) return;
        if (error) {
          return self->Close(Unreachable(
              self->address_, "read",
              error == asio::error::eof ? "it closed the connection" : error.message()));
        }
        self->silent_periods_ = 0;
        self->received_.Filled(bytes);
        if (self->TakeFrames()) self->Read();
      });
}

// False: closed meanwhile.
bool Connection::TakeFrames() {
  while (!closed_) {
    const auto frame = received_.Next();
    if (!frame.ok()) {
      Close(Unreachable(address_, "read",
                        absl::StrFormat("what it sent is not Cairn's protocol: %s",
                                        std::string(frame.status().message()))));
      return false;
    }
    if (!frame->has_value()) return true;
    Dispatch(**frame);
  }
  return false;
}

void Connection::Dispatch(const ReceivedFrame& frame) {
  const std::uint64_t correlation = frame.message->correlation();
  if (frame.message->body_type() == wire::Body::Ping) return AnswerPing(correlation);
  if (correlation == 0) {
    if (const auto* failure = frame.message->body_as_Failure()) {
      return Close(StatusFromWire(failure->code(), FromWire(failure->message())));
    }
    return handlers_.on_push(frame);
  }
  const auto found = pending_.find(correlation);
  if (found == pending_.end()) return;  // an answer to nothing
  const OnReply reply = std::move(found->second);
  pending_.erase(found);
  reply(absl::OkStatus(), &frame);
}

void Connection::AnswerPing(std::uint64_t correlation) {
  Bytes head;
  FinishFrame(builder_, correlation, wire::CreatePong(builder_), 0, head);
  Send(std::move(head), nullptr);
}

void Connection::Request(std::uint64_t correlation, Bytes head, Attachment attachment,
                         OnReply reply) {
  if (closed_) return reply(absl::UnavailableError("the connection is closed"), nullptr);
  pending_.emplace(correlation, std::move(reply));
  Send(std::move(head), std::move(attachment));
}

void Connection::Send(Bytes head, Attachment attachment, OnWritten written) {
  if (closed_) return;
  outgoing_.push_back({std::move(head), std::move(attachment), std::move(written)});
  if (writing_.empty()) Write();
}

void Connection::Write() {
  std::vector<asio::const_buffer> buffers;
  buffers.reserve(3 * std::min(outgoing_.size(), kFramesPerWrite));
  while (!outgoing_.empty() && writing_.size() < kFramesPerWrite) {
    writing_.push_back(std::move(outgoing_.front()));
    outgoing_.pop_front();
    const Outgoing& frame = writing_.back();
    buffers.emplace_back(frame.head.data(), frame.head.size());
    if (frame.attachment == nullptr) continue;
    const std::size_t size = frame.attachment->size();
    buffers.emplace_back(frame.attachment->data(), size);
    if (PadTo8(size) != size) buffers.emplace_back(kZeros.data(), PadTo8(size) - size);
  }
  const auto go_on = [](const asio::error_code& error, std::size_t) {
    return error ? 0 : kBytesPerWrite;
  };
  asio::async_write(socket_, buffers, go_on,
                    [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                      if (self->closed_) return;
                      if (error) {
                        return self->Close(Unreachable(self->address_, "write", error.message()));
                      }
                      self->Written();
                    });
}

void Connection::Written() {
  std::vector<Outgoing> done;
  done.swap(writing_);
  if (!outgoing_.empty()) Write();
  for (const Outgoing& frame : done) {
    if (frame.written && !closed_) frame.written();
  }
}

void Connection::Close(const absl::Status& why) {
  if (closed_) return;
  const auto self = shared_from_this();  // the handlers may let go of the last other reference
  closed_ = true;
  ready_ = false;
  asio::error_code ignored;
  socket_.close(ignored);
  resolver_.cancel();
  timer_.cancel();
  outgoing_.clear();  // what is being written must stay until the write has ended
  const auto pending = std::move(pending_);
  pending_.clear();
  handlers_.on_closed(why);
  for (const auto& [correlation, reply] : pending) reply(why, nullptr);
}

}  // namespace cairn::client
