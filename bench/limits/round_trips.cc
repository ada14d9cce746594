#include "bench/limits/round_trips.h"

#include <utility>

#include "bench/limits/epoll.h"
#include "bench/limits/loopback.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

// One end of a connection and what it received so far of a message.
struct Peer {
  Descriptor socket;
  Bytes received;
  std::size_t filled = 0;
  Measurement::Clock::time_point asked_at;
};

std::vector<Peer> PeersOf(std::vector<Descriptor> connections, std::size_t receives) {
  std::vector<Peer> peers;
  for (Descriptor& connection : connections) {
    peers.push_back({.socket = std::move(connection), .received = Bytes(receives), .asked_at = {}});
  }
  return peers;
}

absl::StatusOr<Epoll> EpollOf(const std::vector<Peer>& peers) {
  ASSIGN_OR_RETURN(Epoll epoll, Epoll::Make());
  for (std::uint32_t i = 0; i < peers.size(); ++i) {
    RETURN_IF_ERROR(epoll.Add(peers[i].socket.number(), i));
  }
  return epoll;
}

// Reads what epoll said is there; true when the message is whole. Closes where the other end did.
absl::StatusOr<bool> ReceiveMore(Peer& peer) {
  const MutableBytes rest = MutableBytes(peer.received).subspan(peer.filled);
  ASSIGN_OR_RETURN(const std::size_t got, Receive(peer.socket.number(), rest));
  if (got == 0) peer.socket = Descriptor();
  peer.filled += got;
  if (peer.filled < peer.received.size()) return false;
  peer.filled = 0;
  return true;
}

class Server {
 public:
  Server(std::vector<Descriptor> connections, RoundTripSizes sizes,
         absl::AnyInvocable<absl::Status(std::span<const ByteView>)> before_answers)
      : peers_(PeersOf(std::move(connections), sizes.message)),
        answer_(sizes.answer),
        before_answers_(std::move(before_answers)) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(Epoll epoll, EpollOf(peers_));
    for (std::size_t open = peers_.size(); open > 0;) {
      ASSIGN_OR_RETURN(const auto events, epoll.Wait());
      for (const epoll_event& event : events) {
        Peer& peer = peers_[event.data.u32];
        RETURN_IF_ERROR(Take(peer));
        if (!peer.socket.is_open()) --open;
      }
      RETURN_IF_ERROR(AnswerTurn());
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Take(Peer& peer) {
    ASSIGN_OR_RETURN(const bool is_whole, ReceiveMore(peer));
    if (!is_whole) return absl::OkStatus();
    if (!before_answers_) return SendAll(peer.socket.number(), answer_);
    messages_.push_back(peer.received);
    to_answer_.push_back(peer.socket.number());
    return absl::OkStatus();
  }

  absl::Status AnswerTurn() {
    if (messages_.empty()) return absl::OkStatus();
    RETURN_IF_ERROR(before_answers_(messages_));
    for (const int socket : to_answer_) RETURN_IF_ERROR(SendAll(socket, answer_));
    messages_.clear();
    to_answer_.clear();
    return absl::OkStatus();
  }

  std::vector<Peer> peers_;
  const Bytes answer_;
  absl::AnyInvocable<absl::Status(std::span<const ByteView>)> before_answers_;
  std::vector<ByteView> messages_;  // of this turn
  std::vector<int> to_answer_;
};

absl::Status Ask(Peer& peer, ByteView message) {
  peer.asked_at = Measurement::Clock::now();
  return SendAll(peer.socket.number(), message);
}

void CountAnswer(const Peer& peer, std::size_t bytes, Measurement& measurement) {
  const auto now = Measurement::Clock::now();
  measurement.CountTimed(now - peer.asked_at, now, bytes);
}

absl::Status LostServer() { return absl::UnavailableError("loopback: the serving half closed"); }

absl::Status AskOne(Peer& peer, ByteView message, Measurement& measurement) {
  while (!measurement.is_over()) {
    RETURN_IF_ERROR(Ask(peer, message));
    ASSIGN_OR_RETURN(const bool answered, ReceiveAll(peer.socket.number(), peer.received));
    if (!answered) return LostServer();
    CountAnswer(peer, message.size(), measurement);
  }
  return absl::OkStatus();
}

absl::Status AskMany(std::vector<Peer>& peers, ByteView message, Measurement& measurement) {
  ASSIGN_OR_RETURN(Epoll epoll, EpollOf(peers));
  for (Peer& peer : peers) RETURN_IF_ERROR(Ask(peer, message));
  for (std::size_t under_way = peers.size(); under_way > 0;) {
    ASSIGN_OR_RETURN(const auto events, epoll.Wait());
    for (const epoll_event& event : events) {
      Peer& peer = peers[event.data.u32];
      ASSIGN_OR_RETURN(const bool is_whole, ReceiveMore(peer));
      if (!peer.socket.is_open()) return LostServer();
      if (!is_whole) continue;
      CountAnswer(peer, message.size(), measurement);
      if (measurement.is_over()) {
        --under_way;
      } else {
        RETURN_IF_ERROR(Ask(peer, message));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AnswerRoundTrips(
    std::vector<Descriptor> connections, RoundTripSizes sizes,
    absl::AnyInvocable<absl::Status(std::span<const ByteView>)> before_answers) {
  return Server(std::move(connections), sizes, std::move(before_answers)).Run();
}

absl::Status AskRoundTrips(std::vector<Descriptor> connections, RoundTripSizes sizes,
                           Measurement& measurement) {
  std::vector<Peer> peers = PeersOf(std::move(connections), sizes.answer);
  const Bytes message(sizes.message, std::byte{0x5a});
  return peers.size() == 1 ? AskOne(peers.front(), message, measurement)
                           : AskMany(peers, message, measurement);
}

}  // namespace cairn::bench
