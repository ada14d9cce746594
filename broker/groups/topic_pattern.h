#pragma once

#include <string_view>

namespace cairn::broker {

// Whether a name of a topic list is a pattern: it has a `*` or a `?`.
bool IsTopicPattern(std::string_view text);

// `*` stands for any characters, none too, `?` for one. Takes time in proportion to both lengths.
bool MatchesTopicPattern(std::string_view pattern, std::string_view name);

}  // namespace cairn::broker
