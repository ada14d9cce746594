#include "tests/support/lossy_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/check.h"
#include "protocol/frame.h"

namespace cairn::test {
namespace {

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

bool WriteAll(int socket, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

bool ReadAll(int socket, MutableBytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::recv(socket, bytes.data(), bytes.size(), 0);
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

// One whole frame, header and padding included; false at the end of the connection.
bool ReadFrame(int socket, Bytes& frame) {
  frame.resize(kFrameHeaderBytes);
  if (!ReadAll(socket, frame)) return false;
  const std::size_t body = PadTo8(LoadLe<std::uint32_t>(frame, 0));
  frame.resize(kFrameHeaderBytes + body);
  return ReadAll(socket, MutableBytes(frame).subspan(kFrameHeaderBytes));
}

int Connect(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(socket);
    return -1;
  }
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return socket;
}

void Cut(int client, int broker) {
  ::shutdown(client, SHUT_RDWR);
  ::shutdown(broker, SHUT_RDWR);
}

}  // namespace

LossyProxy::LossyProxy(Options options) : options_(options), random_(options.seed) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  CAIRN_CHECK(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) == 0);
  CAIRN_CHECK(::listen(listener_, 64) == 0);
  CAIRN_CHECK(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

LossyProxy::~LossyProxy() {
  stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  for (Link& link : links_) {
    Cut(link.client, link.broker);
    link.up.join();
    link.down.join();
    ::close(link.client);
    ::close(link.broker);
  }
}

LossyProxy::Counts LossyProxy::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void LossyProxy::Accept() {
  while (!stopping_) {
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    const int broker = Connect(options_.broker_port);
    if (broker < 0) {
      ::close(client);
      continue;
    }
    const int on = 1;
    ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const std::lock_guard lock(mutex_);
    ++counts_.connections;
    Link& link = links_.emplace_back();
    link.client = client;
    link.broker = broker;
    link.up = std::thread([this, &link] { Forward(link); });
    link.down = std::thread([this, &link] { ForwardAnswers(link); });
  }
}

void LossyProxy::Forward(Link& link) {
  std::vector<std::byte> buffer(64 << 10);
  for (;;) {
    const ssize_t n = ::recv(link.client, buffer.data(), buffer.size(), 0);
    if (n <= 0) break;
    if (!WriteAll(link.broker, ByteView(buffer).first(static_cast<std::size_t>(n)))) break;
  }
  Cut(link.client, link.broker);
}

void LossyProxy::ForwardAnswers(Link& link) {
  Bytes frame;
  for (bool first = true; ReadFrame(link.broker, frame); first = false) {
    const Fate fate = first ? Fate::kPass : Decide();
    if (fate != Fate::kDropAndCut && !WriteAll(link.client, frame)) break;
    if (fate != Fate::kPass) break;
  }
  Cut(link.client, link.broker);
}

LossyProxy::Fate LossyProxy::Decide() {
  const std::lock_guard lock(mutex_);
  ++counts_.answers;
  if (behave_) return Fate::kPass;
  if (random_() % options_.drop_one_in == 0) {
    ++counts_.dropped;
    ++counts_.cut;
    return Fate::kDropAndCut;
  }
  if (random_() % options_.cut_one_in == 0) {
    ++counts_.cut;
    return Fate::kCut;
  }
  return Fate::kPass;
}

}  // namespace cairn::test
