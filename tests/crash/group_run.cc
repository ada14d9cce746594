// Members of one group, each a process of its own, that join, leave, are killed and stopped all the
// time (--mode churn), or whose broker is killed again and again (--mode kill); then the history of
// all that they were told is checked.
//
//   group_run run --cairnd PATH --mode churn|kill [--seconds N] [--cycles N] [--seed N]
//             [--members N] [--partitions N] [--slowness N]
//
// Exit code: 0 all promises were kept, 1 not. `group_run member` is one of the members.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "client/admin.h"
#include "client/producer.h"
#include "protocol/status.h"
#include "tests/crash/daemon.h"
#include "tests/crash/group_member.h"
#include "tests/crash/workers.h"
#include "tests/storage/temp_dir.h"
#include "tests/support/group_checker.h"

namespace cairn::test {
namespace {

using namespace std::chrono_literals;
using Milliseconds = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr Milliseconds kBeat{200};
constexpr Milliseconds kSession{2000};
constexpr Milliseconds kSettled{3000};    // after the churn
constexpr Milliseconds kContinued{5000};  // after the broker serves again

struct Options {
  std::string program;  // this one
  std::string cairnd;
  std::string mode = "churn";
  int seconds = 15;
  int cycles = 5;
  int members = 16;
  int partitions = 32;
  int rate = 2000;   // records a second
  int slowness = 1;  // sanitizers take so many times as long
  std::uint64_t seed = 0;
  std::string command;  // to do it again
};

std::atomic<bool> interrupted{false};

std::shared_ptr<client::Cluster> ClusterAt(std::uint16_t port) {
  client::ClusterOptions options;
  options.broker = absl::StrFormat("127.0.0.1:%d", port);
  options.client_id = "supervisor";
  options.backoff_max = client::Duration(50);
  return client::Cluster::Open(options).value();
}

// Sends to every partition in turn: each record carries its offset.
class Sender {
 public:
  Sender(std::uint16_t port, int partitions, int rate)
      : port_(port), rate_(rate), next_(static_cast<std::size_t>(partitions)) {
    thread_ = std::thread([this] { Run(); });
  }
  ~Sender() { Finish().IgnoreError(); }

  // Stops, and waits until all is acknowledged.
  absl::Status Finish() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    const std::lock_guard lock(mutex_);
    return status_;
  }
  std::int64_t acknowledged() const { return acknowledged_; }
  // Once it has finished.
  const std::vector<std::int64_t>& ends() const { return next_; }

