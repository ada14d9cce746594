#pragma once

#include <chrono>

#include "protocol/types.h"

namespace cairn::broker {

// The wall clock, read at the doors and by the broker's own threads; everything below is handed
// `now`.
inline Timestamp WallNow() {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  return Timestamp(
      duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

}  // namespace cairn::broker
