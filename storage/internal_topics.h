#pragma once

#include "protocol/types.h"

namespace cairn::storage {

// The topic of the broker's own that says which topics there are. Its id is fixed, so that it is
// found without asking anybody: "cairn-catalog", so that whoever looks at the bytes knows what they
// see.
inline constexpr const char* kCatalogName = "__catalog";
inline constexpr TopicId kCatalogId{
    {'c', 'a', 'i', 'r', 'n', '-', 'c', 'a', 't', 'a', 'l', 'o', 'g', 0, 0, 1}};

}  // namespace cairn::storage
