#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

#include "bench/limits/descriptor.h"
#include "bench/limits/measurement.h"
#include "protocol/bytes.h"

// Messages and their answers over any number of connections, one under way on each. Both kinds are
// short enough (64 KiB) for a socket to take them whole, so that nobody waits to send.
namespace cairn::bench {

struct RoundTripSizes {
  std::size_t message = 0;
  std::size_t answer = 0;
};

// The serving half, in one thread with epoll, until all connections are closed. What a turn of the
// loop found goes through `before_answers` in one call, and only then it is answered; without that
// function each message is answered at once.
absl::Status AnswerRoundTrips(
    std::vector<Descriptor> connections, RoundTripSizes sizes,
    absl::AnyInvocable<absl::Status(std::span<const ByteView>)> before_answers = nullptr);

// The asking half, in one thread; with epoll where there is more than one connection. Returns when
// the measurement is over and all is answered.
absl::Status AskRoundTrips(std::vector<Descriptor> connections, RoundTripSizes sizes,
                           Measurement& measurement);

}  // namespace cairn::bench
