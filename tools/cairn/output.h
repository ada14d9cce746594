#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace cairn::tools {

// Results on their way to stdout, gathered into large writes.
//
// A reader that has seen enough (`| head`) is not an error: broken() is true from then on and
// whatever else is written is dropped.
//
// Threads: one.
class Output {
 public:
  // Append here, then call Commit.
  std::string& buffer() { return buffer_; }
  void Write(std::string_view text) { buffer_ += text; }

  // Writes if much has gathered. An error (a full disk, say) is kept, and given by Flush.
  void Commit() {
    if (buffer_.size() >= kWriteBytes) WriteOut();
  }
  // Writes everything.
  absl::Status Flush();

  // Whether anyone still reads; also looks for a reader that went away while nothing was written.
  bool broken();

 private:
  static constexpr std::size_t kWriteBytes = 128u << 10;
  void WriteOut();

  std::string buffer_;
  bool broken_ = false;
  absl::Status status_;
};

}  // namespace cairn::tools
