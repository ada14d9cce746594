// Runs a broker under load, ends it by kill -9 or by a power cut at random moments, starts it again
// and goes on; then reads everything and checks the history of the run.
//
//   crash_run --cairnd PATH --mode kill|power [--fs ext4|xfs] [--cycles N] [--seed N]
//             [--preload LIBRARY --must-lose]
//
// Exit code: 0 all promises were kept (with --must-lose: losses were found), 1 not, 77 this machine
// has no loop-mounted file systems.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "protocol/status.h"
#include "storage/segment_name.h"
#include "storage/verify.h"
#include "tests/crash/daemon.h"
#include "tests/crash/topics.h"
#include "tests/crash/workers.h"
#include "tests/storage/temp_dir.h"
#include "tests/support/history_checker.h"
#include "tests/support/loop_mount.h"
#include "tests/support/skip.h"

namespace cairn::test {
namespace {

using namespace std::chrono_literals;
using Milliseconds = std::chrono::milliseconds;

struct Options {
  std::string cairnd;
  std::string mode = "kill";
  std::string file_system = "ext4";
  int cycles = 10;
  std::uint64_t seed = 0;
  int records_per_second = 8000;  // of each producer
  std::string preload;
  bool must_lose = false;
  std::string command;  // to do it again

  bool cuts_power() const { return mode == "power"; }
  LoopMount::Kind kind() const {
    return file_system == "xfs" ? LoopMount::Kind::kXfs : LoopMount::Kind::kExt4;
  }
};

std::atomic<bool> interrupted{false};

class CrashRun {
 public:
  CrashRun(const Options& options, std::unique_ptr<LoopMount> mount)
      : options_(options),
        mount_(std::move(mount)),
        random_(options.seed),
        places_(PlanOfTopics()),
        scene_{.places = places_,
               .port = LastingPort(options.seed ^ static_cast<std::uint64_t>(::getpid())),
               .seed = options.seed,
               .disk_may_fail = options.cuts_power()} {
    command_.program = options.cairnd;
    command_.arguments = {"--data-dir", data_dir(),
                          "--listen",   absl::StrFormat("127.0.0.1:%d", scene_.port),
                          "--threads",  "2"};
    command_.log = directory_ / "cairnd.log";
  }

  // The exit code.
  int Run() {
    if (const absl::Status prepared = Prepare(); !prepared.ok()) return Complain(prepared);
    broken_ = Cycles();
    if (broken_.ok()) broken_ = Heal();
    if (!broken_.ok()) Complain(broken_);
    Collect();
    return Judge();
  }

 private:
  std::filesystem::path data_dir() const {
    return (mount_ != nullptr ? mount_->path() : directory_.path()) / "data";
  }

  int Complain(const absl::Status& why) {
    std::printf("FAILED: %s\n", std::string(why.message()).c_str());
    std::ifstream log(command_.log);
    std::vector<std::string> lines;
    for (std::string line; std::getline(log, line);) lines.push_back(line);
    std::printf("the broker's last lines:\n");
    for (std::size_t i = lines.size() - std::min<std::size_t>(lines.size(), 10); i < lines.size();
         ++i) {
      std::printf("  %s\n", lines[i].c_str());
    }
    return 1;
  }

  Milliseconds Between(int from, int to) {
    return Milliseconds(from + static_cast<int>(random_() % static_cast<unsigned>(to - from + 1)));
  }

  // ---- the broker's lives ----

  absl::Status Prepare() {
    RETURN_IF_ERROR(Start());
    RETURN_IF_ERROR(AwaitReady(60s));
    client::Admin admin(scene_.Connect());
    for (const TopicPlan& topic : PlanOfTopics()) {
      RETURN_IF_ERROR(admin.CreateTopic(topic.name, topic.partitions, topic.configs).status());
    }
    StartWorkers();
    if (options_.preload.empty()) return absl::OkStatus();
    // What is there by now is there to stay; what comes from here on is without syncs.
    std::this_thread::sleep_for(500ms);
    RETURN_IF_ERROR(daemon_->Stop());
    ::sync();
    command_.preload = options_.preload;
    RETURN_IF_ERROR(Start());
    return AwaitReady(60s);
  }

  absl::Status Start() {
    started_ = MonotonicNow();
    ASSIGN_OR_RETURN(daemon_, Daemon::Start(command_));
    return absl::OkStatus();
  }

  absl::Status AwaitReady(Milliseconds timeout) {
    RETURN_IF_ERROR(daemon_->AwaitReady(timeout));
    start_ms_.push_back(static_cast<double>(MonotonicNow() - started_) / 1e6);
    return absl::OkStatus();
  }

