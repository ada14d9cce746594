#pragma once

#include <optional>
#include <string>

#include "broker/runtime/logging.h"
#include "broker/server.h"

namespace cairn::broker {

// What the operator decides, from flags and from the file that --config names; a flag wins over the
// file. Every key of the file is a flag's name without the dashes. A new one is a line in
// config.cc.
struct Config {
  ServerOptions server;
  LogLevel log_level = LogLevel::kInfo;
};

// What a command line comes to: a config, or text for people and the code to exit with (0 for
// --help and --version, to stdout; 2 for wrong usage, to stderr).
struct CommandLine {
  std::optional<Config> config;
  int exit_code = 0;
  std::string text;
};
CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace cairn::broker
