#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"

#include "asio/io_context.hpp"
#include "asio/ip/tcp.hpp"
#include "asio/steady_timer.hpp"

namespace cairn::broker {

struct ListenAddress {
  std::string host;        // a name or a number
  std::uint16_t port = 0;  // 0: any free one
};

// "127.0.0.1:7654", "localhost:0", "[::1]:7654".
//   kInvalidArgument  not of that form
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

// Takes connections on one address and hands their descriptors on. When descriptors run out it
// pauses and tries again, and what is established does not notice.
//
// Threads: Open and Stop from anywhere; the rest happens on the thread that runs `context`.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  // Owns the descriptor it is given.
  using OnAccept = absl::AnyInvocable<void(int descriptor)>;

  struct Options {
    ListenAddress address;
    bool allow_public = false;  // addresses that other machines can reach
  };
  // Binds and listens; nothing is accepted before Start.
  //   kInvalidArgument     the host is not known
  //   kPermissionDenied    not loopback, and allow_public is not set; or a privileged port
  //   kAlreadyExists       the port is taken
  //   kUnavailable         not an address of this machine, or the kernel refuses
  static absl::StatusOr<std::shared_ptr<Listener>> Open(asio::io_context& context,
                                                        const Options& options);
  ~Listener();

  void Start(OnAccept on_accept);
  // No more are handed on once this has run on the context's thread; `done` is called there.
  void Stop(absl::AnyInvocable<void()> done);

  // Where it listens, numbers filled in: "127.0.0.1:40112".
  const std::string& endpoint() const { return endpoint_; }
  std::uint16_t port() const { return port_; }

 private:
  Listener(asio::io_context& context, asio::ip::tcp::acceptor acceptor);

  void Wait();
  void AcceptWhatIsThere();
  // For when descriptors have run out: one peer finds its connection closed instead of waiting.
  void TurnOneAway();
  void Pause();

  asio::io_context& context_;
  asio::ip::tcp::acceptor acceptor_;
  asio::steady_timer timer_;
  OnAccept on_accept_;
  std::string endpoint_;
  std::uint16_t port_ = 0;
  // Given up for a moment when descriptors run out, so that the peer who waits can be turned away.
  int reserve_ = -1;
  std::chrono::steady_clock::time_point complain_after_{};
  bool stopped_ = false;
};

}  // namespace cairn::broker
