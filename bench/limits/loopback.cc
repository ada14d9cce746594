#include "bench/limits/loopback.h"

#include <arpa/inet.h>
#include <array>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "protocol/status.h"

namespace cairn::bench {
namespace {

constexpr int kBacklog = 4096;

sockaddr_in LoopbackAddress(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

absl::Status SetUp(int socket) {
  const int on = 1;
  const timeval patience{.tv_sec = kPatience.count(), .tv_usec = 0};
  if (::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
      ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
    return CallError("setsockopt on a socket");
  }
  return absl::OkStatus();
}

// Takes `done` bytes off the front.
std::span<iovec> Without(std::span<iovec> parts, std::size_t done) {
  while (!parts.empty() && done >= parts.front().iov_len) {
    done -= parts.front().iov_len;
    parts = parts.subspan(1);
  }
  if (done > 0) {
    parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + done;
    parts.front().iov_len -= done;
  }
  return parts;
}

msghdr MessageOf(std::span<iovec> parts) {
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  return message;
}

}  // namespace

absl::StatusOr<Listener> Listener::Open() {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return CallError("socket");
  sockaddr_in address = LoopbackAddress(0);
  socklen_t size = sizeof address;
  if (::bind(socket.number(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
    return CallError("bind to 127.0.0.1, any port");
  }
  if (::listen(socket.number(), kBacklog) != 0) return CallError("listen on 127.0.0.1");
  if (::getsockname(socket.number(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return CallError("getsockname");
  }
  return Listener(std::move(socket), ntohs(address.sin_port));
}

absl::StatusOr<Descriptor> ConnectTo(const sockaddr_in& address) {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return CallError("socket");
  if (::connect(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
      0) {
    std::array<char, INET_ADDRSTRLEN> host{};
    ::inet_ntop(AF_INET, &address.sin_addr, host.data(), host.size());
    return CallError(absl::StrFormat("connect to %s:%d", host.data(), ntohs(address.sin_port)));
  }
  RETURN_IF_ERROR(SetUp(socket.number()));
  return socket;
}

absl::StatusOr<Descriptor> Listener::Connect() const { return ConnectTo(LoopbackAddress(port_)); }

absl::StatusOr<Descriptor> Listener::Accept() const {
  Descriptor socket(::accept4(socket_.number(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.is_open()) return CallError(absl::StrFormat("accept on 127.0.0.1:%d", port_));
  RETURN_IF_ERROR(SetUp(socket.number()));
  return socket;
}

absl::StatusOr<Loopback> Loopback::Connect(int connections) {
  ASSIGN_OR_RETURN(const Listener listener, Listener::Open());
  Loopback loopback;
  for (int i = 0; i < connections; ++i) {
    ASSIGN_OR_RETURN(Descriptor asking, listener.Connect());
    ASSIGN_OR_RETURN(Descriptor served, listener.Accept());
    loopback.asking.push_back(std::move(asking));
    loopback.served.push_back(std::move(served));
  }
  return loopback;
}

iovec PartOf(ByteView bytes) {
  return {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
}

absl::Status SendAll(int socket, ByteView bytes) {
  iovec part = PartOf(bytes);
  return SendAll(socket, {&part, 1});
}

absl::Status SendAll(int socket, std::span<iovec> parts) {
  while (!parts.empty()) {
    const msghdr message = MessageOf(parts);
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return CallError("send on loopback");
    parts = Without(parts, static_cast<std::size_t>(sent));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::size_t> Receive(int socket, MutableBytes out) {
  for (;;) {
    const ssize_t got = ::recv(socket, out.data(), out.size(), 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return CallError("recv on loopback");
  }
}

absl::StatusOr<bool> ReceiveAll(int socket, MutableBytes out) {
  iovec part = PartOf(out);
  return ReceiveAll(socket, {&part, 1});
}

absl::StatusOr<bool> ReceiveAll(int socket, std::span<iovec> parts) {
  std::size_t received = 0;
  while (!parts.empty()) {
    msghdr message = MessageOf(parts);
    const ssize_t got = ::recvmsg(socket, &message, MSG_WAITALL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return CallError("recv on loopback");
    if (got == 0 && received == 0) return false;
    if (got == 0) {
      return absl::UnavailableError(absl::StrFormat(
          "loopback: the other end closed within a message, after %d bytes of it", received));
    }
    received += static_cast<std::size_t>(got);
    parts = Without(parts, static_cast<std::size_t>(got));
  }
  return true;
}

}  // namespace cairn::bench
