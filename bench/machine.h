#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <sys/types.h>

#include "absl/status/statusor.h"

#include "nlohmann/json.hpp"

namespace cairn::bench {

// What a figure depends on: processor, cores, memory, kernel, build and commit of this program,
// date.
nlohmann::ordered_json DescribeMachine();

// Where broker (or the serving half of a limit program) and load run: each on a core of its own
// where the machine has two, so that the scheduler is no part of what is measured. Nothing: left
// to the scheduler.
std::optional<int> BrokerCore();
std::optional<int> LoadCore();
// Keeps the calling thread, and the threads that it starts later, on that core.
void PinThisThread(std::optional<int> core);

// Processor time that a thread or process has used so far.
std::chrono::nanoseconds ThreadCpu();
std::chrono::nanoseconds ProcessCpu();
//   kNotFound  there is no such process
absl::StatusOr<std::chrono::nanoseconds> ProcessCpu(pid_t process);
// Resident memory that is not file pages, in bytes.
absl::StatusOr<std::int64_t> ResidentBytes(pid_t process);

// An empty directory below `parent` (empty: the working directory), removed with this object.
class ScratchDir {
 public:
  static absl::StatusOr<ScratchDir> Make(const std::string& parent);
  ScratchDir(ScratchDir&& other) noexcept;
  ScratchDir& operator=(ScratchDir&&) = delete;
  ~ScratchDir();

  const std::string& path() const { return path_; }

 private:
  explicit ScratchDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace cairn::bench
