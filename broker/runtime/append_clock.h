#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "protocol/types.h"

namespace cairn::broker {

// The broker's own time, in ms since 1970: what records are appended under and what retention goes
// by. It begins as the wall clock and goes at the pace of the monotonic one, so that a jump of the
// wall clock makes no record older:
//
//   up to an hour off     the wall clock is approached, by 1 % faster or slower, never at a leap
//   ahead by more         the time goes on at its own pace; if the wall clock still says so after
//                         an hour, without another jump, it is believed
//   behind by more        the time goes on at its own pace until the broker restarts
//
// It never runs backward while the broker runs. At a start nobody can tell a long rest from a clock
// that leapt ahead: where the data directory was last written more than an hour before, nothing
// that was appended earlier is to be called old within the first hour.
//
// Threads: any.
class AppendClock {
 public:
  struct Sources {
    std::function<Timestamp()> wall;
    std::function<std::chrono::milliseconds()> monotonic;  // goes on while the machine sleeps
  };
  static Sources OfThisMachine();

  // `last_written`: when the data directory was, in the run before, if there was one.
  explicit AppendClock(Sources sources, std::optional<Timestamp> last_written = std::nullopt);

  Timestamp Now();
  // Now(), or the wall clock where that is ahead: for refusing what neither allows.
  Timestamp Latest() { return std::max(Now(), sources_.wall()); }

  struct Ages {
    Timestamp now;
    Timestamp run_began;   // `now` less how long this clock has run
    bool trusted = false;  // whether things may be called old by it
  };
  Ages ForAges();

  // What an operator should know: how the clocks disagree, and what is done about it.
  std::optional<std::string> Problem();

 private:
  using Milliseconds = std::int64_t;

  Milliseconds Monotonic() const { return sources_.monotonic().count(); }
  void Compare(Milliseconds monotonic);
  void Approach(Milliseconds ahead, Milliseconds monotonic);

  const Sources sources_;
  const Milliseconds began_;  // by the monotonic clock, as all below that are not Timestamps
  const std::optional<Timestamp> last_written_;
  Timestamp began_at_;
  bool rested_ = false;                 // last written more than an hour before this start
  std::atomic<Milliseconds> offset_;    // of this time from the monotonic clock
  std::atomic<Milliseconds> compared_;  // when the wall clock was last looked at
  std::atomic<Milliseconds> last_;      // the latest time given out

  std::mutex mutex_;        // guards all below, and changes of offset_
  Milliseconds ahead_ = 0;  // of the wall clock, at the last look
  bool jumped_ = false;     // ahead by more than an hour, and not believed yet
  Milliseconds jumped_since_ = 0;
  Milliseconds jumped_offset_ = 0;  // of the wall clock from the monotonic one, at that jump
};

}  // namespace cairn::broker
