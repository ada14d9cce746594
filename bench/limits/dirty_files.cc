#include <array>
#include <atomic>
#include <barrier>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_format.h"

#include "bench/limits/descriptor.h"
#include "bench/limits/halves.h"
#include "bench/limits/limits.h"
#include "bench/limits/segment_file.h"
#include "bench/machine.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

constexpr std::size_t kAppendBytes = 4096;
constexpr int kThreads = 16;

absl::Status SyncOneByOne(std::vector<SegmentFile>& files) {
  for (const SegmentFile& file : files) RETURN_IF_ERROR(file.Sync());
  return absl::OkStatus();
}

absl::Status SyncFileSystem(std::vector<SegmentFile>& files) {
  if (::syncfs(files.front().file().descriptor()) == 0) return absl::OkStatus();
  return CallError("syncfs");
}

// Threads that wait for a cycle, share the files of it among them, and end with this object.
class SyncThreads {
 public:
  explicit SyncThreads(std::vector<SegmentFile>& files) : files_(files) {
    for (std::thread& thread : threads_) thread = std::thread([this] { Run(); });
  }
  ~SyncThreads() {
    end_ = true;
    barrier_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }

  absl::Status Sync() {
    next_ = 0;
    barrier_.arrive_and_wait();
    barrier_.arrive_and_wait();
    return status_;
  }

 private:
  void Run() {
    for (barrier_.arrive_and_wait(); !end_; barrier_.arrive_and_wait()) {
      for (std::size_t i = next_++; i < files_.size(); i = next_++) Note(files_[i].Sync());
      barrier_.arrive_and_wait();
    }
  }
  void Note(absl::Status status) {
    if (status.ok()) return;
    const std::lock_guard lock(mutex_);
    status_.Update(std::move(status));
  }

  std::vector<SegmentFile>& files_;
  std::barrier<> barrier_{kThreads + 1};
  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> end_ = false;
  std::mutex mutex_;
  absl::Status status_;  // guarded by mutex_ within a cycle
  std::array<std::thread, kThreads> threads_;
};

absl::Status Cycle(std::vector<SegmentFile>& files, absl::FunctionRef<absl::Status()> sync,
                   Measurement& measurement) {
  const Bytes block(kAppendBytes, std::byte{0x5a});
  while (!measurement.is_over()) {
    for (SegmentFile& file : files) RETURN_IF_ERROR(file.Append(block));
    const auto start = Measurement::Clock::now();
    RETURN_IF_ERROR(sync());
    const auto now = Measurement::Clock::now();
    measurement.CountTimed(now - start, now, files.size() * block.size());
  }
  return absl::OkStatus();
}

absl::Status Run(const std::string& variant, std::vector<SegmentFile>& files,
                 Measurement& measurement) {
  if (variant == "serial")
    return Cycle(
        files, [&] { return SyncOneByOne(files); }, measurement);
  if (variant == "syncfs")
    return Cycle(
        files, [&] { return SyncFileSystem(files); }, measurement);
  SyncThreads threads(files);
  return Cycle(
      files, [&] { return threads.Sync(); }, measurement);
}

}  // namespace

absl::StatusOr<Report> LimitDirtyFiles(const LimitOptions& options) {
  const int count = options.files == 0 ? 512 : options.files;
  const std::string variant = options.variant.empty() ? "serial" : options.variant;
  if (variant != "serial" && variant != "syncfs" && variant != "threads") {
    return absl::InvalidArgumentError(
        absl::StrFormat("variant '%s': serial, syncfs or threads", variant));
  }
  ASSIGN_OR_RETURN(const ScratchDir dir, ScratchDir::Make(options.dir));
  std::vector<SegmentFile> files;
  for (int i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(SegmentFile file, SegmentFile::Open(absl::StrFormat("%s/%d", dir.path(), i),
                                                         Blocks::kFallocated));
    files.push_back(std::move(file));
  }
  ASSIGN_OR_RETURN(const Measurement seen, RunAlone(options, [&](Measurement& measurement) {
                     return Run(variant, files, measurement);
                   }));
  Report report = seen.ToReport(
      "limit dirty-files",
      {{"files", count}, {"variant", variant}, {"duration_ms", options.duration.count()}});
  report.summary =
      absl::StrFormat("4 KiB in each of %d files made durable (%s): p50 %.2f ms", count, variant,
                      static_cast<double>(seen.latency().Percentile(50).count()) / 1e6);
  return report;
}

}  // namespace cairn::bench