 private:
  void Run() {
    client::ProducerOptions options;
    options.delivery_timeout = client::Duration(120'000);
    auto producer = client::Producer::Open(ClusterAt(port_), options);
    if (!producer.ok()) return Fail(producer.status());
    const auto began = Clock::now();
    for (std::int64_t sent = 0; !stop_; ++sent) {
      const auto place = static_cast<std::size_t>(sent) % next_.size();
      SendOne(**producer, place);
      std::this_thread::sleep_until(began + sent * 1'000'000us / rate_);
    }
    absl::Status flushed = (*producer)->Flush(client::Duration(120'000));
    if (!flushed.ok()) Fail(std::move(flushed));
  }

  void SendOne(client::Producer& producer, std::size_t place) {
    const std::int64_t offset = next_[place];
    const std::string value = std::to_string(offset);
    client::ProduceRecord record;
    record.value = value;
    record.partition = PartitionIndex(static_cast<std::int32_t>(place));
    absl::Status sent = producer.Send(kGroupTopic, record, [=, this](const client::Delivery& done) {
      if (!done.status.ok()) return Fail(done.status);
      if (done.offset != Offset(offset)) Fail(absl::InternalError("a record at another offset"));
      ++acknowledged_;
    });
    if (!sent.ok()) return Fail(std::move(sent));
    ++next_[place];
  }

  void Fail(absl::Status why) {
    const std::lock_guard lock(mutex_);
    status_.Update(std::move(why));
  }

  const std::uint16_t port_;
  const int rate_;
  std::vector<std::int64_t> next_;  // by partition
  std::atomic<bool> stop_{false};
  std::atomic<std::int64_t> acknowledged_{0};
  std::mutex mutex_;
  absl::Status status_;
  std::thread thread_;
};

// Looks at the group again and again.
class Observer {
 public:
  explicit Observer(std::uint16_t port) : cluster_(ClusterAt(port)), admin_(cluster_) {
    thread_ = std::thread([this] { Run(); });
  }
  ~Observer() { Finish(); }

  void Finish() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::vector<GroupSight> TakeSights() { return std::move(sights_); }

  std::optional<client::GroupDescription> last() const {
    const std::lock_guard lock(mutex_);
    return last_;
  }

 private:
  void Run() {
    while (!stop_) {
      LookOnce();
      std::this_thread::sleep_for(20ms);
    }
  }

  void LookOnce() {
    const std::int64_t invoked = MonotonicNow();
    auto group = admin_.DescribeGroup(kGroupName);
    if (!group.ok()) return;  // it is not there yet, or the broker is not
    const std::int64_t returned = MonotonicNow();
    for (const client::GroupPartitionDescription& partition : group->partitions) {
      GroupSight& sight = sights_.emplace_back();
      sight.invoked = invoked;
      sight.returned = returned;
      sight.epoch = partition.epoch;
      sight.committed = partition.committed.value_or(kNoOffset).value();
      sight.partition = partition.partition.value();
      if (partition.owner.has_value()) {
        sight.owner = ToString(group->members.at(*partition.owner).id);
      }
    }
    const std::lock_guard lock(mutex_);
    last_ = *std::move(group);
  }

  const std::shared_ptr<client::Cluster> cluster_;
  client::Admin admin_;
  std::vector<GroupSight> sights_;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;  // guards last_
  std::optional<client::GroupDescription> last_;
  std::thread thread_;
};

class GroupRun {
 public:
  explicit GroupRun(const Options& options)
      : options_(options),
        random_(options.seed),
        port_(LastingPort(options.seed ^ static_cast<std::uint64_t>(::getpid()))),
        slots_(static_cast<std::size_t>(options.members)) {
    command_.program = options.cairnd;
    command_.arguments = {"--data-dir", (directory_ / "data").string(),
                          "--listen",   absl::StrFormat("127.0.0.1:%d", port_),
                          "--threads",  "2"};
    command_.log = directory_ / "cairnd.log";
  }

  // The exit code.
  int Run() {
    absl::Status broken = Prepare();
    if (broken.ok()) broken = options_.mode == "kill" ? KillBroker() : Churn();
    if (broken.ok()) broken = ReadToTheEnd();
    if (broken.ok()) broken = End();
    return Judge(broken);
  }

 private:
  using Slot = std::unique_ptr<GroupMemberProcess>;

  Milliseconds Between(int from, int to) {
    return Milliseconds(from + static_cast<int>(random_() % static_cast<unsigned>(to - from + 1)));
  }

  absl::Status StartBroker() {
    ASSIGN_OR_RETURN(daemon_, Daemon::Start(command_));
    return absl::OkStatus();
  }

  absl::Status Prepare() {
    RETURN_IF_ERROR(StartBroker());
    RETURN_IF_ERROR(daemon_->AwaitReady(60s));
    client::Admin admin(ClusterAt(port_));
    RETURN_IF_ERROR(admin.CreateTopic(kGroupTopic, options_.partitions, {}).status());
    sender_ = std::make_unique<Sender>(port_, options_.partitions, options_.rate);
    observer_ = std::make_unique<Observer>(port_);
    for (std::size_t i = 0; i < slots_.size(); ++i) RETURN_IF_ERROR(Join(i));
    return AwaitSettled(60s).status();
  }

  // ---- members ----

  // Every fourth is a static member.
  absl::Status Join(std::size_t place) {
    GroupMemberOptions member;
    member.port = port_;
    member.name = absl::StrFormat("member-%d", ++joins_);
    if (place % 4 == 0) member.instance_id = absl::StrFormat("static-%d", place);
    member.steps = directory_ / member.name;
    member.session_ms = static_cast<int>(kSession.count()) * options_.slowness;
    ASSIGN_OR_RETURN(slots_[place],
                     GroupMemberProcess::Start(options_.program, member, command_.log));
    return absl::OkStatus();
  }

  void Bury(Slot member) { gone_.push_back(std::move(member)); }

  // Members that were told to leave, some of which are still at it.
  absl::Status ReapLeaving(bool all) {
    std::vector<Slot> still;
    absl::Status outcome;
    for (Slot& member : leaving_) {
      if (!all && !member->HasEnded()) {
        still.push_back(std::move(member));
        continue;
      }
      outcome.Update(member->AwaitEnd());
      Bury(std::move(member));
    }
    leaving_ = std::move(still);
    return outcome;
  }

  // One thing happens to one member; another one comes in the place of who went before.
  absl::Status Disturb(bool only_in_good_order) {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i] == nullptr) RETURN_IF_ERROR(Join(i));
    }
    Slot& member = slots_[random_() % slots_.size()];
    if (member->HasEnded()) return member->AwaitEnd();
    if (member->is_paused()) {
      member->Resume();
      return absl::OkStatus();
    }
    const std::uint64_t chance = only_in_good_order ? 9 : random_() % 10;
    if (chance == 0) {
      member->Pause();
    } else if (chance < 6) {
      member->Kill();
      Bury(std::move(member));
      ++killed_;
    } else {
      member->AskToLeave();
      // The next one with this instance id would fence it while it is at it.
      const bool is_static = !member->instance_id().empty();
      leaving_.push_back(std::move(member));
      if (is_static) return ReapLeaving(true);
    }
    return ReapLeaving(false);
  }

