#pragma once

#include <cstdint>
#include <memory>

#include "protocol/bytes.h"

namespace cairn::storage {

// XXH3, 64 bits, seed 0, of bytes that come in pieces: the same number as Xxh3() of all at once.
class Fingerprint {
 public:
  Fingerprint();
  ~Fingerprint();
  Fingerprint(const Fingerprint&) = delete;
  Fingerprint& operator=(const Fingerprint&) = delete;

  void Add(ByteView bytes);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::storage
