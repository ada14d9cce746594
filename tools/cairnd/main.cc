// The daemon: reads its options, starts the broker, and stops it in good order when told to.

#include <cstdio>
#include <exception>
#include <signal.h>
#include <string>

#include "asio/io_context.hpp"
#include "asio/signal_set.hpp"
#include "broker/config.h"
#include "broker/runtime/logging.h"
#include "broker/server.h"

namespace {

int Complain(const absl::Status& why) {
  std::fprintf(stderr, "cairnd: %s\n", std::string(why.message()).c_str());
  return 1;
}

int Run(const cairn::broker::Config& config) {
  // A peer that has gone is an error of that connection, not of the process.
  ::signal(SIGPIPE, SIG_IGN);
  cairn::broker::SetLogLevel(config.log_level);
  // Before any other thread, so that a signal during a long recovery is not lost.
  asio::io_context context;
  asio::signal_set signals(context, SIGINT, SIGTERM);

  auto server = cairn::broker::Server::Start(config.server);
  if (!server.ok()) return Complain(server.status());
  std::printf("cairnd ready on %s\n", (*server)->endpoint().c_str());
  std::fflush(stdout);

  signals.async_wait([](const asio::error_code&, int) {});
  context.run();
  const absl::Status stopped = (*server)->Stop();
  return stopped.ok() ? 0 : Complain(stopped);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto command_line = cairn::broker::ParseCommandLine(argc, argv);
    if (command_line.config) return Run(*command_line.config);
    std::fputs(command_line.text.c_str(), command_line.exit_code == 0 ? stdout : stderr);
    return command_line.exit_code;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cairnd: %s\n", error.what());
    return 1;
  }
}
