#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cairn::tools {

// Appends the base64 form of `bytes` (RFC 4648 section 4, with padding).
void AppendBase64(std::string_view bytes, std::string& out);

// nothing: not base64 in that form.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace cairn::tools
