#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/findings.h"
#include "tests/support/history.h"

namespace cairn::test {

// What of a run's history is against the promises, and what was counted on the way.
struct Verdict {
  Findings findings;

  std::int64_t acked_durable = 0;
  std::int64_t acked_written = 0;
  std::int64_t refused = 0;
  std::int64_t unknown = 0;
  std::int64_t unknown_present = 0;  // of those, in the log
  std::int64_t read = 0;
  std::int64_t final_records = 0;

  // What `written` acknowledgements leave to chance: records that a power cut took back.
  struct LossInCut {
    std::size_t fault = 0;  // its place in History::faults
    std::int64_t records = 0;
    double oldest_ms = 0;  // from the acknowledgement to the end of the broker
  };
  std::vector<LossInCut> written_losses;
  std::int64_t truncated_notices = 0;
  std::int64_t trimmed_notices = 0;
};

// Checks the whole history. Pure. Time: that of sorting it.
Verdict CheckHistory(const History& history);

// The counts in a few lines.
std::string CountsText(const Verdict& verdict);

}  // namespace cairn::test
