#include <csignal>
#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include "bench/commands.h"

namespace cairn::bench {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  cairn-bench produce                        records of 1 KiB into a broker of its own\n"
    "  cairn-bench produce -b 10.0.0.5:7654 --topic t --record-bytes 100 --keys 1000\n"
    "  cairn-bench e2e --rate 10000 --hdr e2e.hdr\n"
    "  cairn-bench limit append                   what the machine could take at best\n"
    "  cairn-bench compare 'produce' 'limit append' --pairs 5 --at-least 0.7\n"
    "\n"
    "Exit codes: 0 done, 1 something failed or a bound does not hold, 2 wrong usage.";

int Main(int argc, char** argv) {
  CLI::App app("Measures Cairn, and what the machine under it can do at best.", "cairn-bench");
  Chosen chosen;
  app.set_version_flag("--version", "cairn-bench " CAIRN_VERSION);
  app.footer(kExamples);
  app.fallthrough();
  app.require_subcommand(1);
  app.add_flag("--json", chosen.output.json, "One JSON object a run instead of lines");
  app.add_option("--hdr", chosen.output.hdr_file, "Write the series of percentiles here")
      ->type_name("FILE");
  AddProduce(app, chosen);
  AddConsume(app, chosen);
  AddEndToEnd(app, chosen);
  AddMany(app, chosen);
  AddLimits(app, chosen);
  AddCompare(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto report = chosen.run();
  const absl::Status status = report.ok() ? Print(*report, chosen.output) : report.status();
  if (status.ok()) return chosen.exit_code;
  std::cerr << "cairn-bench: " << status.message() << "\n";
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return cairn::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "cairn-bench: " << error.what() << "\n";
    return 1;
  }
}