  // One life ends, and the next begins; a third of them end before they serve.
  absl::Status Cycles() {
    for (int cycle = 0; cycle < options_.cycles && !interrupted; ++cycle) {
      const bool while_starting = cycle > 0 && random_() % 3 == 0;
      const auto patience =
          while_starting ? Between(0, std::max(20, static_cast<int>(start_ms_.back()))) : 60'000ms;
      const absl::Status ready = cycle == 0 ? absl::OkStatus() : AwaitReady(patience);
      const bool serving = !absl::IsDeadlineExceeded(ready) || !while_starting;
      if (!serving) {
        ++ended_while_starting_;
      } else {
        RETURN_IF_ERROR(ready);
        std::this_thread::sleep_for(Between(10, 2000));
      }
      RETURN_IF_ERROR(End(serving));
      RETURN_IF_ERROR(Start());
    }
    return AwaitReady(60s);
  }

  absl::Status End(bool serving) {
    if (mount_ == nullptr) {
      daemon_->Kill();
      history_.faults.push_back({Fault::Kind::kKill, MonotonicNow()});
      return absl::OkStatus();
    }
    // A broker that serves may live on for a moment and see its disk fail. One that is starting
    // would serve what it cannot read.
    const bool outlives_its_disk = serving && random_() % 2 == 0;
    if (!outlives_its_disk) daemon_->Kill();
    RETURN_IF_ERROR(mount_->CutPower(random_() % 2 == 0 ? LoopMount::Journal::kLost
                                                        : LoopMount::Journal::kWritten));
    if (outlives_its_disk) {
      std::this_thread::sleep_for(Between(0, 30));
      daemon_->Kill();
    }
    history_.faults.push_back({Fault::Kind::kPowerCut, MonotonicNow()});
    return mount_->Remount();
  }

  // ---- the workers ----

  void StartWorkers() {
    const auto produce = [this](client::ProducerOptions options) {
      producers_.push_back(std::make_unique<ProducerWorker>(
          scene_, static_cast<int>(producers_.size()), options, options_.records_per_second));
    };
    produce({});
    // Gives up soon, and so learns of refused and unknown outcomes.
    produce({.codec = Codec::kZstd, .batch_bytes = 4096, .delivery_timeout = 60ms});
    produce({.acks = client::Acks::kWritten, .batch_bytes = 16384});
    produce({.acks = client::Acks::kDurable, .codec = Codec::kLz4, .batch_bytes = 8192});
    const auto from_the_start = client::ConsumerOptions::OutOfRange::kEarliest;
    consumers_.push_back(std::make_unique<ConsumerWorker>(
        scene_, "consumer", client::ConsumerOptions{.out_of_range = from_the_start}, false));
    consumers_.push_back(std::make_unique<ConsumerWorker>(
        scene_, "slow consumer",
        client::ConsumerOptions{.prefetch_bytes = 32768, .out_of_range = from_the_start}, true));
    auditor_ = std::make_unique<Auditor>(scene_);
  }

  // All is well again: what was sent is decided, and every consumer reads up to the end.
  absl::Status Heal() {
    scene_.stop = true;
    auditor_->Finish();
    for (const auto& producer : producers_) {
      if (!producer->Finish()) {
        return absl::DeadlineExceededError("a producer was not done after a minute");
      }
    }
    RETURN_IF_ERROR(ReadAll());
    return AwaitConsumers();
  }

  absl::Status AwaitConsumers() {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    for (std::int32_t place = 0; place < places_.size(); ++place) {
      const std::int64_t end = ends_[static_cast<std::size_t>(place)];
      for (const auto& consumer : consumers_) {
        while (consumer->position(place) != end) {
          if (std::chrono::steady_clock::now() > deadline) {
            return absl::DeadlineExceededError(
                absl::StrFormat("a consumer stands at %d of %s, which ends at %d",
                                consumer->position(place), places_.rules(place).name, end));
          }
          std::this_thread::sleep_for(1ms);
        }
      }
    }
    return absl::OkStatus();
  }

  // What can be read is; the first problem is returned.
  absl::Status ReadAll() {
    history_.final_read.assign(static_cast<std::size_t>(places_.size()), {});
    absl::Status first;
    for (std::int32_t place = 0; place < places_.size(); ++place) {
      first.Update(ReadPartition(place, history_.final_read[static_cast<std::size_t>(place)]));
    }
    return first;
  }

