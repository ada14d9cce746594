#include "storage/seeded_bug.h"

#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "protocol/check.h"

namespace cairn::storage {
namespace {

struct Name {
  SeededBug bug;
  std::string_view name;
};

// seeded_bugs.py reads this table and wants a test for each.
constexpr std::array kNames = {
    Name{SeededBug::kAckBeforeSync, "ack-before-sync"},
    Name{SeededBug::kFrontierAhead, "frontier-ahead"},
    Name{SeededBug::kNoDirectorySync, "no-directory-sync"},
    Name{SeededBug::kSyncTriedAgain, "sync-tried-again"},
    Name{SeededBug::kCacheBelieved, "cache-believed"},
    Name{SeededBug::kCutBelowFrontier, "cut-below-frontier"},
    Name{SeededBug::kTailNotCut, "tail-not-cut"},
    Name{SeededBug::kWrongBaseAfterRoll, "wrong-base-after-roll"},
    Name{SeededBug::kProducersForgotten, "producers-forgotten"},
    Name{SeededBug::kFullDiskIsFinal, "full-disk-is-final"},
    Name{SeededBug::kTrimmedTooFar, "trimmed-too-far"},
    Name{SeededBug::kShowsUnsynced, "shows-unsynced"},
    Name{SeededBug::kCompactionDropsNewest, "compaction-drops-newest"},
    Name{SeededBug::kSwapBeforeSync, "swap-before-sync"},
};

std::optional<SeededBug> Chosen() {
  const char* const wanted = std::getenv("CAIRN_SEEDED_BUG");
  if (wanted == nullptr) return std::nullopt;
  for (const Name& each : kNames) {
    if (each.name == wanted) return each.bug;
  }
  CAIRN_CHECK(false && "CAIRN_SEEDED_BUG names no bug");
  return std::nullopt;
}

}  // namespace

bool HasBug(SeededBug bug) {
  static const std::optional<SeededBug> chosen = Chosen();
  return chosen == bug;
}

}  // namespace cairn::storage
