#include "broker/config.h"

#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include <CLI/CLI.hpp>

namespace cairn::broker {
namespace {

constexpr int kWrongUsage = 2;

struct Raw {
  std::string data_dir = "./cairn-data";
  std::string listen = "127.0.0.1:7654";
  int threads = 0;
  bool insecure_public_listener = false;
  std::string log_level = "info";
};

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
      ->capture_default_str();
  app.add_option("--listen", raw.listen, "HOST:PORT to serve on; port 0 takes any free one")
      ->capture_default_str()
      ->check([](const std::string& text) -> std::string {
        const auto address = ParseListenAddress(text);
        return address.ok() ? "" : std::string(address.status().message());
      });
  app.add_option("--threads", raw.threads,
                 "Event loops, each with a thread (default: one per core)")
      ->check(CLI::Range(1, 1024));
  app.add_flag("--insecure-public-listener", raw.insecure_public_listener,
               "Allow --listen on an address that other machines can reach, without users or "
               "encryption");
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
  config.log_level = *ParseLogLevel(raw.log_level);
  return {.config = std::move(config), .exit_code = 0, .text = ""};
}

}  // namespace cairn::broker
