#include "storage/fingerprint.h"

// Chooses the instructions of this processor: several times as fast as the portable functions.
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#include "protocol/check.h"

namespace cairn::storage {

struct Fingerprint::State {
  XXH3_state_t* hash = XXH3_createState();
  ~State() { XXH3_freeState(hash); }
};

Fingerprint::Fingerprint() : state_(std::make_unique<State>()) {
  CAIRN_CHECK(state_->hash != nullptr);
  XXH3_64bits_reset(state_->hash);
}

Fingerprint::~Fingerprint() = default;

void Fingerprint::Add(ByteView bytes) {
  XXH3_64bits_update(state_->hash, bytes.data(), bytes.size());
}

std::uint64_t Fingerprint::value() const { return XXH3_64bits_digest(state_->hash); }

}  // namespace cairn::storage
