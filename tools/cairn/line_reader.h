#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace cairn::tools {

// Takes a stream apart into lines, with memory for the longest line only. An empty line is a line;
// so is what follows the last newline, if anything does. A carriage return belongs to the line.
//
// Threads: one.
class LineReader {
 public:
  // Borrows `fd`. `name` is for messages.
  LineReader(int fd, std::string name, std::size_t line_bytes_max);

  // The next line without its newline, borrowed until the next call; nothing at the end of the
  // stream or after an interrupt.
  //   kInvalidArgument  a line is longer than line_bytes_max; names it
  //   other             the stream cannot be read
  absl::StatusOr<std::optional<std::string_view>> Next();

  // How many lines were given so far.
  std::int64_t lines() const { return lines_; }

 private:
  absl::Status Fill();
  std::string_view Take(std::size_t size, std::size_t skip);

  int fd_;
  std::string name_;
  std::size_t line_bytes_max_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;     // of the next line
  std::size_t searched_ = 0;  // no newline before this
  std::size_t end_ = 0;       // of what was read
  bool at_end_ = false;
  std::int64_t lines_ = 0;
};

}  // namespace cairn::tools
