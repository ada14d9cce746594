#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/types.h"
#include "storage/findings.h"
#include "storage/frontier.h"
#include "storage/log_options.h"
#include "storage/partition_repair.h"
#include "storage/repair.h"

namespace cairn::storage {

// Puts together what a data directory needs: format, the partitions one by one, what the catalog
// lost, and the frontier last, so that an interrupted repair is seen by the next.
class RepairPlanner {
 public:
  // `only` is one partition's directory, or empty: all.
  RepairPlanner(std::filesystem::path data_dir, std::string only, const OnProgress& on_progress);
  absl::StatusOr<RepairPlan> Run();

 private:
  absl::Status PlanFormat();
  void OpenFrontier();
  absl::Status FindPartitions();
  std::optional<LogIdentity> Identify(const std::string& directory) const;
  absl::StatusOr<std::optional<std::string>> NameBefore(const std::string& directory) const;
  absl::Status PlanPartitions();
  void Take(const PartitionRepair& partition);
  void PlanMissing();
  void PlanMissing(const LogIdentity& identity, const DurableEnd& end);
  void PlanCatalog();
  void PlanFrontier();
  std::optional<std::string> NameOf(const TopicId& topic) const;

  const std::filesystem::path data_dir_;
  const std::string only_;
  Findings findings_;
  RepairPlan plan_;

  TopicId cluster_id_;
  std::unique_ptr<Frontier> frontier_;
  absl::Status frontier_damage_;
  std::map<std::string, LogIdentity> partitions_;  // by directory
  std::set<std::string> renamed_;                  // directories that are left as they are
  // What looking at all partitions gives.
  struct Gathered {
    std::map<TopicPartition, DurableEnd> ends;  // as they are after the repair
    bool ends_changed = false;
    bool catalog_lost = false;
    bool has_catalog = false;  // with records
    LeaderEpoch highest_epoch{0};
    ProducerId next_producer{0};
  };
  Gathered gathered_;
};

}  // namespace cairn::storage
