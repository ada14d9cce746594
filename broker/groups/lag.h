#pragma once

#include <cstdint>

#include "broker/partitions/partition.h"
#include "protocol/types.h"

namespace cairn::broker {

// How far a group is behind in a partition: from the committed offset (or the log start, if that is
// behind it) to the committed end.
std::int64_t LagOf(const Partition::Ends& ends, Offset committed);

// When the first record at or after `offset` was written, by its own timestamp; kNoTimestamp: there
// is none, or it cannot be read. May wait for the disk.
Timestamp FirstUnread(Partition& partition, Offset offset);

}  // namespace cairn::broker
