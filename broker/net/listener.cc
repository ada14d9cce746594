#include "broker/net/listener.h"

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "asio/post.hpp"
#include "broker/net/stream.h"
#include "broker/runtime/logging.h"
#include "protocol/status.h"

namespace cairn::broker {
namespace {

constexpr int kBacklog = 4096;
constexpr int kAcceptsPerTurn = 64;
constexpr std::chrono::milliseconds kPause{100};
constexpr std::chrono::seconds kComplaintInterval{10};

using asio::ip::tcp;

absl::StatusOr<tcp::endpoint> Resolve(asio::io_context& context, const ListenAddress& address) {
  asio::error_code error;
  tcp::resolver resolver(context);
  const auto found =
      resolver.resolve(address.host, std::to_string(address.port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cannot listen on %s: the host is not known here (%s)", address.host, error.message()));
  }
  // "localhost" often names ::1 first, while nearly every client tries 127.0.0.1.
  for (const auto& entry : found) {
    if (entry.endpoint().address().is_v4()) return entry.endpoint();
  }
  return found.begin()->endpoint();
}

absl::Status BindError(const std::string& where, const asio::error_code& error) {
  if (error == asio::error::address_in_use) {
    return absl::AlreadyExistsError(absl::StrFormat(
        "%s is in use: another program listens there; choose another port with --listen", where));
  }
  if (error == asio::error::access_denied) {
    return absl::PermissionDeniedError(
        absl::StrFormat("%s may not be listened on: %s", where, error.message()));
  }
  return absl::UnavailableError(absl::StrFormat("cannot listen on %s: %s", where, error.message()));
}

std::string Text(const tcp::endpoint& endpoint) {
  return EndpointText(endpoint.address().to_string(), endpoint.port());
}

int OpenReserve() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(
        absl::StrFormat("\"%s\" is not HOST:PORT, such as 127.0.0.1:7654 or [::1]:7654", text));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad();
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return bad();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad();
  }
  ListenAddress address{.host = std::string(host)};
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty()) return bad();
  return address;
}

absl::StatusOr<std::shared_ptr<Listener>> Listener::Open(asio::io_context& context,
                                                         const Options& options) {
  ASSIGN_OR_RETURN(const tcp::endpoint endpoint, Resolve(context, options.address));
  const std::string where = Text(endpoint);
  if (!endpoint.address().is_loopback() && !options.allow_public) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "refusing to listen on %s: other machines could reach it, and there are no users and no "
        "encryption yet; add --insecure-public-listener if that is wanted",
        where));
  }
  tcp::acceptor acceptor(context);
  asio::error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(kBacklog, error);
  if (!error) acceptor.native_non_blocking(true, error);
  if (error) return BindError(where, error);
  ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  return std::shared_ptr<Listener>(new Listener(context, std::move(acceptor)));
}

Listener::Listener(asio::io_context& context, tcp::acceptor acceptor)
    : context_(context), acceptor_(std::move(acceptor)), timer_(context), reserve_(OpenReserve()) {
  asio::error_code ignored;
  const tcp::endpoint bound = acceptor_.local_endpoint(ignored);
  endpoint_ = Text(bound);
  port_ = bound.port();
}

Listener::~Listener() {
  if (reserve_ >= 0) ::close(reserve_);
}

void Listener::Start(OnAccept on_accept) {
  on_accept_ = std::move(on_accept);
  asio::post(context_, [self = shared_from_this()] { self->Wait(); });
}

void Listener::Stop(absl::AnyInvocable<void()> done) {
  asio::post(context_, [self = shared_from_this(), done = std::move(done)]() mutable {
    asio::error_code ignored;
    self->stopped_ = true;
    self->acceptor_.close(ignored);
    self->timer_.cancel();
    self->on_accept_ = nullptr;
    done();
  });
}

void Listener::Wait() {
  if (stopped_) return;
  acceptor_.async_wait(
      tcp::acceptor::wait_read,
      [self = shared_from_this()](const asio::error_code&) { self->AcceptWhatIsThere(); });
}

void Listener::AcceptWhatIsThere() {
  if (stopped_) return;
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    const int descriptor =
        ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= 0) {
      on_accept_(descriptor);
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) break;
    if (errno == EMFILE || errno == ENFILE) {
      TurnOneAway();
      return Pause();
    }
    if (errno == ENOBUFS || errno == ENOMEM) return Pause();
    // Anything else concerns one peer that has gone again.
  }
  Wait();
}

void Listener::TurnOneAway() {
  const auto now = std::chrono::steady_clock::now();
  if (now >= complain_after_) {
    LogWarning("descriptors have run out; new connections are turned away");
    complain_after_ = now + kComplaintInterval;
  }
  if (reserve_ < 0) return;
  ::close(reserve_);
  const int descriptor =
      ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (descriptor >= 0) ::close(descriptor);
  reserve_ = OpenReserve();
}

void Listener::Pause() {
  timer_.expires_after(kPause);
  timer_.async_wait([self = shared_from_this()](const asio::error_code&) { self->Wait(); });
}

}  // namespace cairn::broker
