#pragma once

#include <string>
#include <vector>

#include "protocol/bytes.h"

namespace cairn::fuzz {

struct StorageSeed {
  std::string target;
  std::string name;
  Bytes bytes;
};

// Good inputs for the targets that read files.
std::vector<StorageSeed> StorageSeeds();

}  // namespace cairn::fuzz
