#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "tools/cairn/commands.h"
#include "tools/cairn/session.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  cairn topic create orders -p 4          a topic of four partitions\n"
    "  echo 'k1:hello' | cairn produce orders -K :\n"
    "  cairn consume orders -e                 everything up to now\n"
    "  cairn consume orders -o @-1h            what came in the last hour, and goes on\n"
    "  cairn -b 10.0.0.5:7654 status\n"
    "\n"
    "Exit codes: 0 all of it succeeded, 1 something failed, 2 wrong usage.\n"
    "'cairn COMMAND --help' shows a command's options and examples.";

Timestamp WallClock() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return Timestamp(std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count());
}

void DescribeApp(CLI::App& app, Session& session, Run& chosen) {
  app.set_version_flag("--version", "cairn " CAIRN_VERSION);
  app.footer(kExamples);
  app.fallthrough();  // -b and --format may stand after the subcommand too
  app.require_subcommand(1);
  app.add_option("-b,--broker", session.broker, "The broker")
      ->type_name("HOST:PORT")
      ->envname("CAIRN_BROKER")
      ->default_val("127.0.0.1:7654");
  app.add_option_function<std::string>(
         "--format", [&session](const std::string& format) { session.json = format == "json"; },
         "How results are written")
      ->type_name("text|json")
      ->check(CLI::IsMember({"text", "json"}).description(""));
  AddStatus(app, chosen);
  AddTopic(app, chosen);
  AddProduce(app, chosen);
  AddConsume(app, chosen);
  AddOffsets(app, chosen);
  AddGroup(app, chosen);
  AddLog(app, chosen);
  AddCompletion(app, chosen);
}

int Report(Session& session, const absl::Status& status) {
  const absl::Status explained = session.Explain(status);
  Session::Say(absl::StrFormat("cairn: %s", std::string(explained.message())));
  return IsUsageError(status) ? kExitUsage : kExitFailed;
}

// CLI11 asks for a subcommand before it looks at the word that should have been one.
int ReportUsage(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError)) {
    for (const std::string& word : app.remaining(/*recurse=*/true)) {
      Session::Say(absl::StrFormat("'%s' is not known here", word));
    }
  }
  return app.exit(error) == 0 ? kExitOk : kExitUsage;
}

int Main(int argc, char** argv) {
  CLI::App app("Talks to a Cairn broker: topics, records, offsets, groups; and looks at its files.",
               "cairn");
  Session session;
  session.now = WallClock();
  Run chosen;
  DescribeApp(app, session, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ReportUsage(app, error);
  }
  // Writing to a pipe that nobody reads any more is an error like others, and not the end.
  if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) return kExitFailed;
  const absl::StatusOr<int> outcome = chosen(session);
  const absl::Status written = session.output.Flush();
  if (!outcome.ok()) return Report(session, outcome.status());
  if (!written.ok()) return Report(session, written);
  return *outcome;
}

}  // namespace
}  // namespace cairn::tools

int main(int argc, char** argv) {
  try {
    return cairn::tools::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cairn: unexpected: %s\n", error.what());
    return cairn::tools::kExitFailed;
  }
}
