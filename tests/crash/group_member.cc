#include "tests/crash/group_member.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "client/consumer.h"
#include "protocol/check.h"
#include "protocol/status.h"
#include "tests/crash/workers.h"

namespace cairn::test {
namespace {

using Kind = GroupStep::Kind;

constexpr client::Duration kPoll{50};
constexpr client::Duration kPatience{30'000};

volatile std::sig_atomic_t told_to_leave = 0;

// A member is born with SIGTERM blocked: one that is told to leave at once hears it once it can.
void MaskTerm(int how) {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  CAIRN_CHECK(::pthread_sigmask(how, &term, nullptr) == 0);
}

// The member's diary. What is added is kept, however the process ends.
class StepsFile {
 public:
  explicit StepsFile(const std::filesystem::path& path)
      : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
    CAIRN_CHECK(file_ >= 0);
  }
  ~StepsFile() { ::close(file_); }

  void Add(Kind kind, std::int32_t partition, std::int64_t offset, std::int64_t time) {
    steps_.push_back({.time = time, .offset = offset, .partition = partition, .kind = kind});
  }
  void Write() {
    const std::size_t size = steps_.size() * sizeof(GroupStep);
    const ssize_t written = ::write(file_, steps_.data(), size);
    CAIRN_CHECK(written == static_cast<ssize_t>(size));
    steps_.clear();
  }

 private:
  const int file_;
  std::vector<GroupStep> steps_;
};

class MemberProgram {
 public:
  explicit MemberProgram(const GroupMemberOptions& options) : steps_(options.steps) {
    client::ClusterOptions where;
    where.broker = absl::StrFormat("127.0.0.1:%d", options.port);
    where.client_id = options.name;
    where.backoff_max = client::Duration(100);
    where_ = where;
    consumer_options_.group.emplace();
    client::GroupOptions& group = *consumer_options_.group;
    group.group = kGroupName;
    group.instance_id = options.instance_id;
    group.session_timeout = client::Duration(options.session_ms);
    group.auto_commit_interval = client::Duration(50);
    group.on_gained = [this](const auto& gained) { Note(gained, Kind::kGained); };
    group.on_lost = [this](const auto& lost, client::LostHow how) {
      Note(lost, how == client::LostHow::kInGoodOrder ? Kind::kGivenUp : Kind::kTakenAway);
    };
  }

  absl::Status Run() {
    ASSIGN_OR_RETURN(const auto cluster, client::Cluster::Open(where_));
    ASSIGN_OR_RETURN(consumer_, client::Consumer::Open(cluster, consumer_options_));
    RETURN_IF_ERROR(consumer_->Subscribe({kGroupTopic}));
    while (told_to_leave == 0) RETURN_IF_ERROR(PollOnce());
    absl::Status closed = consumer_->Commit(kPatience);
    // What was not committed is delivered to others again.
    if (closed.ok() || absl::IsFailedPrecondition(closed)) closed = consumer_->Close(kPatience);
    steps_.Write();
    return closed;
  }

 private:
  void Note(const std::vector<client::GroupPartition>& partitions, Kind kind) {
    const std::int64_t now = MonotonicNow();
    for (const client::GroupPartition& partition : partitions) {
      steps_.Add(kind, partition.partition.value(), -1, now);
    }
    steps_.Write();
  }

  absl::Status PollOnce() {
    const std::int64_t asked = MonotonicNow();
    ASSIGN_OR_RETURN(const client::PolledRecords polled, consumer_->Poll(kPoll, 500));
    for (const client::ConsumedRecord& record : polled.records()) {
      if (record.value != std::to_string(record.offset.value())) {
        return absl::InternalError(absl::StrFormat("partition %d, offset %d: another record",
                                                   record.partition.value(),
                                                   record.offset.value()));
      }
      steps_.Add(Kind::kRecord, record.partition.value(), record.offset.value(), asked);
    }
    for (const client::ConsumerEvent& event : polled.events()) {
      return absl::InternalError(
          absl::StrFormat("partition %d: event %d: %s", event.partition.value(),
                          static_cast<int>(event.kind), event.status.ToString()));
    }
    NoteCommitted();
    steps_.Write();
    return absl::OkStatus();
  }

