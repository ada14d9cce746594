#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <sys/epoll.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "bench/limits/descriptor.h"

namespace cairn::bench {

// Waits for several descriptors at once, level-triggered, as an event loop does.
class Epoll {
 public:
  static absl::StatusOr<Epoll> Make();

  // Wait gives `id` whenever there is something to read or the other end is closed.
  absl::Status Add(int descriptor, std::uint32_t id);
  // Valid until the next call; never empty. kDeadlineExceeded: nothing came for kPatience.
  absl::StatusOr<std::span<const epoll_event>> Wait();

 private:
  explicit Epoll(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

  Descriptor descriptor_;
  std::array<epoll_event, 128> events_{};
};

}  // namespace cairn::bench
