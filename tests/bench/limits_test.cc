#include "bench/limits/limits.h"

#include <filesystem>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "bench/machine.h"

namespace cairn::bench {
namespace {

// Short runs: whether figures are there and can be true, never how fast it is.
class Limits {
 public:
  Limits() : dir_(ScratchDir::Make(std::filesystem::temp_directory_path().string()).value()) {}

  LimitOptions Short() const {
    LimitOptions options;
    options.duration = std::chrono::milliseconds(50);
    options.warm_up = std::chrono::milliseconds(5);
    options.dir = dir_.path();
    return options;
  }
  bool LeftNothing() const { return std::filesystem::is_empty(dir_.path()); }

 private:
  ScratchDir dir_;
};

double Figure(const Report& report, const std::string& name) {
  INFO("figure " << name);
  REQUIRE(report.figures.contains(name));
  return report.figures[name].get<double>();
}

void CheckRate(const absl::StatusOr<Report>& report) {
  INFO(report.status());
  REQUIRE(report.ok());
  CHECK(Figure(*report, "seconds") > 0);
  CHECK(Figure(*report, "requests") > 0);
  CHECK(Figure(*report, "requests_per_second") > 0);
  CHECK(Figure(*report, "broker_cpu_seconds") >= 0);
  CHECK_FALSE(report->summary.empty());
}

void CheckBytes(const absl::StatusOr<Report>& report) {
  CheckRate(report);
  CHECK(Figure(*report, "bytes_per_second") > 0);
  CHECK(Figure(*report, "broker_cpu_seconds_per_gib") >= 0);
}

void CheckLatency(const absl::StatusOr<Report>& report) {
  CheckRate(report);
  CHECK(report->latency.count() == report->figures["requests"].get<std::int64_t>());
  CHECK(Figure(*report, "p50_us") > 0);
  CHECK(Figure(*report, "p50_us") <= Figure(*report, "max_us"));
}

TEST_CASE("bench limit round-trip: one connection and many", "[bench][limits]") {
  LimitOptions options = Limits().Short();
  for (const int connections : {1, 5}) {
    options.connections = connections;
    const auto report = LimitRoundTrip(options);
    CheckLatency(report);
    CHECK(report->settings["connections"] == connections);
  }
}

TEST_CASE("bench limit sink: frames of any size", "[bench][limits]") {
  LimitOptions options = Limits().Short();
  for (const std::size_t bytes : {1, 1'000, 100'000, 1'000'000}) {
    options.bytes = bytes;
    CheckBytes(LimitSink(options));
  }
}

TEST_CASE("bench limit append: each variant", "[bench][limits]") {
  const Limits limits;
  LimitOptions options = limits.Short();
  // Odd, so that blocks and pages end within frames.
  options.bytes = 70'001;
  for (const char* const variant : {"pwrite", "mapped", "received"}) {
    options.variant = variant;
    CheckBytes(LimitAppend(options));
  }
  CHECK(limits.LeftNothing());
}

TEST_CASE("bench limit serve: each variant, with and without the reader's checksum",
          "[bench][limits]") {
  const Limits limits;
  LimitOptions options = limits.Short();
  options.bytes = 100'000;
  for (const char* const variant : {"writev", "sendfile"}) {
    options.variant = variant;
    CheckBytes(LimitServe(options));
    options.crc = !options.crc;
  }
  CHECK(limits.LeftNothing());
}

TEST_CASE("bench limit sync: each variant", "[bench][limits]") {
  const Limits limits;
  LimitOptions options = limits.Short();
  for (const char* const variant : {"growing", "fallocated", "written"}) {
    options.variant = variant;
    CheckLatency(LimitSync(options));
  }
  CHECK(limits.LeftNothing());
}

TEST_CASE("bench limit sync-round-trip: one connection and a group", "[bench][limits]") {
  const Limits limits;
  LimitOptions options = limits.Short();
  for (const int connections : {1, 5}) {
    options.connections = connections;
    CheckLatency(LimitSyncRoundTrip(options));
  }
  CHECK(limits.LeftNothing());
}

TEST_CASE("bench limit dirty-files: each variant", "[bench][limits]") {
  const Limits limits;
  LimitOptions options = limits.Short();
  options.files = 20;
  for (const char* const variant : {"serial", "syncfs", "threads"}) {
    options.variant = variant;
    CheckLatency(LimitDirtyFiles(options));
  }
  CHECK(limits.LeftNothing());
}

TEST_CASE("bench limit crc: one size and all", "[bench][limits]") {
  LimitOptions options = Limits().Short();
  const auto all = LimitCrc(options);
  REQUIRE(all.ok());
  for (const char* const size : {"128", "1024", "65536", "1048576"}) {
    CHECK(Figure(*all, std::string("bytes_per_second_") + size) > 0);
  }
  options.bytes = 4096;
  CheckBytes(LimitCrc(options));
}

TEST_CASE("bench limit wake: there and back", "[bench][limits]") {
  CheckLatency(LimitWake(Limits().Short()));
}

TEST_CASE("bench limit idle: every connection is accepted", "[bench][limits]") {
  LimitOptions options = Limits().Short();
  options.connections = 50;
  const auto report = LimitIdle(options);
  INFO(report.status());
  REQUIRE(report.ok());
  CHECK(Figure(*report, "connects_per_second") > 0);
  CHECK(report->figures.contains("user_bytes_per_connection"));
  CHECK(report->figures.contains("kernel_tcp_bytes_per_connection"));
}

TEST_CASE("bench limits: an unknown variant is named, with those there are", "[bench][limits]") {
  LimitOptions options = Limits().Short();
  options.variant = "sideways";
  for (const auto run :
       {&LimitAppend, &LimitServe, &LimitSync, &LimitSyncRoundTrip, &LimitDirtyFiles}) {
    const auto report = run(options);
    CHECK(absl::IsInvalidArgument(report.status()));
    CHECK_THAT(std::string(report.status().message()), Catch::Contains("'sideways'"));
  }
}

TEST_CASE("bench limits: a directory that is not there is named", "[bench][limits]") {
  LimitOptions options = Limits().Short();
  options.dir += "/missing";
  const auto report = LimitSync(options);
  REQUIRE_FALSE(report.ok());
  CHECK_THAT(std::string(report.status().message()), Catch::Contains("missing"));
}

}  // namespace
}  // namespace cairn::bench
