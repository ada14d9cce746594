#define FUSE_USE_VERSION 31

#include "tests/support/fault_disk.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <new>
#include <signal.h>
#include <stdlib.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/check.h"
#include "protocol/status.h"
#include "tests/support/loop_mount.h"

namespace cairn::test {

// DiskState by the test and the process that serves the file.
struct DiskState {
  std::atomic<std::uint64_t> events{0};
  std::atomic<std::int64_t> journal_end{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<bool> fail_reads{false};
  std::atomic<bool> fail_writes{false};
  std::atomic<bool> fail_flushes{false};
  std::atomic<std::int64_t> fail_from{0};
  std::atomic<std::int64_t> fail_to{0};
  std::int64_t bytes = 0;
};

namespace {

constexpr std::string_view kDisk = "/disk";

// What stands before each event in the journal.
struct EventHeader {
  std::int64_t is_flush;
  std::int64_t position;
  std::int64_t size;
};

absl::Status Failed(const std::string& what) { return absl::ErrnoToStatus(errno, what); }

int MemoryFile(const char* name) { return ::memfd_create(name, MFD_CLOEXEC); }

}  // namespace

// ---- the process that serves the file ----

namespace {

struct Server {
  DiskState& state;
  int disk;
  int journal;
};

Server& TheServer() { return *static_cast<Server*>(fuse_get_context()->private_data); }

bool MustFail(Server& server, const std::atomic<bool>& kind, std::int64_t position,
              std::size_t size) {
  const bool fails = kind.load() && position < server.state.fail_to.load() &&
                     position + static_cast<std::int64_t>(size) > server.state.fail_from.load();
  if (fails) ++server.state.failed;
  return fails;
}

void Record(Server& server, const EventHeader& header, const char* bytes) {
  const std::int64_t at = server.state.journal_end.load();
  const auto size = static_cast<std::size_t>(header.size);
  const bool written =
      ::pwrite(server.journal, &header, sizeof header, at) == ssize_t{sizeof header} &&
      ::pwrite(server.journal, bytes, size, at + std::int64_t{sizeof header}) == header.size;
  CAIRN_CHECK(written);
  server.state.journal_end.store(at + std::int64_t{sizeof header} + header.size);
  ++server.state.events;
}

int GetAttributes(const char* path, struct stat* out, fuse_file_info*) {
  *out = {};
  if (std::string_view(path) == "/") {
    out->st_mode = S_IFDIR | 0700;
    out->st_nlink = 2;
    return 0;
  }
  if (path != kDisk) return -ENOENT;
  out->st_mode = S_IFREG | 0600;
  out->st_nlink = 1;
  out->st_size = TheServer().state.bytes;
  return 0;
}

int Open(const char* path, fuse_file_info* file) {
  if (path != kDisk) return -ENOENT;
  file->direct_io = 1;
  return 0;
}

int Read(const char*, char* out, std::size_t size, off_t at, fuse_file_info*) {
  Server& server = TheServer();
  if (MustFail(server, server.state.fail_reads, at, size)) return -EIO;
  const ssize_t got = ::pread(server.disk, out, size, at);
  return got < 0 ? -errno : static_cast<int>(got);
}

int Write(const char*, const char* bytes, std::size_t size, off_t at, fuse_file_info*) {
  Server& server = TheServer();
  if (MustFail(server, server.state.fail_writes, at, size)) return -EIO;
  if (::pwrite(server.disk, bytes, size, at) != static_cast<ssize_t>(size)) return -EIO;
  Record(server, {.is_flush = 0, .position = at, .size = static_cast<std::int64_t>(size)}, bytes);
  return static_cast<int>(size);
}

int Flush(const char*, int, fuse_file_info*) {
  Server& server = TheServer();
  if (server.state.fail_flushes.load()) {
    ++server.state.failed;
    return -EIO;
  }
  Record(server, {.is_flush = 1, .position = 0, .size = 0}, nullptr);
  return 0;
}

// Never returns. `ready` is closed after a byte when the file is there.
[[noreturn]] void Serve(Server server, const std::string& directory, int ready) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  fuse_operations operations{};
  operations.getattr = GetAttributes;
  operations.open = Open;
  operations.read = Read;
  operations.write = Write;
  operations.fsync = Flush;
  std::string name = "fault_disk";
  char* words[] = {name.data(), nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(1, words);
  fuse* const fuse = fuse_new(&arguments, &operations, sizeof operations, &server);
  if (fuse != nullptr && fuse_mount(fuse, directory.c_str()) == 0) {
    if (::write(ready, "!", 1) == 1) {
      ::close(ready);
      fuse_loop(fuse);
    }
  }
  ::_exit(0);
}

}  // namespace

// ---- the test's side ----

std::optional<std::string> FaultDisk::Unavailable() {
  if (::geteuid() != 0) return "a FUSE-backed disk needs root";
  if (::access("/dev/fuse", R_OK | W_OK) != 0) return "there is no /dev/fuse";
  const auto tried = Make(1 << 20);
  if (!tried.ok()) return std::string(tried.status().message());
  return std::nullopt;
}

absl::StatusOr<std::unique_ptr<FaultDisk>> FaultDisk::Make(std::int64_t bytes) {
  RETURN_IF_ERROR(LeaveTheMachinesMounts());
  void* const memory =
      ::mmap(nullptr, sizeof(DiskState), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Failed("mmap");
  auto* const shared = new (memory) DiskState();
  shared->bytes = bytes;
  const int disk = MemoryFile("disk");
  const int journal = MemoryFile("journal");
  if (disk < 0 || journal < 0 || ::ftruncate(disk, bytes) != 0) return Failed("memfd_create");
  std::string directory =
      (std::filesystem::temp_directory_path() / "cairn-fault-disk-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) return Failed(directory);
  std::array<int, 2> ready;
  if (::pipe2(ready.data(), O_CLOEXEC) != 0) return Failed("pipe");
  const pid_t server = ::fork();
  if (server < 0) return Failed("fork");
  if (server == 0) {
    Serve({.state = *shared, .disk = disk, .journal = journal}, directory, ready[1]);
  }
  ::close(disk);
  ::close(ready[1]);
  char byte = 0;
  const bool is_ready = ::read(ready[0], &byte, 1) == 1;
  ::close(ready[0]);
  std::unique_ptr<FaultDisk> made(new FaultDisk(directory, shared, journal, server));
  if (!is_ready) return absl::UnavailableError("FUSE cannot mount here");
  return made;
}

FaultDisk::FaultDisk(std::filesystem::path directory, DiskState* shared, int journal, pid_t server)
    : directory_(std::move(directory)), shared_(shared), journal_(journal), server_(server) {}

FaultDisk::~FaultDisk() {
  ::umount2(directory_.c_str(), MNT_DETACH);
  ::kill(server_, SIGKILL);
  ::waitpid(server_, nullptr, 0);
  ::rmdir(directory_.c_str());
  ::close(journal_);
  ::munmap(shared_, sizeof(DiskState));
}

std::uint64_t FaultDisk::events() const { return shared_->events.load(); }
std::uint64_t FaultDisk::failed() const { return shared_->failed.load(); }

std::vector<FaultDisk::Event> FaultDisk::Recording() const {
  std::vector<Event> events;
  const std::int64_t end = shared_->journal_end.load();
  for (std::int64_t at = 0; at < end;) {
    EventHeader header;
    CAIRN_CHECK(::pread(journal_, &header, sizeof header, at) == ssize_t{sizeof header});
    at += std::int64_t{sizeof header};
    Bytes bytes(static_cast<std::size_t>(header.size));
    CAIRN_CHECK(::pread(journal_, bytes.data(), bytes.size(), at) == header.size);
    at += header.size;
    events.push_back(
        {.is_flush = header.is_flush != 0, .position = header.position, .bytes = std::move(bytes)});
  }
  return events;
}

void FaultDisk::Fail(const Faults& faults) {
  shared_->fail_from = faults.from;
  shared_->fail_to = faults.to;
  shared_->fail_reads = faults.reads;
  shared_->fail_writes = faults.writes;
  shared_->fail_flushes = faults.flushes;
}

}  // namespace cairn::test
