#include "tests/support/findings.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace cairn::test {

std::string_view NameOf(Anomaly anomaly) {
  switch (anomaly) {
    case Anomaly::kLost:
      return "lost";
    case Anomaly::kTakenBack:
      return "taken back after it was read";
    case Anomaly::kDuplicated:
      return "duplicated";
    case Anomaly::kReordered:
      return "reordered";
    case Anomaly::kOvertaken:
      return "overtaken by a later send";
    case Anomaly::kResurrected:
      return "refused and read all the same";
    case Anomaly::kForeign:
      return "never sent there";
    case Anomaly::kInconsistent:
      return "two records at one offset";
    case Anomaly::kNotDense:
      return "offsets not dense";
    case Anomaly::kPollSkip:
      return "poll skipped";
    case Anomaly::kPollBackward:
      return "poll went backward";
    case Anomaly::kUntrueNotice:
      return "notice not true";
    case Anomaly::kNotTold:
      return "reader not told of a loss";
    case Anomaly::kEndMisses:
      return "end misses an acknowledged record";
    case Anomaly::kReaderFailed:
      return "reader failed";
  }
  return "unknown";
}

bool Findings::clean() const {
  return std::all_of(found_.begin(), found_.end(), [](const Found& f) { return f.count == 0; });
}

std::string Findings::Text() const {
  std::string text;
  for (std::size_t i = 0; i < kAnomalies; ++i) {
    const Found& found = found_[i];
    if (found.count == 0) continue;
    text += absl::StrFormat("%s: %d\n", NameOf(static_cast<Anomaly>(i)), found.count);
    for (const auto& [place, example] : found.examples) text += "  " + example + "\n";
  }
  return text;
}

}  // namespace cairn::test
