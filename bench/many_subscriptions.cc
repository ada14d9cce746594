#include <thread>
#include <vector>

#include "absl/strings/str_format.h"

#include "bench/many_options.h"
#include "bench/wire_connection.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

absl::StatusOr<std::vector<WireConnection>> Subscribe(Target& target, int count,
                                                      std::int32_t partitions) {
  ASSIGN_OR_RETURN(const auto topic, target.admin().DescribeTopic(target.topic()));
  std::vector<WireConnection> connections;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(WireConnection connection, WireConnection::Open(target.address()));
    Bytes frame;
    WireConnection::MakeSubscribe(topic.id, PartitionIndex(i % partitions), 1, frame);
    RETURN_IF_ERROR(connection.Send(frame));
    RETURN_IF_ERROR(connection.Receive().status());
    connections.push_back(std::move(connection));
  }
  return connections;
}

}  // namespace

// Nothing is sent: what the broker does is all for the waiting.
absl::StatusOr<Report> ManySubscriptions(const ManyOptions& options) {
  ASSIGN_OR_RETURN(const auto target, Target::Open(options.target));
  const auto before = target->BrokerBytes();
  ASSIGN_OR_RETURN(const auto waiting,
                   Subscribe(*target, options.count, options.target.partitions));
  const auto after = target->BrokerBytes();
  Window window(options.window, *target, "waiting");
  window.Run([] { return Window::Counts(); }, [] { return false; });
  Report report = ReportOf(options, "subscriptions");
  window.AddTo(report);
  if (before.has_value() && after.has_value() && options.count > 0) {
    report.figures["bytes_per_subscription"] = double(*after - *before) / options.count;
  }
  if (const auto cpu = report.figures.find("broker_cpu_seconds"); cpu != report.figures.end()) {
    report.figures["broker_cpu_share"] = cpu->get<double>() / window.seconds();
    report.summary =
        absl::StrFormat("%d waiting subscriptions take %.4f %% of a core", options.count,
                        100 * report.figures["broker_cpu_share"].get<double>());
  }
  return report;
}

}  // namespace cairn::bench
