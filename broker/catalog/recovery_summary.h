#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/types.h"
#include "storage/log_options.h"
#include "storage/recovery.h"

namespace cairn::broker {

// What the last start found, partition by partition and in sum: for `status`.
struct RecoverySummary {
  struct Partition {
    std::string topic;
    PartitionIndex partition;
    storage::RecoveryReport report;
  };

  std::chrono::milliseconds took{0};
  std::int32_t partitions = 0;     // all that were opened
  std::int64_t bytes_scanned = 0;  // these are sums over all of them
  std::int64_t bytes_cut = 0;
  std::int64_t batches_cut = 0;
  std::int32_t producers_rebuilt = 0;
  std::int32_t epochs_raised = 0;
  std::int32_t offline = 0;
  std::vector<Partition>
      done;  // those where there was something to do; the worst first once sorted

  void Add(const storage::LogIdentity& identity, storage::RecoveryReport report);
  // One that could not even be opened.
  void AddOffline(const storage::LogIdentity& identity, const absl::Status& why);
  void Sort();
};

}  // namespace cairn::broker
