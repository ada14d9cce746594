#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"

namespace cairn::client {

// The same status with memory of its own, for handing to another thread while a copy stays here.
// Copies share a counted message, which is sound, but ThreadSanitizer does not see the counting in
// an Abseil that was not built with it.
inline absl::Status Detached(const absl::Status& status) {
  absl::Status copy(status.code(), status.message());
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    copy.SetPayload(type, absl::Cord(std::string(payload)));
  });
  return copy;
}

}  // namespace cairn::client
