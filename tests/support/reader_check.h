#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/final_log.h"
#include "tests/support/findings.h"
#include "tests/support/history.h"
#include "tests/support/history_checker.h"

namespace cairn::test {

// Whether somebody sent that record to that partition, and nobody said that it was not taken.
void CheckKnown(const History& history, std::int32_t partition, std::int64_t offset, Value value,
                std::string_view reader, Findings& findings);

// What one reader was given: without skips and repeats, and nothing that was not there to stay.
class ReaderCheck {
 public:
  using Gone = std::vector<std::vector<std::pair<std::int64_t, Value>>>;

  // What it read that is there no more, rightly, is added to `gone`.
  ReaderCheck(const History& history, const std::vector<FinalLog>& logs, const Reader& reader,
              Gone& gone, Verdict& verdict);
  void Run();

 private:
  // One partition in the reader's eyes, since it was assigned.
  struct View {
    std::int64_t expected = -1;
    // What a reader of a written topic believes, until it is told otherwise.
    std::vector<std::pair<std::int64_t, Value>> believed;
  };

  void OnRecord(const ReadStep& step, View& view);
  void OnNotice(const ReadStep& step, View& view);
  void CheckKept(const ReadStep& step);
  void CheckBeliefs(std::int32_t partition, const View& view);
  const FinalLog& LogOf(std::int32_t partition) const {
    return logs_[static_cast<std::size_t>(partition)];
  }

  const History& history_;
  const std::vector<FinalLog>& logs_;
  const Reader& reader_;
  Gone& gone_;
  Verdict& verdict_;
  std::vector<View> views_;
};

}  // namespace cairn::test
