#include "protocol/partitioner.h"

#include "protocol/check.h"
#include "protocol/checksum.h"

namespace cairn {

PartitionIndex PartitionForKey(ByteView key, std::int32_t partition_count) {
  CAIRN_CHECK(partition_count > 0);
  const std::uint64_t count = static_cast<std::uint64_t>(partition_count);
  return PartitionIndex(static_cast<std::int32_t>(Xxh3(key) % count));
}

}  // namespace cairn
