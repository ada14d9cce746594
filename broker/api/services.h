#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "broker/api/connection_table.h"
#include "broker/api/disk_usage.h"
#include "broker/catalog/catalog.h"
#include "broker/groups/coordinator.h"
#include "broker/partitions/partition_map.h"
#include "broker/partitions/scrubber.h"
#include "broker/runtime/append_clock.h"
#include "broker/runtime/helper_pool.h"
#include "storage/data_dir.h"

namespace cairn::broker {

// What the last start found and the broker says about itself; does not change while it runs.
struct ServerFacts {
  std::string software;  // "cairnd/0.1.0"
  std::chrono::steady_clock::time_point started;
  std::vector<std::string> problems;  // found at start, and still so
};

// What the handlers may ask. All of it is borrowed and outlives every connection.
struct Services {
  PartitionMap& partitions;
  Catalog& catalog;
  GroupCoordinator& groups;
  HelperPool& helpers;
  storage::DataDir& data_dir;
  AppendClock& clock;
  DiskUsage& disk_usage;
  const Scrubber& scrubber;
  const ConnectionCount& connections;
  const ServerFacts& facts;
};

}  // namespace cairn::broker
