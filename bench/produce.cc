#include <algorithm>
#include <thread>

#include "absl/strings/str_format.h"

#include "bench/cold_reader.h"
#include "bench/commands.h"
#include "bench/produce_load.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

struct ProduceOptions {
  TargetOptions target;
  WindowOptions window;
  LoadOptions load;
  int producers = 1;
  std::int64_t records = 0;     // 0: as many as the time allows
  std::int64_t cold_bytes = 0;  // read meanwhile from a topic of its own; 0: none
};

using Loads = std::vector<std::unique_ptr<ProduceLoad>>;

absl::StatusOr<Loads> OpenLoads(const ProduceOptions& options, const Target& target) {
  Loads loads;
  for (int i = 0; i < options.producers; ++i) {
    ASSIGN_OR_RETURN(auto load,
                     ProduceLoad::Open(target, target.topic(), options.load, options.producers));
    loads.push_back(std::move(load));
  }
  return loads;
}

// Of `records` the share of one of `producers`; the first ones take what is left over.
std::int64_t ShareOf(std::int64_t records, int producers, int which) {
  return records / producers + (which < records % producers ? 1 : 0);
}

absl::Status RunLoads(const ProduceOptions& options, Loads& loads, Window& window) {
  if (options.records > 0) window.Open({});
  std::vector<std::thread> threads;
  for (int i = 0; i < options.producers; ++i) {
    threads.emplace_back([&, i] {
      loads[static_cast<std::size_t>(i)]->Run(window,
                                              ShareOf(options.records, options.producers, i));
    });
  }
  const auto any_failed = [&] {
    return std::any_of(loads.begin(), loads.end(), [](const auto& load) { return load->failed(); });
  };
  if (options.records == 0) {
    window.Run([&] { return SumOfCounts(loads); }, any_failed);
    for (auto& load : loads) load->Stop();
  }
  for (std::thread& thread : threads) thread.join();
  for (auto& load : loads) RETURN_IF_ERROR(load->Finish());
  if (options.records > 0) window.Close(SumOfCounts(loads));
  return absl::OkStatus();
}

// In the words of kafka-producer-perf-test, for whatever reads those. Its MB are 2^20 bytes.
std::string InKafkasWords(const Report& report, const Window& window) {
  const auto ms = Milliseconds;
  const Histogram& latency = report.latency;
  const Window::Counts counts = window.counted();
  return absl::StrFormat(
      "%d records sent, %.6f records/sec (%.2f MB/sec), %.2f ms avg latency, %.2f ms max latency, "
      "%.0f ms 50th, %.0f ms 95th, %.0f ms 99th, %.0f ms 99.9th.",
      counts.records, static_cast<double>(counts.records) / window.seconds(),
      static_cast<double>(counts.bytes) / (1 << 20) / window.seconds(), ms(latency.mean()),
      ms(latency.max()), ms(latency.Percentile(50)), ms(latency.Percentile(95)),
      ms(latency.Percentile(99)), ms(latency.Percentile(99.9)));
}

absl::StatusOr<Report> Produce(const ProduceOptions& options) {
  ASSIGN_OR_RETURN(const auto target, Target::Open(options.target));
  ASSIGN_OR_RETURN(Loads loads, OpenLoads(options, *target));
  std::unique_ptr<ColdReader> cold;
  if (options.cold_bytes > 0) {
    ASSIGN_OR_RETURN(cold, ColdReader::Open(*target, options.load, options.cold_bytes));
    cold->Start();
  }
  Window window(options.window, *target, "produce");
  RETURN_IF_ERROR(RunLoads(options, loads, window));
  if (cold != nullptr) RETURN_IF_ERROR(cold->Stop());
  Report report;
  report.workload = "produce";
  report.settings = options.target.ToJson();
  report.settings.update(options.load.ToJson());
  report.settings["producers"] = options.producers;
  report.settings["cold_bytes"] = options.cold_bytes;
  for (const auto& load : loads) report.latency.Add(load->latency());
  window.AddTo(report);
  report.AddLatency();
  if (cold != nullptr) report.figures["cold_bytes_read"] = cold->counts().bytes;
  report.summary = InKafkasWords(report, window);
  return report;
}

}  // namespace

void AddProduce(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<ProduceOptions>();
  CLI::App* const command = app.add_subcommand("produce", "How fast records are taken");
  options->target.AddTo(*command);
  options->window.AddTo(*command);
  options->load.AddTo(*command);
  command->add_option("--producers", options->producers, "Each with a connection of its own")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--records", options->records, "Send so many, instead of for so long")
      ->check(CLI::Range(0LL, 1'000'000'000'000LL));
  command
      ->add_option("--cold-bytes", options->cold_bytes,
                   "Meanwhile a consumer reads so many bytes that are not in memory")
      ->check(CLI::Range(0LL, 1LL << 40));
  command->footer(
      "Examples:\n"
      "  cairn-bench produce --record-bytes 100 --keys 1000 --partitions 16\n"
      "  cairn-bench produce --durability durable --in-flight 1      one after the other\n"
      "  cairn-bench produce --rate 50000 --hdr produce.hdr          latency at a given rate");
  command->callback([&chosen, options] { chosen.run = [options] { return Produce(*options); }; });
}

}  // namespace cairn::bench
