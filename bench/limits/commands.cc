#include "bench/commands.h"

#include <chrono>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"

#include "bench/limits/limit.h"
#include "bench/limits/limits.h"

namespace cairn::bench {
namespace {

using Run = absl::StatusOr<Report> (*)(const LimitOptions&);

constexpr std::uint64_t kShortBytes = 64 << 10;  // what a socket takes whole
constexpr std::uint64_t kFrameBytes = 16 << 20;

// One limit's subcommand: what it is called, and the options that apply to it.
class LimitCommand {
 public:
  LimitCommand(CLI::App& limits, Chosen& chosen, const std::string& name, const std::string& about,
               Run run)
      : command_(*limits.add_subcommand(name, about)) {
    command_.callback([run, &chosen, options = options_] {
      chosen.run = [run, options] { return run(*options); };
    });
  }

  LimitCommand& Example(const std::string& arguments) {
    command_.footer(
        absl::StrFormat("Example:\n  cairn-bench limit %s%s", command_.get_name(), arguments));
    return *this;
  }
  LimitCommand& Duration() {
    const auto set = [options = options_](const double& seconds) {
      options->duration = std::chrono::milliseconds(std::llround(seconds * 1e3));
    };
    command_.add_option_function<double>("--seconds", set, "How long to measure")
        ->type_name("SECONDS")
        ->default_str("2")
        ->check(CLI::Range(0.01, 3600.0).description(""));
    return *this;
  }
  LimitCommand& Bytes(const std::string& of, const std::string& standard, std::uint64_t most) {
    command_.add_option("--bytes", options_->bytes, "Size of " + of + "; 4096, 256KiB")
        ->type_name("BYTES")
        ->default_str(standard)
        ->transform(CLI::AsSizeValue(false).description(""))
        ->check(CLI::Range(std::uint64_t{1}, most).description(""));
    return *this;
  }
  LimitCommand& Connections(int standard) {
    options_->connections = standard;
    command_.add_option("--connections", options_->connections, "How many")
        ->type_name("N")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000).description(""));
    return *this;
  }
  LimitCommand& Files() {
    command_.add_option("--files", options_->files, "How many")
        ->type_name("N")
        ->default_str("512")
        ->check(CLI::Range(1, 100'000).description(""));
    return *this;
  }
  // The first one is the default.
  LimitCommand& Variants(const std::vector<std::string>& names) {
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : "|") + name;
    command_.add_option("--variant", options_->variant, "Which way")
        ->type_name(all)
        ->default_str(names.front())
        ->check(CLI::IsMember(names).description(""));
    return *this;
  }
  LimitCommand& Dir() {
    command_.add_option("--dir", options_->dir, "Where its files go meanwhile")
        ->type_name("DIR")
        ->default_str(".")
        ->check(CLI::ExistingDirectory.description(""));
    return *this;
  }
  LimitCommand& NoCrc() {
    command_.add_flag_callback(
        "--no-crc", [options = options_] { options->crc = false; },
        "The reader does not compute the checksum of what it got");
    return *this;
  }

 private:
  CLI::App& command_;
  const std::shared_ptr<LimitOptions> options_ = std::make_shared<LimitOptions>();
};

void AddTcpLimits(CLI::App& limits, Chosen& chosen) {
  LimitCommand(limits, chosen, "round-trip",
               "TCP messages there and back, one under way on each connection", LimitRoundTrip)
      .Example(" --connections 64")
      .Connections(1)
      .Bytes("a message", "64", kShortBytes)
      .Duration();
  LimitCommand(limits, chosen, "sink", "TCP frames received and answered, 5 under way", LimitSink)
      .Example(" --bytes 1MiB")
      .Bytes("a frame", "256KiB", kFrameBytes)
      .Duration();
  LimitCommand(limits, chosen, "append", "As sink, and each frame checked and appended to a file",
               LimitAppend)
      .Example(" --variant mapped")
      .Variants({"pwrite", "mapped", "received"})
      .Bytes("a frame", "256KiB", kFrameBytes)
      .Duration()
      .Dir();
  LimitCommand(limits, chosen, "serve", "A file in memory sent to one reader", LimitServe)
      .Example(" --variant sendfile --bytes 64KiB")
      .Variants({"writev", "sendfile"})
      .Bytes("a piece", "256KiB", kFrameBytes)
      .NoCrc()
      .Duration()
      .Dir();
  LimitCommand(limits, chosen, "idle", "What connections cost that do nothing", LimitIdle)
      .Example(" --connections 5000")
      .Connections(1000);
}

void AddDiskLimits(CLI::App& limits, Chosen& chosen) {
  const std::vector<std::string> blocks{"fallocated", "growing", "written"};
  LimitCommand(limits, chosen, "sync", "Blocks appended to a file, each made durable", LimitSync)
      .Example(" --variant written --bytes 64KiB")
      .Variants(blocks)
      .Bytes("a block", "4096", kFrameBytes)
      .Duration()
      .Dir();
  LimitCommand(limits, chosen, "sync-round-trip",
               "TCP messages answered when they are durable, one sync for all that came meanwhile",
               LimitSyncRoundTrip)
      .Example(" --connections 16")
      .Variants(blocks)
      .Connections(1)
      .Bytes("a message", "1024", kShortBytes)
      .Duration()
      .Dir();
  LimitCommand(limits, chosen, "dirty-files", "Many files made durable, 4 KiB new in each",
               LimitDirtyFiles)
      .Example(" --files 64 --variant syncfs")
      .Variants({"serial", "syncfs", "threads"})
      .Files()
      .Duration()
      .Dir();
}

void AddProcessorLimits(CLI::App& limits, Chosen& chosen) {
  LimitCommand(limits, chosen, "crc", "CRC-32C of bytes in the processor's caches", LimitCrc)
      .Example(" --bytes 4KiB")
      .Bytes("what is checked at once", "128, 1KiB, 64KiB, 1MiB", kFrameBytes)
      .Duration();
  LimitCommand(limits, chosen, "wake", "One thread wakes another on the other core", LimitWake)
      .Example("")
      .Duration();
}

}  // namespace

void AddLimits(CLI::App& app, Chosen& chosen) {
  CLI::App* const limits = app.add_subcommand("limit", "What the machine can do at best");
  limits->require_subcommand(1);
  limits->footer("Example:\n  cairn-bench limit round-trip --connections 64");
  AddTcpLimits(*limits, chosen);
  AddDiskLimits(*limits, chosen);
  AddProcessorLimits(*limits, chosen);
}

}  // namespace cairn::bench
