#pragma once

#include <cstdint>

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn {

// The one contract by which a key names its partition: XXH3_64bits(key) with seed 0, modulo the
// partition count, both unsigned. An empty key is a key; a null key has no partition of its own and
// goes where its producer likes. Test vectors: protocol/WIRE.md and
// tests/protocol/partitioner_test.cc. Requires partition_count > 0.
PartitionIndex PartitionForKey(ByteView key, std::int32_t partition_count);

}  // namespace cairn
