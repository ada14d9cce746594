#pragma once

#include <cstdio>
#include <cstdlib>

// A broken invariant or precondition stops the process at once, in release builds too: a log that
// doubts itself must not write. Never for anything a peer, a file or an operator can cause.
#define CAIRN_CHECK(condition)                                                           \
  do {                                                                                   \
    if (!(condition)) [[unlikely]] {                                                     \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