  // Everybody is there and awake.
  absl::Status Gather() {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i] == nullptr) {
        RETURN_IF_ERROR(Join(i));
      } else if (slots_[i]->is_paused()) {
        slots_[i]->Resume();
      } else if (slots_[i]->HasEnded()) {
        return slots_[i]->AwaitEnd();
      }
    }
    return absl::OkStatus();
  }

  bool IsSettled(const client::GroupDescription& group) const {
    if (group.state != client::GroupState::kStable || group.members.size() != slots_.size() ||
        group.partitions.size() != static_cast<std::size_t>(options_.partitions)) {
      return false;
    }
    const bool is_owned = std::all_of(group.partitions.begin(), group.partitions.end(),
                                      [](const auto& row) { return row.owner.has_value(); });
    const auto is_here = [&](const client::GroupMemberDescription& member) {
      return std::any_of(slots_.begin(), slots_.end(),
                         [&](const Slot& slot) { return slot->name() == member.client_id; });
    };
    return is_owned && std::all_of(group.members.begin(), group.members.end(), is_here);
  }

  absl::StatusOr<Milliseconds> AwaitSettled(Milliseconds patience) {
    const auto began = Clock::now();
    for (;;) {
      const auto group = observer_->last();
      const auto took = std::chrono::duration_cast<Milliseconds>(Clock::now() - began);
      if (group.has_value() && IsSettled(*group)) return took;
      if (took > patience) return absl::DeadlineExceededError(NotSettled(group));
      std::this_thread::sleep_for(5ms);
    }
  }

  std::string NotSettled(const std::optional<client::GroupDescription>& group) const {
    if (!group.has_value()) return "the group has not settled: it is not there";
    const auto owned = std::count_if(group->partitions.begin(), group->partitions.end(),
                                     [](const auto& row) { return row.owner.has_value(); });
    std::string text =
        absl::StrFormat("the group has not settled: state %d, %d partitions of %d owned, members",
                        static_cast<int>(group->state), owned, options_.partitions);
    for (const auto& member : group->members) text += " " + member.client_id;
    text += "; here are";
    for (const Slot& slot : slots_) text += " " + (slot == nullptr ? "nobody" : slot->name());
    for (const Slot& slot : leaving_) text += "; leaving is " + slot->name();
    return text;
  }

  // ---- churn ----

  absl::Status Churn() {
    const auto over = Clock::now() + std::chrono::seconds(options_.seconds);
    auto next = Clock::now();
    while (Clock::now() < over && !interrupted) {
      RETURN_IF_ERROR(Disturb(false));
      next += kBeat;
      std::this_thread::sleep_until(next);
    }
    RETURN_IF_ERROR(Gather());
    // The last to go is missed only when its session is over.
    Slot& last = slots_[random_() % slots_.size()];
    last->Kill();
    Bury(std::move(last));
    ++killed_;
    RETURN_IF_ERROR(Gather());
    ASSIGN_OR_RETURN(const Milliseconds settled, AwaitSettled(60s));
    std::printf("settled %d ms after the last of them came or went\n",
                static_cast<int>(settled.count()));
    if (settled <= kSettled * options_.slowness) return absl::OkStatus();
    return absl::DeadlineExceededError("that is too long");
  }

  // ---- the broker ----

  absl::Status KillBroker() {
    for (int cycle = 0; cycle < options_.cycles && !interrupted; ++cycle) {
      std::this_thread::sleep_for(Between(50, 1500));
      bool member_dies = random_() % 3 == 0;
      RETURN_IF_ERROR(Disturb(!member_dies));
      std::this_thread::sleep_for(Between(0, 50));
      daemon_->Kill();
      RETURN_IF_ERROR(StartBroker());
      if (random_() % 3 == 0) {  // it is ended while it starts
        std::this_thread::sleep_for(Between(0, 60));
        daemon_->Kill();
        RETURN_IF_ERROR(StartBroker());
      }
      RETURN_IF_ERROR(daemon_->AwaitReady(60s));
      RETURN_IF_ERROR(AwaitGoingOn());
    }
    RETURN_IF_ERROR(Gather());
    return AwaitSettled(60s).status();
  }

  // All that was sent by now is committed: no partition is stuck.
  absl::Status AwaitGoingOn() {
    RETURN_IF_ERROR(Gather());
    const auto began = Clock::now();
    const std::int64_t sent = sender_->acknowledged();
    // Whoever died with the broker is given its session anew.
    const Milliseconds patience = (kContinued + kSession) * options_.slowness;
    while (Committed() < sent) {
      if (Clock::now() - began > patience) {
        return absl::DeadlineExceededError(
            absl::StrFormat("%d ms after the broker came back, %d of %d records are committed; %s",
                            patience.count(), Committed(), sent, NotSettled(observer_->last())));
      }
      std::this_thread::sleep_for(5ms);
    }
    const auto took = std::chrono::duration_cast<Milliseconds>(Clock::now() - began);
    longest_ = std::max(longest_, took);
    return absl::OkStatus();
  }

  std::int64_t Committed() const {
    const auto group = observer_->last();
    std::int64_t sum = 0;
    if (!group.has_value()) return sum;
    for (const auto& partition : group->partitions) {
      sum += std::max<std::int64_t>(0, partition.committed.value_or(kNoOffset).value());
    }
    return sum;
  }

  // ---- the end ----

  absl::Status ReadToTheEnd() {
    RETURN_IF_ERROR(sender_->Finish());
    const auto deadline = Clock::now() + 60s;
    while (Committed() < sender_->acknowledged()) {
      if (Clock::now() > deadline) {
        return absl::DeadlineExceededError(absl::StrFormat(
            "%d of %d records are committed a minute after the last one was sent; %s", Committed(),
            sender_->acknowledged(), NotSettled(observer_->last())));
      }
      std::this_thread::sleep_for(5ms);
    }
    return absl::OkStatus();
  }

  absl::Status End() {
    for (Slot& member : slots_) {
      member->AskToLeave();
      leaving_.push_back(std::move(member));
    }
    RETURN_IF_ERROR(ReapLeaving(true));
    observer_->Finish();
    return daemon_->Stop();
  }

  int Judge(const absl::Status& broken) {
    GroupHistory history;
    if (sender_ != nullptr) {
      sender_->Finish().IgnoreError();
      if (broken.ok()) history.ends = sender_->ends();
    }
    history.ends.resize(static_cast<std::size_t>(options_.partitions));
    if (observer_ != nullptr) {
      observer_->Finish();
      history.sights = observer_->TakeSights();
    }
    for (auto* members : {&gone_, &leaving_, &slots_}) {
      for (Slot& member : *members) {
        if (member == nullptr) continue;
        if (!member->HasEnded()) member->Kill();
        history.actors.push_back(member->TakeHistory());
      }
    }
    const GroupVerdict verdict = CheckGroupHistory(history);
    std::printf("%d members joined, %d were killed; %s", joins_, killed_, verdict.Text().c_str());
    if (options_.mode == "kill") {
      std::printf("all was committed again at the latest %d ms after the broker was back\n",
                  static_cast<int>(longest_.count()));
    }
    if (!broken.ok()) {
      std::printf("broken off: %s\n", broken.ToString().c_str());
      PrintLog();
    }
    const bool kept = broken.ok() && verdict.clean();
    std::printf("seed %llu: %s\nagain: %s\n", static_cast<unsigned long long>(options_.seed),
                kept ? "every promise was kept" : "PROMISES WERE BROKEN", options_.command.c_str());
    return kept ? 0 : 1;
  }

  void PrintLog() const {
    std::ifstream log(command_.log);
    std::vector<std::string> lines;
    for (std::string line; std::getline(log, line);) lines.push_back(line);
    std::printf("the last lines of the broker and the members:\n");
    for (std::size_t i = lines.size() - std::min<std::size_t>(lines.size(), 15); i < lines.size();
         ++i) {
      std::printf("  %s\n", lines[i].c_str());
    }
  }

  const Options& options_;
  const storage::TempDir directory_;
  std::mt19937_64 random_;
  const std::uint16_t port_;
  Daemon::Command command_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<Sender> sender_;
  std::unique_ptr<Observer> observer_;
  std::vector<Slot> slots_, leaving_, gone_;
  int joins_ = 0;
  int killed_ = 0;
  Milliseconds longest_{0};
};

}  // namespace
}  // namespace cairn::test

