#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace cairn::test {

// What a history must not show.
enum class Anomaly {
  kLost,          // acknowledged, and not there at the end
  kTakenBack,     // seen by a reader of a durable topic, and not there at the end
  kDuplicated,    // one record at two offsets
  kReordered,     // a producer's records not in the order in which it sent them
  kOvertaken,     // sent after another's acknowledgement came, and standing before it
  kResurrected,   // refused, and read all the same
  kForeign,       // read, and never sent to that partition
  kInconsistent,  // two records at one offset
  kNotDense,      // an offset is missing, or does not rise
  kPollSkip,      // a reader was led past an offset without a word
  kPollBackward,  // a reader was given an offset again
  kUntrueNotice,  // trimmed or truncated a..b, where a..b is not what the reader misses
  kNotTold,       // a reader of a written topic saw what was lost, and was not told
  kEndMisses,     // the end was read after an acknowledgement, and stands before its record
  kReaderFailed,  // a partition was refused to a reader
};
inline constexpr std::size_t kAnomalies = 15;

std::string_view NameOf(Anomaly anomaly);

// How often each anomaly was found, with the first few places of each.
class Findings {
 public:
  static constexpr std::size_t kExamplesMax = 8;

  // `describe` is called only if this is one of the smallest places so far.
  template <typename Describe>
  void Add(Anomaly anomaly, std::int32_t partition, std::int64_t offset, Describe describe) {
    Found& found = found_[static_cast<std::size_t>(anomaly)];
    ++found.count;
    const std::pair place(partition, offset);
    if (found.examples.size() == kExamplesMax &&
        !(place < std::prev(found.examples.end())->first)) {
      return;
    }
    found.examples.emplace(place, describe());
    if (found.examples.size() > kExamplesMax) found.examples.erase(std::prev(found.examples.end()));
  }

  std::int64_t count(Anomaly anomaly) const {
    return found_[static_cast<std::size_t>(anomaly)].count;
  }
  bool clean() const;
  // A paragraph for each anomaly that was found; empty when clean.
  std::string Text() const;

 private:
  struct Found {
    std::int64_t count = 0;
    std::multimap<std::pair<std::int32_t, std::int64_t>, std::string> examples;
  };
  std::array<Found, kAnomalies> found_;
};

}  // namespace cairn::test
