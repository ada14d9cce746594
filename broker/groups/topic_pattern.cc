#include "broker/groups/topic_pattern.h"

#include <cstddef>

namespace cairn::broker {

bool IsTopicPattern(std::string_view text) {
  return text.find_first_of("*?") != std::string_view::npos;
}

bool MatchesTopicPattern(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0;
  // Where to go on if what follows the last star does not fit: it then takes one character more.
  std::size_t star = std::string_view::npos, taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace cairn::broker