  void NoteCommitted() {
    for (const client::GroupPartition& held : consumer_->assignment()) {
      const auto committed = consumer_->Committed(held.topic, held.partition);
      if (!committed.ok() || !committed->has_value()) continue;
      std::int64_t& noted = noted_[held.partition.value()];
      if (noted == (*committed)->value()) continue;
      noted = (*committed)->value();
      steps_.Add(Kind::kCommitted, held.partition.value(), noted, MonotonicNow());
    }
  }

  StepsFile steps_;
  client::ClusterOptions where_;
  client::ConsumerOptions consumer_options_;
  std::map<std::int32_t, std::int64_t> noted_;
  std::unique_ptr<client::Consumer> consumer_;
};

}  // namespace

std::vector<std::string> GroupMemberOptions::Arguments() const {
  return {"member",
          "--port",
          std::to_string(port),
          "--name",
          name,
          "--instance",
          instance_id,
          "--steps",
          steps.string(),
          "--session-ms",
          std::to_string(session_ms)};
}

int RunGroupMember(const GroupMemberOptions& options) {
  std::signal(SIGTERM, [](int) { told_to_leave = 1; });
  MaskTerm(SIG_UNBLOCK);
  const absl::Status status = MemberProgram(options).Run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s: %s\n", options.name.c_str(), status.ToString().c_str());
  return 1;
}

absl::StatusOr<std::unique_ptr<GroupMemberProcess>> GroupMemberProcess::Start(
    const std::filesystem::path& program, GroupMemberOptions options,
    const std::filesystem::path& log) {
  const int errors = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (errors < 0) return absl::ErrnoToStatus(errno, log.string());
  // Everything that allocates is done before the fork: other threads may hold the heap's lock.
  std::vector<std::string> words{program.string()};
  for (std::string& word : options.Arguments()) words.push_back(std::move(word));
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  MaskTerm(SIG_BLOCK);
  const pid_t pid = ::fork();
  if (pid != 0) MaskTerm(SIG_UNBLOCK);
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::dup2(errors, STDERR_FILENO);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(errors);
  return std::unique_ptr<GroupMemberProcess>(new GroupMemberProcess(std::move(options), pid));
}

GroupMemberProcess::~GroupMemberProcess() {
  if (pid_ != 0) Kill();
}

void GroupMemberProcess::Reap(int flags) {
  if (pid_ == 0) return;
  pid_t reaped = 0;
  do {
    reaped = ::waitpid(pid_, &ended_with_, flags);
  } while (reaped < 0 && errno == EINTR);
  if (reaped != 0) pid_ = 0;
}

void GroupMemberProcess::Kill() {
  ::kill(pid_, SIGKILL);
  Reap(0);
}

void GroupMemberProcess::Pause() {
  ::kill(pid_, SIGSTOP);
  paused_ = was_paused_ = true;
}

void GroupMemberProcess::Resume() {
  ::kill(pid_, SIGCONT);
  paused_ = false;
}

void GroupMemberProcess::AskToLeave() { ::kill(pid_, SIGTERM); }

absl::Status GroupMemberProcess::AwaitEnd() {
  Reap(0);
  if (WIFEXITED(ended_with_) && WEXITSTATUS(ended_with_) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrFormat("%s ended with status %#x", name(), ended_with_));
}

bool GroupMemberProcess::HasEnded() {
  Reap(WNOHANG);
  return pid_ == 0;
}

GroupActor GroupMemberProcess::TakeHistory() const {
  GroupActor actor{.name = options_.name, .steps = {}, .was_paused = was_paused_};
  std::ifstream file(options_.steps, std::ios::binary);
  GroupStep step;
  while (file.read(reinterpret_cast<char*>(&step), sizeof step)) actor.steps.push_back(step);
  return actor;
}

}  // namespace cairn::test