int main(int argc, char** argv) {
  using namespace cairn::test;
  CLI::App app("Disturbs a consumer group, and checks that it keeps its promises.");
  app.require_subcommand(1);
  Options options;
  CLI::App* run = app.add_subcommand("run");
  run->add_option("--cairnd", options.cairnd, "the broker's program")->required();
  run->add_option("--mode", options.mode)->check(CLI::IsMember({"churn", "kill"}));
  run->add_option("--seconds", options.seconds, "of churn")->check(CLI::PositiveNumber);
  run->add_option("--cycles", options.cycles, "of kill")->check(CLI::PositiveNumber);
  run->add_option("--members", options.members)->check(CLI::PositiveNumber);
  run->add_option("--partitions", options.partitions)->check(CLI::PositiveNumber);
  run->add_option("--rate", options.rate, "records a second")->check(CLI::PositiveNumber);
  run->add_option("--slowness", options.slowness, "all times are so many times as long");
  run->add_option("--seed", options.seed, "0: another each time");
  GroupMemberOptions member;
  std::string steps;
  CLI::App* as_member = app.add_subcommand("member");
  as_member->add_option("--port", member.port)->required();
  as_member->add_option("--name", member.name)->required();
  as_member->add_option("--instance", member.instance_id);
  as_member->add_option("--steps", steps)->required();
  as_member->add_option("--session-ms", member.session_ms);
  CLI11_PARSE(app, argc, argv);
  if (as_member->parsed()) {
    member.steps = steps;
    return RunGroupMember(member);
  }

  if (options.seed == 0) options.seed = std::random_device()();
  options.program = "/proc/self/exe";
  options.command = absl::StrFormat(
      "%s run --cairnd %s --mode %s --seconds %d --cycles %d --members %d --partitions %d --rate "
      "%d --slowness %d --seed %d",
      argv[0], options.cairnd, options.mode, options.seconds, options.cycles, options.members,
      options.partitions, options.rate, options.slowness, options.seed);
  std::printf("%s\n", options.command.c_str());
  std::fflush(stdout);
  // What is interrupted ends in good order, and leaves nothing behind.
  for (const int signal : {SIGINT, SIGTERM}) {
    std::signal(signal, [](int) { interrupted = true; });
  }
  return GroupRun(options).Run();
}
