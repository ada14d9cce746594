#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_format.h"

#include "bench/many_options.h"
#include "client/producer.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

// One record in each, and every one acknowledged.
absl::Status WriteEach(const Target& target, const std::string& topic, int count,
                       std::size_t record_bytes) {
  ASSIGN_OR_RETURN(const auto cluster, target.Connect());
  ASSIGN_OR_RETURN(const auto producer, client::Producer::Open(cluster, {}));
  const std::string value(record_bytes, 'v');
  absl::Status failure;  // of the I/O thread, until Close
  for (int i = 0; i < count; ++i) {
    client::ProduceRecord record;
    record.value = value;
    record.partition = PartitionIndex(i);
    RETURN_IF_ERROR(producer->Send(
        topic, record, [&](const client::Delivery& delivery) { failure.Update(delivery.status); }));
  }
  RETURN_IF_ERROR(producer->Close(std::chrono::seconds(120)));
  return failure;
}

struct Holdings {
  std::int64_t bytes = 0, files = 0, maps = 0, threads = 0;
};

std::int64_t EntriesOf(const std::string& directory) {
  std::error_code ignored;
  std::filesystem::directory_iterator entries(directory, ignored);
  return std::distance(begin(entries), end(entries));
}

std::int64_t LinesOf(const std::string& file) {
  std::ifstream in(file);
  return std::count(std::istreambuf_iterator<char>(in), {}, '\n');
}

Holdings HoldingsOf(const Target& target) {
  const std::string process = absl::StrFormat("/proc/%d/", target.broker_pid());
  return {.bytes = target.BrokerBytes().value_or(0),
          .files = EntriesOf(process + "fd"),
          .maps = LinesOf(process + "maps"),
          .threads = EntriesOf(process + "task")};
}

}  // namespace

// The seconds of the window are what the broker has to put them away; then it is looked at.
absl::StatusOr<Report> ManyPartitions(const ManyOptions& options) {
  ASSIGN_OR_RETURN(const auto target, Target::Open(options.target));
  const Holdings before = HoldingsOf(*target);
  ASSIGN_OR_RETURN(const std::string topic, target->MakeTopic(std::max(options.count, 1)));
  RETURN_IF_ERROR(WriteEach(*target, topic, options.count, options.load.record_bytes));
  Window window(options.window, *target, "idle partitions");
  window.Run([] { return Window::Counts(); }, [] { return false; });
  const Holdings after = HoldingsOf(*target);
  Report report = ReportOf(options, "partitions");
  window.AddTo(report);
  const double count = std::max(options.count, 1);
  report.figures["broker_bytes"] = after.bytes;
  report.figures["bytes_per_partition"] = static_cast<double>(after.bytes - before.bytes) / count;
  report.figures["files_per_partition"] = static_cast<double>(after.files - before.files) / count;
  report.figures["maps_per_partition"] = static_cast<double>(after.maps - before.maps) / count;
  report.figures["threads_more"] = after.threads - before.threads;
  report.summary = absl::StrFormat(
      "%d idle partitions: %.0f bytes, %.3f open files and %.3f maps each, %d more threads",
      options.count, report.figures["bytes_per_partition"].get<double>(),
      report.figures["files_per_partition"].get<double>(),
      report.figures["maps_per_partition"].get<double>(), after.threads - before.threads);
  return report;
}

}  // namespace cairn::bench
