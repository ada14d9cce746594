#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "tests/support/group_history.h"

namespace cairn::test {

inline constexpr char kGroupTopic[] = "orders";
inline constexpr char kGroupName[] = "g";

// How a process becomes a member.
struct GroupMemberOptions {
  std::uint16_t port = 0;
  std::string name;         // its client id
  std::string instance_id;  // empty: none
  std::filesystem::path steps;
  int session_ms = 2000;

  std::vector<std::string> Arguments() const;
};

// Is a member of the group until SIGTERM, then leaves; writes down what it is told before it asks
// for more, so that a killed one has told all that it processed. The exit code: 0 when it left in
// good order; otherwise it says why on stderr.
int RunGroupMember(const GroupMemberOptions& options);

// A member in a process of its own, which dies with us. Threads: one.
class GroupMemberProcess {
 public:
  static absl::StatusOr<std::unique_ptr<GroupMemberProcess>> Start(
      const std::filesystem::path& program, GroupMemberOptions options,
      const std::filesystem::path& log);
  ~GroupMemberProcess();  // kills it

  GroupMemberProcess(const GroupMemberProcess&) = delete;
  GroupMemberProcess& operator=(const GroupMemberProcess&) = delete;

  const std::string& name() const { return options_.name; }
  const std::string& instance_id() const { return options_.instance_id; }
  bool is_paused() const { return paused_; }

  void Kill();
  void Pause();
  void Resume();
  // SIGTERM; AwaitEnd hears what became of it.
  void AskToLeave();
  //   kInternal  it did not end well
  absl::Status AwaitEnd();
  // Nothing: it runs.
  bool HasEnded();

  // Once it has ended.
  GroupActor TakeHistory() const;

 private:
  GroupMemberProcess(GroupMemberOptions options, pid_t pid)
      : options_(std::move(options)), pid_(pid) {}
  void Reap(int flags);

  const GroupMemberOptions options_;
  pid_t pid_;  // 0: gone
  int ended_with_ = 0;
  bool paused_ = false;
  bool was_paused_ = false;
};

}  // namespace cairn::test
