#pragma once

namespace cairn::storage {

// Mistakes on purpose, for tests/crash/seeded_bugs.py: each must be caught by some test, which
// proves that the test can see it. In the `bugs` preset (CAIRN_SEEDED_BUGS) the environment
// variable CAIRN_SEEDED_BUG names the one that this process has; everywhere else there are none,
// and the compiler drops what asks.
enum class SeededBug {
  kAckBeforeSync,
  kFrontierAhead,
  kNoDirectorySync,
  kSyncTriedAgain,
  kCacheBelieved,
  kCutBelowFrontier,
  kTailNotCut,
  kWrongBaseAfterRoll,
  kProducersForgotten,
  kFullDiskIsFinal,
  kTrimmedTooFar,
  kShowsUnsynced,
  kCompactionDropsNewest,
  kSwapBeforeSync,
};

#ifdef CAIRN_SEEDED_BUGS
bool HasBug(SeededBug bug);
#else
constexpr bool HasBug(SeededBug) { return false; }
#endif

}  // namespace cairn::storage
