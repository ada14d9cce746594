#pragma once

#include <cerrno>
#include <cstring>
#include <string_view>
#include <unistd.h>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace cairn::bench {

// The status for a failed system call, of which errno still tells.
inline absl::Status CallError(std::string_view call) {
  return absl::UnavailableError(absl::StrFormat("%s: %s", call, std::strerror(errno)));
}

// A socket, epoll or eventfd, closed by the destructor.
class Descriptor {
 public:
  Descriptor() = default;  // none
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }

 private:
  int number_ = -1;
};

}  // namespace cairn::bench
