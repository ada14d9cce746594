#include <thread>
#include <vector>

#include "absl/strings/str_format.h"

#include "bench/many_options.h"
#include "bench/wire_connection.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

absl::StatusOr<std::vector<WireConnection>> OpenIdle(const Target& target, int count) {
  std::vector<WireConnection> connections;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(WireConnection connection, WireConnection::Open(target.address()));
    connections.push_back(std::move(connection));
  }
  return connections;
}

absl::Status RunActive(ProduceLoad& load, Window& window) {
  std::thread thread([&] { load.Run(window, 0); });
  window.Run([&] { return load.counts(); }, [&] { return load.failed(); });
  load.Stop();
  thread.join();
  return load.Finish();
}

void AddMemory(Report& report, const std::optional<std::int64_t>& before,
               const std::optional<std::int64_t>& after, int count) {
  if (!before.has_value() || !after.has_value()) return;
  report.figures["broker_bytes"] = *after;
  if (count > 0) report.figures["bytes_per_connection"] = double(*after - *before) / count;
}

}  // namespace

absl::StatusOr<Report> ManyConnections(const ManyOptions& options) {
  ASSIGN_OR_RETURN(const auto target, Target::Open(options.target));
  const auto before = target->BrokerBytes();
  ASSIGN_OR_RETURN(const auto idle, OpenIdle(*target, options.count));
  const auto after = target->BrokerBytes();
  ASSIGN_OR_RETURN(const auto load, ProduceLoad::Open(*target, target->topic(), options.load));
  Window window(options.window, *target, "beside idle connections");
  RETURN_IF_ERROR(RunActive(*load, window));
  Report report = ReportOf(options, "connections");
  report.latency.Add(load->latency());
  AddMemory(report, before, after, options.count);
  window.AddTo(report);
  report.AddLatency();
  report.summary = absl::StrFormat(
      "%d idle connections; beside them %.0f records/s, %.3f ms 50th, %.3f ms 99th", options.count,
      static_cast<double>(window.counted().records) / window.seconds(),
      Milliseconds(report.latency.Percentile(50)), Milliseconds(report.latency.Percentile(99)));
  return report;
}

}  // namespace cairn::bench
