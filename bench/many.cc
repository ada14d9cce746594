#include <memory>
#include <string>
#include <sys/resource.h>

#include "bench/commands.h"
#include "bench/many_options.h"

namespace cairn::bench {
namespace {

using Workload = absl::StatusOr<Report> (*)(const ManyOptions&);

// Each connection takes a descriptor here; a broker that this run starts inherits the limit.
void AllowManyDescriptors() {
  constexpr rlim_t kMany = 1 << 17;
  rlimit limit{.rlim_cur = kMany, .rlim_max = kMany};
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return;  // only root may raise its limit
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void AddOne(CLI::App& many, Chosen& chosen, Workload workload, const std::string& name,
            const std::string& about, int standard, const std::string& footer) {
  const auto options = std::make_shared<ManyOptions>();
  options->count = standard;
  options->load.in_flight = 1;
  options->load.record_bytes = 100;
  CLI::App* const command = many.add_subcommand(name, about);
  options->target.AddTo(*command);
  options->window.AddTo(*command);
  options->load.AddTo(*command);
  command->add_option("--count", options->count, "How many")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command->footer(footer);
  command->callback([&chosen, options, workload] {
    AllowManyDescriptors();
    chosen.run = [options, workload] { return workload(*options); };
  });
}

}  // namespace

Report ReportOf(const ManyOptions& options, const std::string& of_what) {
  Report report;
  report.workload = "many " + of_what;
  report.settings = options.target.ToJson();
  report.settings.update(options.load.ToJson());
  report.settings["count"] = options.count;
  return report;
}

void AddMany(CLI::App& app, Chosen& chosen) {
  CLI::App* const many =
      app.add_subcommand("many", "What very many partitions or connections cost");
  many->require_subcommand(1);
  AddOne(*many, chosen, ManyConnections, "connections",
         "Idle connections, and what one producer beside them notices", 10'000,
         "Example:\n  cairn-bench many connections --count 10000 --rate 2000");
  AddOne(*many, chosen, ManyPartitions, "partitions",
         "Partitions with a record in each that nobody uses any more", 10'000,
         "Example:\n  cairn-bench many partitions --count 10000");
  AddOne(*many, chosen, ManyProducers, "producers",
         "Producers with one record on its way each, by hand-made frames", 64,
         "Example:\n  cairn-bench many producers --count 64");
  AddOne(*many, chosen, ManySubscriptions, "subscriptions",
         "Subscriptions that wait for records, one connection each", 1'000,
         "Example:\n  cairn-bench many subscriptions --count 1000");
}

}  // namespace cairn::bench
