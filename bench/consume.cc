#include <thread>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "bench/commands.h"
#include "bench/consume_load.h"
#include "bench/produce_load.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

struct ConsumeOptions {
  TargetOptions target;
  WindowOptions window;
  LoadOptions load;
  int consumers = 1;
  std::int64_t fill_bytes = 256 << 20;
  std::size_t prefetch_bytes = 4u << 20;
};

using Loads = std::vector<std::unique_ptr<ConsumeLoad>>;

absl::Status RunLoads(Loads& loads, Window& window) {
  std::atomic<bool> ended = false;
  std::vector<std::thread> threads;
  for (auto& load : loads) {
    threads.emplace_back([&] {
      load->Run();
      ended = true;
    });
  }
  window.Run([&] { return SumOfCounts(loads); }, [&] { return ended.load(); });
  for (auto& load : loads) load->Stop();
  for (std::thread& thread : threads) thread.join();
  for (auto& load : loads) RETURN_IF_ERROR(load->status());
  return absl::OkStatus();
}

// In the words of kafka-consumer-perf-test: a line of names, a line of values.
std::string InKafkasWords(const Window& window, absl::Time began) {
  const auto when = [](absl::Time time) {
    return absl::FormatTime("%Y-%m-%d %H:%M:%E3S", time, absl::UTCTimeZone());
  };
  const Window::Counts counts = window.counted();
  const double mb = static_cast<double>(counts.bytes) / (1 << 20);
  const auto records = static_cast<double>(counts.records);
  return absl::StrFormat(
      "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, "
      "rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n"
      "%s, %s, %.4f, %.4f, %d, %.4f, 0, %.0f, %.4f, %.4f",
      when(began), when(began + absl::Seconds(window.seconds())), mb, mb / window.seconds(),
      counts.records, records / window.seconds(), window.seconds() * 1e3, mb / window.seconds(),
      records / window.seconds());
}

absl::StatusOr<Report> Consume(const ConsumeOptions& options) {
  ASSIGN_OR_RETURN(const auto target, Target::Open(options.target));
  if (options.target.topic.empty()) {
    RETURN_IF_ERROR(Fill(*target, target->topic(), options.load, options.fill_bytes));
  }
  Loads loads;
  for (int i = 0; i < options.consumers; ++i) {
    ASSIGN_OR_RETURN(auto load,
                     ConsumeLoad::Open(*target, target->topic(), options.prefetch_bytes));
    loads.push_back(std::move(load));
  }
  Window window(options.window, *target, "consume");
  const absl::Time began = absl::Now() + absl::Seconds(options.window.warm_up);
  RETURN_IF_ERROR(RunLoads(loads, window));
  Report report;
  report.workload = "consume";
  report.settings = options.target.ToJson();
  report.settings["record_bytes"] = options.load.record_bytes;
  report.settings["batch_bytes"] = options.load.batch_bytes;
  report.settings["compression"] = options.load.compression;
  report.settings["consumers"] = options.consumers;
  report.settings["fill_bytes"] = options.fill_bytes;
  report.settings["prefetch_bytes"] = options.prefetch_bytes;
  window.AddTo(report);
  report.summary = InKafkasWords(window, began);
  return report;
}

}  // namespace

void AddConsume(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<ConsumeOptions>();
  CLI::App* const command =
      app.add_subcommand("consume", "How fast records are given out, from memory");
  options->target.AddTo(*command);
  options->window.AddTo(*command);
  options->load.AddTo(*command);
  command->add_option("--consumers", options->consumers, "Each with a connection of its own")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--fill", options->fill_bytes, "Bytes in a topic that this run makes")
      ->check(CLI::Range(1LL << 20, 1LL << 50))
      ->capture_default_str();
  command->add_option("--prefetch-bytes", options->prefetch_bytes, "Credit for each partition")
      ->check(CLI::Range(1 << 10, 1 << 30))
      ->capture_default_str();
  command->footer(
      "What is read again and again is a topic of --fill bytes in memory, or --topic.\n"
      "Examples:\n"
      "  cairn-bench consume --record-bytes 100\n"
      "  cairn-bench consume -b 127.0.0.1:7654 --topic orders --seconds 10");
  command->callback([&chosen, options] { chosen.run = [options] { return Consume(*options); }; });
}

}  // namespace cairn::bench
