#include "broker/net/stream.h"

#include <cerrno>
#include <cstring>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

namespace cairn::broker {
namespace {

constexpr int kKeepaliveIdleSeconds = 60;
constexpr int kKeepaliveProbeSeconds = 15;
constexpr int kKeepaliveProbes = 4;

// The peer went away or its host does: nothing an operator has to act on.
absl::Status Lost(const char* doing, int error) {
  return absl::UnavailableError(
      absl::StrFormat("connection lost while %s: %s", doing, std::strerror(error)));
}

}  // namespace

absl::StatusOr<Stream> Stream::Adopt(asio::io_context& context, int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  const bool v6 = ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
                  address.ss_family == AF_INET6;
  asio::ip::tcp::socket socket(context);
  asio::error_code error;
  socket.assign(v6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(), descriptor, error);
  if (error) {
    ::close(descriptor);
    return absl::ResourceExhaustedError(
        absl::StrFormat("a new connection cannot be watched: %s", error.message()));
  }
  // Replies are gathered before they are sent; waiting for more would only delay them.
  const int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  // An idle connection may stay for ever, but not one whose peer's host is gone.
  ::setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepaliveIdleSeconds, sizeof(int));
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepaliveProbeSeconds, sizeof(int));
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &kKeepaliveProbes, sizeof(int));
  socket.native_non_blocking(true, error);
  if (error) return Lost("preparing it", error.value());
  return Stream(std::move(socket));
}

absl::StatusOr<Stream::Moved> Stream::Read(MutableBytes into) {
  for (;;) {
    const ssize_t got = ::recv(socket_.native_handle(), into.data(), into.size(), 0);
    if (got > 0) return Moved{.bytes = static_cast<std::size_t>(got)};
    if (got == 0) return Moved{.end = true};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Moved{.would_block = true};
    return Lost("reading", errno);
  }
}

absl::StatusOr<Stream::Moved> Stream::Write(std::span<const iovec> parts) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  for (;;) {
    const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL);
    if (sent >= 0) return Moved{.bytes = static_cast<std::size_t>(sent)};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Moved{.would_block = true};
    if (errno == EFAULT) {
      return absl::DataLossError("what was to be written cannot be read from its file any more");
    }
    return Lost("writing", errno);
  }
}

void Stream::Wait(asio::ip::tcp::socket::wait_type what, Ready ready) {
  // An error shows itself when the caller reads or writes next, so that it is told in one place.
  socket_.async_wait(what,
                     [ready = std::move(ready)](const asio::error_code&) mutable { ready(); });
}

void Stream::CloseSending() {
  asio::error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
}

void Stream::Close() {
  asio::error_code ignored;
  socket_.close(ignored);
}

std::string Stream::peer() const {
  asio::error_code error;
  const auto endpoint = socket_.remote_endpoint(error);
  return error ? "?" : EndpointText(endpoint.address().to_string(), endpoint.port());
}

std::string Stream::peer_host() const {
  asio::error_code error;
  const auto endpoint = socket_.remote_endpoint(error);
  return error ? "?" : endpoint.address().to_string();
}

std::string Stream::local_host() const {
  asio::error_code error;
  const auto endpoint = socket_.local_endpoint(error);
  return error ? "" : endpoint.address().to_string();
}

std::uint16_t Stream::local_port() const {
  asio::error_code error;
  const auto endpoint = socket_.local_endpoint(error);
  return error ? std::uint16_t{0} : endpoint.port();
}

std::string EndpointText(const std::string& host, std::uint16_t port) {
  return host.find(':') == std::string::npos ? absl::StrFormat("%s:%d", host, port)
                                             : absl::StrFormat("[%s]:%d", host, port);
}

}  // namespace cairn::broker