  absl::Status ReadPartition(std::int32_t place, FinalRead& read) {
    const std::string& name = places_.rules(place).name;
    const auto cluster = scene_.Connect();
    ASSIGN_OR_RETURN(const auto offsets,
                     client::Admin(cluster).Offsets(places_.topic(place), std::nullopt,
                                                    {places_.partition(place)}));
    read.log_start = offsets.at(0).log_start.value();
    ASSIGN_OR_RETURN(const auto consumer, client::Consumer::Open(cluster, {}));
    RETURN_IF_ERROR(consumer->Assign({{.topic = places_.topic(place),
                                       .partition = places_.partition(place),
                                       .start = client::StartPosition::At(Offset(read.log_start)),
                                       .stop_at_present_end = true}},
                                     client::Duration(60'000)));
    Reader reader;
    while (!consumer->finished()) {
      ASSIGN_OR_RETURN(const auto polled, consumer->Poll(client::Duration(60'000)));
      if (polled.empty() && !consumer->finished()) {
        return absl::DeadlineExceededError(absl::StrFormat("%s: nothing came for a minute", name));
      }
      Note(
          scene_, polled, [](std::int32_t, const absl::Status&) { return false; }, reader);
    }
    for (const ReadStep& step : reader.steps) {
      if (step.kind == ReadStep::Kind::kRecord) read.records.push_back({step.offset, step.value});
    }
    if (std::ssize(reader.steps) != std::ssize(read.records)) {
      return absl::DataLossError(absl::StrFormat(
          "%s could not be read to its end: %s", name,
          reader.failures.empty() ? "something was trimmed or truncated" : reader.failures[0]));
    }
    const auto position = consumer->Position(places_.topic(place), places_.partition(place));
    const std::int64_t end = offsets[0].committed_end.value();
    ends_.push_back(end);
    if (offsets[0].status.ok() && position.ok() && *position == Offset(end)) {
      return absl::OkStatus();
    }
    return absl::DataLossError(
        absl::StrFormat("%s ends at %d, and what can be read of it at %d", name, end,
                        position.ok() ? position->value_or(kNoOffset).value() : -1));
  }

  // The files themselves are whole, too.
  absl::Status Verify() {
    absl::Status first;
    RETURN_IF_ERROR(
        storage::VerifyDataDirectory(data_dir(), [&](const storage::Finding& finding) {
          if (finding.severity != storage::Finding::Severity::kDamage) return;
          first.Update(absl::DataLossError(absl::StrFormat(
              "%s, position %d: %s", finding.file.string(), finding.position, finding.reason)));
        }).status());
    return first;
  }

  // ---- the verdict ----

  void Collect() {
    scene_.stop = true;
    auditor_->Finish();
    for (const auto& consumer : consumers_) consumer->Finish();
    for (const auto& producer : producers_) history_.sends.push_back(producer->TakeHistory());
    if (broken_.ok()) broken_ = daemon_->Stop();
    if (broken_.ok()) broken_ = Verify();
    history_.keys_per_producer = kKeysPerProducer;
    history_.partitions = places_.rules();
    history_.final_read.resize(static_cast<std::size_t>(places_.size()));
    for (const auto& consumer : consumers_) history_.readers.push_back(consumer->TakeHistory());
    history_.readers.push_back(auditor_->TakeReader());
    history_.end_reads = auditor_->TakeEndReads();
  }

  // The lines of the brokers' log that hold both.
  int CountLines(const std::string& one, const std::string& other) const {
    std::ifstream log(command_.log);
    int count = 0;
    for (std::string line; std::getline(log, line);) {
      count += absl::StrContains(line, one) && absl::StrContains(line, other) ? 1 : 0;
    }
    return count;
  }

  // How often compaction has written a part of this topic anew.
  int GenerationsOf(const std::string& topic) const {
    int most = 0;
    std::error_code none;
    for (const auto& entry :
         std::filesystem::directory_iterator(data_dir() / absl::StrFormat("%s-0", topic), none)) {
      const auto name = storage::ParseLogFileName(entry.path().filename().string());
      if (name.has_value()) most = std::max(most, static_cast<int>(name->generation));
    }
    return most;
  }

  int Judge() {
    const std::int64_t check_began = MonotonicNow();
    const Verdict verdict = CheckHistory(history_);
    const double check_ms = static_cast<double>(MonotonicNow() - check_began) / 1e6;
    std::sort(start_ms_.begin(), start_ms_.end());
    std::printf("cycles %d (%d ended while starting); %d torn tails cut\n",
                static_cast<int>(history_.faults.size()), ended_while_starting_,
                CountLines(" recovery ", "was cut"));
    const int cleanings = CountLines(" cleaned ", "topic=compacted");
    std::printf("compaction: %d cleanings that came to their end, %d generations of segments\n",
                cleanings, GenerationsOf("compacted"));
    // A short run may be over before there is anything to clean.
    if (broken_.ok() && cleanings == 0 && options_.cycles >= 10) {
      broken_ = absl::InternalError("nothing was ever compacted: this proves nothing about it");
    }
    std::printf("%s", CountsText(verdict).c_str());
    std::printf("start to ready: median %.0f ms, longest %.0f ms; history checked in %.0f ms\n",
                start_ms_[start_ms_.size() / 2], start_ms_.back(), check_ms);
    const bool kept = verdict.findings.clean() && broken_.ok();
    if (!verdict.findings.clean()) std::printf("%s", verdict.findings.Text().c_str());
    if (!broken_.ok()) std::printf("broken off: %s\n", std::string(broken_.message()).c_str());
    std::printf("seed %llu: %s\nagain: %s\n", static_cast<unsigned long long>(options_.seed),
                kept ? "every promise was kept" : "PROMISES WERE BROKEN", options_.command.c_str());
    if (!options_.must_lose) return kept ? 0 : 1;
    const bool lost = verdict.findings.count(Anomaly::kLost) > 0;
    std::printf("without syncs this must lose records: %s\n",
                lost ? "it did, and it was noticed" : "NOTHING WAS NOTICED");
    return lost ? 0 : 1;
  }

  const Options& options_;
  const storage::TempDir directory_;
  const std::unique_ptr<LoopMount> mount_;
  std::mt19937_64 random_;
  const Places places_;
  Scene scene_;
  Daemon::Command command_;
  std::unique_ptr<Daemon> daemon_;
  History history_;
  std::vector<std::int64_t> ends_;  // of the partitions, when all was read
  absl::Status broken_;             // why it could not go on to its end

  std::int64_t started_ = 0;
  std::vector<double> start_ms_;
  int ended_while_starting_ = 0;

  std::vector<std::unique_ptr<ProducerWorker>> producers_;
  std::vector<std::unique_ptr<ConsumerWorker>> consumers_;
  std::unique_ptr<Auditor> auditor_;
};

int Main(Options options) {
  if (options.seed == 0) options.seed = std::random_device()();
  std::unique_ptr<LoopMount> mount;
  if (options.cuts_power()) {
    if (const auto why = LoopMount::Unavailable(options.kind())) return Skip(*why);
    auto made = LoopMount::Make(options.kind(), std::int64_t{4} << 30);
    if (!made.ok()) {
      std::printf("FAILED: %s\n", std::string(made.status().message()).c_str());
      return 1;
    }
    mount = *std::move(made);
  }
  options.command += absl::StrFormat(" --seed %d", options.seed);
  std::printf("%s\n", options.command.c_str());
  std::fflush(stdout);
  return CrashRun(options, std::move(mount)).Run();
}

}  // namespace
}  // namespace cairn::test

int main(int argc, char** argv) {
  cairn::test::Options options;
  CLI::App app("Ends a broker under load again and again, and checks that it keeps its promises.");
  app.add_option("--cairnd", options.cairnd, "the broker's program")->required();
  app.add_option("--mode", options.mode)->check(CLI::IsMember({"kill", "power"}));
  app.add_option("--fs", options.file_system)->check(CLI::IsMember({"ext4", "xfs"}));
  app.add_option("--cycles", options.cycles)->check(CLI::PositiveNumber);
  app.add_option("--seed", options.seed, "0: another each time");
  app.add_option("--rate", options.records_per_second, "records a second of each producer");
  app.add_option("--preload", options.preload, "a library for the broker, such as libeatmydata");
  app.add_flag("--must-lose", options.must_lose, "succeed only if acknowledged records are lost");
  CLI11_PARSE(app, argc, argv);
  options.command = absl::StrFormat("%s --cairnd %s --mode %s --fs %s --cycles %d --rate %d",
                                    argv[0], options.cairnd, options.mode, options.file_system,
                                    options.cycles, options.records_per_second);
  if (!options.preload.empty()) options.command += " --preload " + options.preload;
  if (options.must_lose) options.command += " --must-lose";

  // What is interrupted ends in good order, and leaves nothing behind.
  for (const int signal : {SIGINT, SIGTERM}) {
    std::signal(signal, [](int) { cairn::test::interrupted = true; });
  }
  return cairn::test::Main(std::move(options));
}
