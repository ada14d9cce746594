#pragma once

#include <memory>
#include <vector>

#include "client/consumer.h"

namespace cairn::client {

// What the records of a PolledRecords borrow from.
struct PolledRecords::Frames {
  std::vector<std::shared_ptr<const void>> keepers;
};

}  // namespace cairn::client
