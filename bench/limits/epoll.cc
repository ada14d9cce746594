#include "bench/limits/epoll.h"

#include "absl/strings/str_format.h"

#include "bench/limits/loopback.h"

namespace cairn::bench {

absl::StatusOr<Epoll> Epoll::Make() {
  Descriptor descriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!descriptor.is_open()) return CallError("epoll_create1");
  return Epoll(std::move(descriptor));
}

absl::Status Epoll::Add(int descriptor, std::uint32_t id) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = id;
  if (::epoll_ctl(descriptor_.number(), EPOLL_CTL_ADD, descriptor, &event) == 0) {
    return absl::OkStatus();
  }
  return CallError(absl::StrFormat("epoll_ctl, descriptor %d", descriptor));
}

absl::StatusOr<std::span<const epoll_event>> Epoll::Wait() {
  constexpr int kPatienceMs = static_cast<int>(std::chrono::milliseconds(kPatience).count());
  for (;;) {
    const int count = ::epoll_wait(descriptor_.number(), events_.data(),
                                   static_cast<int>(events_.size()), kPatienceMs);
    if (count > 0) return std::span(events_).first(static_cast<std::size_t>(count));
    if (count == 0) {
      return absl::DeadlineExceededError(
          absl::StrFormat("epoll_wait: nothing came for %d s", kPatience.count()));
    }
    if (errno != EINTR) return CallError("epoll_wait");
  }
}

}  // namespace cairn::bench
