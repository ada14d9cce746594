#include "bench/cold_reader.h"

#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

#include "bench/limits/descriptor.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

constexpr std::size_t kPrefetchBytes = 1u << 20;

// Of every log below the directory. Pages that are not on the disk yet would stay.
void ForgetPages(const std::string& directory) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, ignored)) {
    if (entry.path().extension() != ".log") continue;
    const Descriptor file(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open()) continue;
    ::fdatasync(file.number());
    ::posix_fadvise(file.number(), 0, 0, POSIX_FADV_DONTNEED);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ColdReader>> ColdReader::Open(Target& target,
                                                             const LoadOptions& options,
                                                             std::int64_t bytes) {
  if (target.data_dir().empty()) {
    return absl::InvalidArgumentError(
        "--cold-bytes needs a broker that this run starts: its files must leave the page cache");
  }
  ASSIGN_OR_RETURN(const std::string topic, target.MakeTopic(1));
  RETURN_IF_ERROR(Fill(target, topic, options, bytes));
  ForgetPages(target.data_dir());
  ASSIGN_OR_RETURN(auto load, ConsumeLoad::Open(target, topic, kPrefetchBytes));
  return std::unique_ptr<ColdReader>(new ColdReader(std::move(load)));
}

void ColdReader::Start() {
  thread_ = std::thread([this] { load_->Run(); });
}

absl::Status ColdReader::Stop() {
  load_->Stop();
  if (thread_.joinable()) thread_.join();
  return load_->status();
}

ColdReader::~ColdReader() { (void)Stop(); }

}  // namespace cairn::bench
