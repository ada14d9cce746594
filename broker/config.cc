#include "broker/config.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include <CLI/CLI.hpp>

namespace cairn::broker {
namespace {

constexpr int kWrongUsage = 2;
constexpr std::int64_t kIntervalMsMax = std::int64_t{100} * 365 * 24 * 3600 * 1000;

struct Raw {
  std::string data_dir = "./cairn-data";
  std::string listen = "127.0.0.1:7654";
  int threads = 0;
  bool insecure_public_listener = false;
  std::int64_t retention_check_interval_ms = 60'000;
  std::string log_level = "info";
  std::int64_t cleaner_map_bytes = Cleaner::Options().map_bytes;
  std::int64_t cleaner_bytes_per_second = Cleaner::Options().bytes_per_second;
  std::int64_t reserve_bytes = -1;
  std::int64_t scrub_interval_ms = std::int64_t{7} * 24 * 3600 * 1000;
  std::int64_t scrub_bytes_per_second = 20 << 20;
};

// Milliseconds, or a number with its unit.
CLI::Validator Duration() {
  return CLI::AsNumberWithUnit(
      std::map<std::string, std::int64_t>{
          {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}},
      CLI::AsNumberWithUnit::DEFAULT, "DURATION");
}

void AddOptions(CLI::App& app, Raw& raw) {
  app.description(
      "The Cairn broker: stores and serves topics until it is told to stop (Ctrl-C or SIGTERM).\n"
      "Prints \"cairnd ready on HOST:PORT\" when it serves; log lines go to stderr.");
  app.footer(
      "Examples:\n"
      "  cairnd --data-dir /var/lib/cairn\n"
      "  cairnd --listen 127.0.0.1:0            any free port; the ready line names it\n"
      "  cairnd --config /etc/cairn/cairnd.conf\n"
      "A config file has one NAME=VALUE a line, with the names of the options without dashes:\n"
      "  data-dir=\"/var/lib/cairn\"\n"
      "  listen=\"127.0.0.1:7654\"\n"
      "  threads=4");
  app.set_version_flag("--version", "cairnd " CAIRN_VERSION);
  app.set_config("--config", "", "Read options from this file; flags win over it");
  app.add_option("--data-dir", raw.data_dir, "Where everything is kept; made if it is not there")
      ->capture_default_str()
      ->check([](const std::string& text) -> std::string {
        return text.empty() ? "it is empty: name a directory, such as ./cairn-data" : "";
      });
  app.add_option("--listen", raw.listen, "HOST:PORT to serve on; port 0 takes any free one")
      ->capture_default_str()
      ->check([](const std::string& text) -> std::string {
        const auto address = ParseListenAddress(text);
        return address.ok() ? "" : std::string(address.status().message());
      });
  app.add_option("--threads", raw.threads,
                 "Event loops, each with a thread (default: one per core)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--retention.check.interval", raw.retention_check_interval_ms,
                 "How often retention looks for segments to drop: in ms, or as 500ms, 60s, 5m, 1h, "
                 "1d")
      ->transform(Duration())
      ->check(CLI::Range(std::int64_t{10}, std::int64_t{24} * 3'600'000))
      ->default_str("60s");
  app.add_flag("--insecure-public-listener", raw.insecure_public_listener,
               "Allow --listen on an address that other machines can reach, without users or "
               "encryption");
  app.add_option("--cleaner.map.bytes", raw.cleaner_map_bytes,
                 "Memory for the keys of one cleaning of a compacted partition; 32 bytes a key")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{4096}, std::int64_t{64} << 30));
  app.add_option("--cleaner.bytes.per.second", raw.cleaner_bytes_per_second,
                 "How much compaction may read and write in a second")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{65536}, std::int64_t{1} << 40));
  app.add_option("--reserve.bytes", raw.reserve_bytes,
                 "Room kept for deletions, trims and group commits when the disk is full; 0 keeps "
                 "none (default: the smaller of 64 MiB and 5 % of the disk)")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 40));
  app.add_option("--scrub.interval", raw.scrub_interval_ms,
                 "How often every sealed segment is read again and checked: in ms, or as 500ms, "
                 "60s, 5m, 12h, 7d; 0 is never")
      ->transform(Duration())
      ->check(CLI::Range(std::int64_t{0}, kIntervalMsMax))
      ->default_str("7d");
  app.add_option("--scrub.bytes.per.second", raw.scrub_bytes_per_second,
                 "How fast that may read the disk")
      ->check(CLI::Range(std::int64_t{64} << 10, std::int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--log-level", raw.log_level, "debug, info, warning or error")
      ->capture_default_str()
      ->check([](const std::string& text) -> std::string {
        return ParseLogLevel(text) ? "" : "\"" + text + "\" is none of debug, info, warning, error";
      });
}

// "data-dir, listen, …": what a config file may say.
std::string KnownKeys(const CLI::App& app) {
  std::vector<std::string> keys;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_configurable() && !option->get_lnames().empty() &&
        option != app.get_config_ptr()) {
      keys.push_back(option->get_lnames().front());
    }
  }
  return absl::StrJoin(keys, ", ");
}

CommandLine Explain(const CLI::App& app, const CLI::ParseError& error) {
  CommandLine out;
  if (error.get_exit_code() == 0) {
    std::ostringstream text;
    app.exit(error, text, text);
    out.text = text.str();
    return out;
  }
  out.exit_code = kWrongUsage;
  std::string what = error.what();
  // CLI11's words for a name or section that it does not know.
  constexpr std::string_view kNotParsed = "INI was not able to parse ";
  if (what.starts_with(kNotParsed)) {
    what = absl::StrFormat("the config file sets '%s', which is not known",
                           what.substr(kNotParsed.size()));
  }
  out.text = absl::StrFormat("cairnd: %s\n", what);
  if (dynamic_cast<const CLI::ConfigError*>(&error) != nullptr) {
    out.text += absl::StrFormat("A config file may set: %s\n", KnownKeys(app));
  } else {
    out.text += "See cairnd --help\n";
  }
  return out;
}

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  Raw raw;
  CLI::App app;
  app.name("cairnd");
  AddOptions(app, raw);
  app.allow_config_extras(CLI::config_extras_mode::error);
  // Names may contain dots; none is a section.
  app.get_config_formatter_base()->parentSeparator('\x1f');
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return Explain(app, error);
  }
  Config config;
  config.server.data_dir = raw.data_dir;
  config.server.listen = {.address = *ParseListenAddress(raw.listen),
                          .allow_public = raw.insecure_public_listener};
  config.server.threads = raw.threads;
  config.server.cleaner.map_bytes = raw.cleaner_map_bytes;
  config.server.cleaner.bytes_per_second = raw.cleaner_bytes_per_second;
  config.server.retention_interval = std::chrono::milliseconds(raw.retention_check_interval_ms);
  config.server.reserve_bytes =
      raw.reserve_bytes < 0 ? std::nullopt : std::optional(raw.reserve_bytes);
  config.server.scrub.interval = std::chrono::milliseconds(raw.scrub_interval_ms);
  config.server.scrub.bytes_per_second = raw.scrub_bytes_per_second;
  config.log_level = *ParseLogLevel(raw.log_level);
  return {.config = std::move(config), .exit_code = 0, .text = ""};
}

}  // namespace cairn::broker
