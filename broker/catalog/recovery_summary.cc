#include "broker/catalog/recovery_summary.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace cairn::broker {

void RecoverySummary::Add(const storage::LogIdentity& identity, storage::RecoveryReport report) {
  ++partitions;
  bytes_scanned += report.bytes_scanned;
  bytes_cut += report.bytes_cut;
  batches_cut += report.batches_cut;
  producers_rebuilt += report.producers_rebuilt ? 1 : 0;
  epochs_raised += report.raised_to != kNoEpoch ? 1 : 0;
  offline += report.damage.ok() ? 0 : 1;
  if (!report.has_work()) return;
  done.push_back({identity.name, identity.partition, std::move(report)});
}

void RecoverySummary::AddOffline(const storage::LogIdentity& identity, const absl::Status& why) {
  storage::RecoveryReport report;
  report.damage = why;
  report.offline_from = Offset(0);
  Add(identity, std::move(report));
}

void RecoverySummary::Sort() {
  std::sort(done.begin(), done.end(), [](const Partition& a, const Partition& b) {
    const auto badness = [](const storage::RecoveryReport& report) {
      return std::make_tuple(!report.damage.ok(), report.bytes_cut, report.bytes_scanned);
    };
    const auto left = badness(a.report);
    const auto right = badness(b.report);
    if (left != right) return left > right;
    return std::tie(a.topic, a.partition) < std::tie(b.topic, b.partition);
  });
}

}  // namespace cairn::broker
