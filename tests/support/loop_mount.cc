#include "tests/support/loop_mount.h"

#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "protocol/status.h"

namespace cairn::test {
namespace {

// FS_IOC_SHUTDOWN of ext4, XFS_IOC_GOINGDOWN of xfs; no header that user programs can have says so.
constexpr unsigned long kShutdown = 0x8004587d;
constexpr std::uint32_t kFlushJournal = 1;
constexpr std::uint32_t kLoseJournal = 2;

absl::Status Failed(const std::string& what) { return absl::ErrnoToStatus(errno, what); }

const char* NameOf(LoopMount::Kind kind) { return kind == LoopMount::Kind::kExt4 ? "ext4" : "xfs"; }

std::string MkfsOf(LoopMount::Kind kind) {
  for (const char* directory : {"/usr/sbin/", "/sbin/"}) {
    std::string program = std::string(directory) + "mkfs." + NameOf(kind);
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  return "";
}

// A file descriptor that is closed unless it is taken.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int Take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// An image without a name: gone with the last who has it open.
absl::StatusOr<int> MakeImage(const std::filesystem::path& directory, std::int64_t bytes) {
  const int image = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (image < 0) return Failed("an image in " + directory.string());
  if (::ftruncate(image, bytes) != 0) {
    const absl::Status failed = Failed("an image in " + directory.string());
    ::close(image);
    return failed;
  }
  return image;
}

struct Loop {
  int fd;
  std::string device;
};

// Another process may take the free device that we were told of: then there is a next one.
absl::StatusOr<Loop> AttachLoop(int image, std::uint32_t flags) {
  const Descriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (control.get() < 0) return Failed("/dev/loop-control");
  for (int attempt = 0; attempt < 100; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return Failed("a free loop device");
    std::string device = absl::StrFormat("/dev/loop%d", number);
    Descriptor loop(::open(device.c_str(), O_RDWR | O_CLOEXEC));
    if (loop.get() < 0) return Failed(device);
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(image);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | flags;
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) {
      return Loop{loop.Take(), std::move(device)};
    }
    if (errno != EBUSY) return Failed(device);
  }
  return absl::UnavailableError("every free loop device was taken by somebody else first");
}

absl::Status RunMkfs(LoopMount::Kind kind, const std::string& device) {
  std::string program = MkfsOf(kind);
  std::vector<std::string> words{program, "-q"};
  if (kind == LoopMount::Kind::kExt4) {
    words.insert(words.end(), {"-F", "-E", "nodiscard"});
  } else {
    words.insert(words.end(), {"-f", "-K"});
  }
  words.push_back(device);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error =
      ::posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments.data(), environ);
  if (error != 0) return absl::ErrnoToStatus(error, program);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) {
    return absl::InternalError(absl::StrFormat("%s %s failed", program, device));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LeaveTheMachinesMounts() {
  thread_local bool left = false;
  if (left) return absl::OkStatus();
  if (::unshare(CLONE_NEWNS) != 0) return Failed("unshare(CLONE_NEWNS)");
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Failed("mount /");
  left = true;
  return absl::OkStatus();
}

std::optional<std::string> LoopMount::Unavailable(Kind kind) {
  if (::geteuid() != 0) return "a loop-mounted file system needs root";
  if (::access("/dev/loop-control", R_OK | W_OK) != 0) return "there is no /dev/loop-control";
  if (MkfsOf(kind).empty()) return absl::StrFormat("there is no mkfs.%s", NameOf(kind));
  const auto tried = Make(kind, std::int64_t{kind == Kind::kExt4 ? 16 : 320} << 20);
  if (!tried.ok()) {
    return absl::StrFormat("no %s can be loop-mounted: %s", NameOf(kind),
                           std::string(tried.status().message()));
  }
  return std::nullopt;
}

absl::StatusOr<std::unique_ptr<LoopMount>> LoopMount::Make(Kind kind, std::int64_t bytes,
                                                           const std::filesystem::path& image_dir) {
  RETURN_IF_ERROR(LeaveTheMachinesMounts());
  ASSIGN_OR_RETURN(const int opened, MakeImage(image_dir, bytes));
  const Descriptor image(opened);
  return MakeOn(kind, image.get(), 0, Contents::kFormat);
}

absl::StatusOr<std::unique_ptr<LoopMount>> LoopMount::On(Kind kind,
                                                         const std::filesystem::path& image,
                                                         Contents contents) {
  RETURN_IF_ERROR(LeaveTheMachinesMounts());
  const Descriptor opened(::open(image.c_str(), O_RDWR | O_CLOEXEC));
  if (opened.get() < 0) return Failed(image.string());
  return MakeOn(kind, opened.get(), LO_FLAGS_DIRECT_IO, contents);
}

absl::StatusOr<std::unique_ptr<LoopMount>> LoopMount::MakeOn(Kind kind, int image,
                                                             std::uint32_t loop_flags,
                                                             Contents contents) {
  ASSIGN_OR_RETURN(Loop loop, AttachLoop(image, loop_flags));
  Descriptor held(loop.fd);
  if (contents == Contents::kFormat) RETURN_IF_ERROR(RunMkfs(kind, loop.device));
  std::string pattern = (std::filesystem::temp_directory_path() / "cairn-mount-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return Failed(pattern);
  std::unique_ptr<LoopMount> made(
      new LoopMount(kind, held.Take(), std::move(loop.device), pattern));
  RETURN_IF_ERROR(made->Mount());
  return made;
}

LoopMount::LoopMount(Kind kind, int loop, std::string device, std::filesystem::path path)
    : kind_(kind), loop_(loop), device_(std::move(device)), path_(std::move(path)) {}

LoopMount::~LoopMount() {
  // Whoever still has a file open there keeps the file system alive, but not in our way.
  if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  ::close(loop_);
  ::rmdir(path_.c_str());
}

absl::Status LoopMount::CutPower(Journal journal) {
  const Descriptor root(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root.get() < 0) return Failed(path_.string());
  const std::uint32_t flag = journal == Journal::kWritten ? kFlushJournal : kLoseJournal;
  if (::ioctl(root.get(), kShutdown, &flag) != 0) return Failed("FS_IOC_SHUTDOWN");
  return absl::OkStatus();
}

absl::Status LoopMount::Remount() {
  RETURN_IF_ERROR(Unmount());
  return Mount();
}

absl::Status LoopMount::Mount() {
  if (::mount(device_.c_str(), path_.c_str(), NameOf(kind_), 0, nullptr) != 0) {
    return Failed("mount " + device_);
  }
  mounted_ = true;
  return absl::OkStatus();
}

// A process that was killed a moment ago may not have let go of everything yet.
absl::Status LoopMount::Unmount() {
  for (int attempt = 0; ::umount2(path_.c_str(), 0) != 0; ++attempt) {
    if (errno != EBUSY || attempt == 2000) return Failed("umount " + path_.string());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  mounted_ = false;
  return absl::OkStatus();
}

}  // namespace cairn::test
