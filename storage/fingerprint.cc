#include "storage/fingerprint.h"

#include <xxhash.h>

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
