#pragma once

#include <memory>

#include "protocol/bytes.h"
#include "storage/mapped_file.h"

namespace cairn::storage {

// Bytes of a segment together with the mapping that keeps them alive: valid on any thread while the
// view lives, whatever is closed, sealed, trimmed or deleted meanwhile.
struct ReadView {
  ByteView bytes;
  std::shared_ptr<const MappedFile> mapping;
};

}  // namespace cairn::storage
