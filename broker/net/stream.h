#pragma once

#include <span>
#include <string>
#include <sys/uio.h>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "asio/io_context.hpp"
#include "asio/ip/tcp.hpp"
#include "protocol/bytes.h"

namespace cairn::broker {

// One connected TCP socket, never blocking, for life on the thread that runs its io_context. Here
// and in the listener the errors of Asio and the kernel become Status; nothing above sees another.
//
// Reading and writing are plain calls that move what can be moved now. Whoever wants to go on later
// waits for the socket and is called back, once per wait, also when the stream is closed meanwhile.
class Stream {
 public:
  // Owns the descriptor from now on, also if this fails.
  //   kResourceExhausted  the kernel will not watch another descriptor
  static absl::StatusOr<Stream> Adopt(asio::io_context& context, int descriptor);

  struct Moved {
    std::size_t bytes = 0;
    bool would_block = false;  // nothing can be moved now
    bool end = false;          // reading: the peer has said all it has to say
  };
  // kUnavailable: the connection is lost.
  absl::StatusOr<Moved> Read(MutableBytes into);
  // Also kDataLoss: `parts` lie in the mapping of a file that was cut or that the disk cannot read.
  absl::StatusOr<Moved> Write(std::span<const iovec> parts);

  using Ready = absl::AnyInvocable<void()>;
  void WaitReadable(Ready ready) { Wait(asio::ip::tcp::socket::wait_read, std::move(ready)); }
  void WaitWritable(Ready ready) { Wait(asio::ip::tcp::socket::wait_write, std::move(ready)); }

  // Says that nothing more will be sent; what the peer sends can still be read.
  void CloseSending();
  void Close();

  // "127.0.0.1:41234"; "?" where the kernel does not say.
  std::string peer() const;
  std::string peer_host() const;
  // The address by which the peer reached us: what it may be told to come back to.
  std::string local_host() const;
  std::uint16_t local_port() const;

 private:
  explicit Stream(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}
  void Wait(asio::ip::tcp::socket::wait_type what, Ready ready);

  asio::ip::tcp::socket socket_;
};

// "127.0.0.1:7654", "[::1]:7654".
std::string EndpointText(const std::string& host, std::uint16_t port);

}  // namespace cairn::broker
