#include "tools/cairn/line_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unistd.h>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "tools/cairn/interrupt.h"

namespace cairn::tools {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;

}  // namespace

LineReader::LineReader(int fd, std::string name, std::size_t line_bytes_max)
    : fd_(fd), name_(std::move(name)), line_bytes_max_(line_bytes_max), buffer_(2 * kReadBytes) {}

std::string_view LineReader::Take(std::size_t size, std::size_t skip) {
  const std::string_view line(buffer_.data() + begin_, size);
  begin_ += size + skip;
  searched_ = begin_;
  ++lines_;
  return line;
}

absl::StatusOr<std::optional<std::string_view>> LineReader::Next() {
  while (true) {
    const void* newline = std::memchr(buffer_.data() + searched_, '\n', end_ - searched_);
    if (newline != nullptr) {
      const auto at = static_cast<std::size_t>(static_cast<const char*>(newline) - buffer_.data());
      return Take(at - begin_, 1);
    }
    searched_ = end_;
    if (at_end_) {
      if (begin_ == end_ || Interrupt::requested()) return std::nullopt;
      return Take(end_ - begin_, 0);
    }
    if (end_ - begin_ > line_bytes_max_) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s line %d is longer than %d bytes, the most a record can hold", name_,
                          lines_ + 1, line_bytes_max_));
    }
    RETURN_IF_ERROR(Fill());
  }
}

absl::Status LineReader::Fill() {
  if (buffer_.size() - end_ < kReadBytes) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    searched_ -= begin_;
    begin_ = 0;
    if (buffer_.size() - end_ < kReadBytes) buffer_.resize(buffer_.size() * 2);
  }
  while (true) {
    if (!Interrupt::WaitReadable(fd_)) {
      at_end_ = true;
      return absl::OkStatus();
    }
    const ssize_t got = read(fd_, buffer_.data() + end_, kReadBytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::UnknownError(
          absl::StrFormat("%s cannot be read: %s", name_, std::strerror(errno)));
    }
    end_ += static_cast<std::size_t>(got);
    at_end_ = got == 0;
    return absl::OkStatus();
  }
}

}  // namespace cairn::tools
