#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace cairn::test {

// What a test program exits with when this machine does not offer what it needs (ctest's
// SKIP_RETURN_CODE).
inline constexpr int kSkipped = 77;

// With CI=true nothing may be skipped: what is not tested there is not tested anywhere.
inline bool MaySkip() {
  const char* ci = std::getenv("CI");
  return ci == nullptr || std::string_view(ci) != "true";
}

// Says why, and gives the exit code.
inline int Skip(const std::string& why) {
  std::fprintf(stderr, "%s: %s\n",
               MaySkip() ? "skipped" : "failed, because with CI=true nothing is skipped",
               why.c_str());
  return MaySkip() ? kSkipped : 1;
}

}  // namespace cairn::test
