#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "storage/data_dir.h"

namespace cairn::broker {

// Sees to the room on the disk, on a thread of its own that sleeps while all is well: frees removed
// files step by step, so that nobody else stalls in it, and, while room is short, tries to get the
// reserve back, which lets producers go on. Says in the log when room becomes short and when it is
// there again.
//
// Threads: its owner's; the hooks that it sets in DataDir call it from any.
class SpaceKeeper {
 public:
  struct Options {
    // Between two attempts while room is short, or while files wait for their readers.
    std::chrono::milliseconds interval{500};
    std::function<void()> on_short;  // called when room has become short: to make some
  };

  SpaceKeeper(storage::DataDir& data_dir, Options options);
  ~SpaceKeeper();  // stops

  void Start();
  // Files that still wait then are freed when the process ends.
  void Stop();

 private:
  void Wake();
  void Loop();
  bool stopping() const;
  // Gives whether it should be called again after a while.
  bool Look();
  void TellOnce();

  storage::DataDir& data_dir_;
  const Options options_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
  bool stopping_ = false;

  bool told_short_ = false;  // the thread's own
  std::thread thread_;
};

}  // namespace cairn::broker
