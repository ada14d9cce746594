#pragma once

#include <string_view>

namespace cairn::tools {

// Whether these bytes are UTF-8 as RFC 3629 defines it: shortest forms, no surrogates, nothing
// above U+10FFFF.
bool IsUtf8(std::string_view bytes);

}  // namespace cairn::tools
