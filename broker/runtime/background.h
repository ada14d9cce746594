#pragma once

#include <sys/resource.h>

namespace cairn::broker {

// For threads whose work nobody waits for: where cores are short, those that somebody waits for go
// first, and are not held up for a time slice. Of the calling thread alone (on Linux a nice value
// is a thread's, see setpriority(2)); a system that refuses it loses only that.
inline void GiveWayToOthers() {
  constexpr int kNice = 10;
  (void)setpriority(PRIO_PROCESS, 0, kNice);
}

}  // namespace cairn::broker
