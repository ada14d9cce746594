#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "protocol/types.h"

namespace cairn::storage {

// Which bytes of a segment were checked since it was opened. Every range begins and ends at a batch
// boundary; ranges that touch become one. Not locked; the owner guards it.
class VerifiedRanges {
 public:
  struct Range {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    Offset next_offset;  // of the batch that begins, or would begin, at `end`
  };

  // The range that `position` lies in; null if it was not checked.
  const Range* Find(std::int64_t position) const {
    auto it =
        std::upper_bound(ranges_.begin(), ranges_.end(), position,
                         [](std::int64_t at, const Range& range) { return at < range.begin; });
    if (it == ranges_.begin()) return nullptr;
    --it;
    return position < it->end ? &*it : nullptr;
  }

  void Add(Range added) {
    if (added.begin >= added.end) return;
    // The usual case: what was appended joins the last range.
    if (!ranges_.empty() && ranges_.back().end == added.begin) {
      ranges_.back().end = added.end;
      ranges_.back().next_offset = added.next_offset;
      return;
    }
    auto first =
        std::lower_bound(ranges_.begin(), ranges_.end(), added.begin,
                         [](const Range& range, std::int64_t at) { return range.end < at; });
    auto last = first;
    for (; last != ranges_.end() && last->begin <= added.end; ++last) {
      added.begin = std::min(added.begin, last->begin);
      if (last->end > added.end) {
        added.end = last->end;
        added.next_offset = last->next_offset;
      }
    }
    ranges_.insert(ranges_.erase(first, last), added);
  }

  void Clear() { std::vector<Range>().swap(ranges_); }

 private:
  std::vector<Range> ranges_;
};

}  // namespace cairn::storage
