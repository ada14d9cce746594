#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <netinet/in.h>
#include <sys/uio.h>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "bench/limits/descriptor.h"
#include "protocol/bytes.h"

// TCP over loopback: TCP_NODELAY everywhere, ports picked by the system. Calls wait where there is
// nothing to do, but not for ever.
namespace cairn::bench {

// Nobody waits longer for the other half: then it is lost, and the program fails.
inline constexpr std::chrono::seconds kPatience{30};

// A connection to there, set up as all of them are.
absl::StatusOr<Descriptor> ConnectTo(const sockaddr_in& address);

class Listener {
 public:
  static absl::StatusOr<Listener> Open();

  absl::StatusOr<Descriptor> Connect() const;
  absl::StatusOr<Descriptor> Accept() const;
  int descriptor() const { return socket_.number(); }

 private:
  Listener(Descriptor socket, std::uint16_t port) : socket_(std::move(socket)), port_(port) {}

  Descriptor socket_;
  std::uint16_t port_;
};

// Both ends of connections: served[i] and asking[i] are one.
struct Loopback {
  std::vector<Descriptor> served;
  std::vector<Descriptor> asking;

  static absl::StatusOr<Loopback> Connect(int connections);
};

absl::Status SendAll(int socket, ByteView bytes);
// The parts one after the other by as few calls as possible; changes `parts`.
absl::Status SendAll(int socket, std::span<iovec> parts);
// What is there, at least a byte, which it waits for; 0: the other end is closed.
absl::StatusOr<std::size_t> Receive(int socket, MutableBytes out);
// Fills `out`; false where the other end is closed before the first byte.
absl::StatusOr<bool> ReceiveAll(int socket, MutableBytes out);
// The same into the parts one after the other; changes `parts`.
absl::StatusOr<bool> ReceiveAll(int socket, std::span<iovec> parts);
iovec PartOf(ByteView bytes);

}  // namespace cairn::bench
