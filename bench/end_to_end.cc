#include <cstring>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"

#include "bench/commands.h"
#include "bench/produce_load.h"
#include "client/consumer.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct EndToEndOptions {
  TargetOptions target;
  WindowOptions window;
  LoadOptions load;
  int consumers = 1;
  int stopped = 0;  // more consumers, which take nothing
};

// Reads the topic's end, and notes how old each record is when the application has it.
class TailLoad {
 public:
  absl::Status Open(const Target& target, std::int32_t partitions) {
    ASSIGN_OR_RETURN(const auto cluster, target.Connect());
    ASSIGN_OR_RETURN(consumer_, client::Consumer::Open(cluster, {}));
    std::vector<client::Assignment> assignments;
    for (std::int32_t i = 0; i < partitions; ++i) {
      assignments.push_back({.topic = target.topic(), .partition = PartitionIndex(i)});
      assignments.back().start = client::StartPosition::Latest();
    }
    return consumer_->Assign(std::move(assignments), std::chrono::seconds(10));
  }

  void Run(const Window& window) {
    while (!stop_ && status_.ok()) {
      auto polled = consumer_->Poll(std::chrono::milliseconds(100));
      status_ = polled.status();
      if (status_.ok()) Note(*polled, window);
    }
  }
  void Stop() {
    stop_ = true;
    consumer_->Wake();
  }

  const absl::Status& status() const { return status_; }
  const Histogram& latency() const { return latency_; }
  Window::Counts counts() const { return tally_.counts(); }  // from any thread

 private:
  void Note(const client::PolledRecords& polled, const Window& window) {
    for (const client::ConsumerEvent& event : polled.events()) status_.Update(event.status);
    if (polled.records().empty()) return;
    const auto now = Clock::now();
    std::int64_t bytes = 0;
    for (const client::ConsumedRecord& record : polled.records()) {
      const std::string_view value = record.value.value_or("");
      bytes += static_cast<std::int64_t>(value.size());
      std::int64_t due = 0;
      if (value.size() < sizeof due || !window.open()) continue;
      std::memcpy(&due, value.data(), sizeof due);
      latency_.Record(now.time_since_epoch() - std::chrono::nanoseconds(due));
    }
    tally_.Add({std::ssize(polled.records()), bytes});
  }

  std::unique_ptr<client::Consumer> consumer_;
  std::atomic<bool> stop_ = false;
  Tally tally_;
  absl::Status status_;
  Histogram latency_;
};

using Tails = std::vector<std::unique_ptr<TailLoad>>;

absl::StatusOr<Tails> OpenTails(const Target& target, const EndToEndOptions& options, int count) {
  Tails tails;
  for (int i = 0; i < count; ++i) {
    tails.push_back(std::make_unique<TailLoad>());
    RETURN_IF_ERROR(tails.back()->Open(target, options.target.partitions));
  }
  return tails;
}

absl::Status RunAll(ProduceLoad& load, Tails& tails, Window& window) {
  std::atomic<bool> ended = false;
  std::vector<std::thread> threads;
  for (auto& tail : tails) {
    threads.emplace_back([&] {
      tail->Run(window);
      ended = true;
    });
  }
  threads.emplace_back([&] {
    load.Run(window, 0);
    ended = true;
  });
  window.Run([&] { return SumOfCounts(tails); }, [&] { return ended.load(); });
  load.Stop();
  for (auto& tail : tails) tail->Stop();
  for (std::thread& thread : threads) thread.join();
  for (auto& tail : tails) RETURN_IF_ERROR(tail->status());
  return load.Finish();
}

absl::StatusOr<Report> EndToEnd(const EndToEndOptions& options) {
  if (options.load.rate <= 0) {
    return absl::InvalidArgumentError("--rate 0: e2e is an open loop, and needs a rate");
  }
  ASSIGN_OR_RETURN(const auto target, Target::Open(options.target));
  ASSIGN_OR_RETURN(Tails tails, OpenTails(*target, options, options.consumers));
  ASSIGN_OR_RETURN(const Tails stopped, OpenTails(*target, options, options.stopped));
  ASSIGN_OR_RETURN(const auto load, ProduceLoad::Open(*target, target->topic(), options.load));
  load->StampValues();
  Window window(options.window, *target, "end to end");
  RETURN_IF_ERROR(RunAll(*load, tails, window));
  Report report;
  report.workload = "e2e";
  report.settings = options.target.ToJson();
  report.settings.update(options.load.ToJson());
  report.settings["consumers"] = options.consumers;
  report.settings["stopped"] = options.stopped;
  for (const auto& tail : tails) report.latency.Add(tail->latency());
  window.AddTo(report);
  report.AddLatency();
  const Histogram& acknowledged = load->latency();
  report.figures["ack_p50_us"] = Microseconds(acknowledged.Percentile(50));
  report.figures["ack_p99_us"] = Microseconds(acknowledged.Percentile(99));
  if (const auto bytes = target->BrokerBytes()) report.figures["broker_bytes"] = *bytes;
  report.summary = absl::StrFormat(
      "%d records received at %.0f/s, end to end %.3f ms 50th, %.3f ms 99th, %.3f ms 99.9th",
      window.counted().records, static_cast<double>(window.counted().records) / window.seconds(),
      report.figures["p50_us"].get<double>() / 1e3, report.figures["p99_us"].get<double>() / 1e3,
      report.figures["p999_us"].get<double>() / 1e3);
  return report;
}

}  // namespace

void AddEndToEnd(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<EndToEndOptions>();
  options->load.rate = 10'000;
  CLI::App* const command =
      app.add_subcommand("e2e", "How old records are when consumers have them, at a given rate");
  options->target.AddTo(*command);
  options->window.AddTo(*command);
  options->load.AddTo(*command);
  command->add_option("--consumers", options->consumers, "Each reads everything")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--stopped", options->stopped, "More consumers, which take nothing")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->footer(
      "An open loop: a record's age counts from when it was due to be sent, not from when it was.\n"
      "Examples:\n"
      "  cairn-bench e2e --rate 10000 --hdr e2e.hdr\n"
      "  cairn-bench e2e --rate 50000 --consumers 16 --stopped 1");
  command->callback([&chosen, options] { chosen.run = [options] { return EndToEnd(*options); }; });
}

}  // namespace cairn::bench
