#pragma once

#include "protocol/types.h"

namespace cairn::storage {

// A topic of the broker's own that says which topics there are. Its id is fixed, so that it is
// found without asking anybody: "cairn-catalog", so that whoever looks at the bytes knows what they
// see.
inline constexpr const char* kCatalogName = "__catalog";
inline constexpr TopicId kCatalogId{
    {'c', 'a', 'i', 'r', 'n', '-', 'c', 'a', 't', 'a', 'l', 'o', 'g', 0, 0, 1}};

// What consumer groups have committed, and who is in them. "cairn-groups".
inline constexpr const char* kGroupsName = "__consumer_offsets";
inline constexpr TopicId kGroupsId{
    {'c', 'a', 'i', 'r', 'n', '-', 'g', 'r', 'o', 'u', 'p', 's', 0, 0, 0, 1}};
inline constexpr int kGroupsPartitions = 16;

}  // namespace cairn::storage
