#include "tests/support/power_cut.h"

#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/check.h"

// The calls themselves, not those that faulty_calls.cc has put in their place.
extern "C" {
int __real_open(const char* path, int flags, ...);
int __real_fstat(int descriptor, struct stat* out);
ssize_t __real_pread(int descriptor, void* out, size_t size, off_t at);
ssize_t __real_pwrite(int descriptor, const void* bytes, size_t size, off_t at);
}

namespace cairn::faults {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPage = 4096;

struct stat StatOf(int descriptor) {
  struct stat info {};
  CAIRN_CHECK(__real_fstat(descriptor, &info) == 0);
  return info;
}

fs::path PathOf(int descriptor) {
  std::error_code error;
  return fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor), error);
}

std::string BytesOf(int descriptor) {
  std::string bytes(static_cast<std::size_t>(StatOf(descriptor).st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = __real_pread(descriptor, bytes.data() + done, bytes.size() - done,
                                     static_cast<off_t>(done));
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

// One page of `bytes`, with zeros behind their end.
std::string PageOf(const std::string& bytes, std::int64_t page) {
  const auto begin = std::min(static_cast<std::size_t>(page * kPage), bytes.size());
  std::string out = bytes.substr(begin, static_cast<std::size_t>(kPage));
  out.resize(static_cast<std::size_t>(kPage), '\0');
  return out;
}

void PutPage(std::string& bytes, std::int64_t page, const std::string& contents) {
  const auto begin = static_cast<std::size_t>(page * kPage);
  if (begin >= bytes.size()) return;
  const std::size_t length = std::min(static_cast<std::size_t>(kPage), bytes.size() - begin);
  bytes.replace(begin, length, contents, 0, length);
}

}  // namespace

PowerCut& PowerCut::Get() {
  static PowerCut power_cut;
  return power_cut;
}

void PowerCut::Follow(const fs::path& root) {
  Stop();
  const std::lock_guard lock(mutex_);
  root_ = fs::canonical(root);
  const int descriptor = __real_open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CAIRN_CHECK(descriptor >= 0);
  root_inode_ = StatOf(descriptor).st_ino;
  ::close(descriptor);
  sync_failed_ = false;
  TakeAll(root_);
}

void PowerCut::Stop() {
  const std::lock_guard lock(mutex_);
  for (auto& [inode, known] : known_) ::close(known.held);
  known_.clear();
  root_.clear();
}

bool PowerCut::IsFollowed(int descriptor) const {
  if (root_.empty()) return false;
  const std::string path = PathOf(descriptor).string();
  return path.compare(0, root_.string().size(), root_.string()) == 0;
}

// Holds on to an inode, so that its number stays its own.
void PowerCut::Learn(const fs::path& path) {
  const int descriptor = __real_open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  const struct stat info = StatOf(descriptor);
  Known& known = known_[info.st_ino];
  if (known.held >= 0) {
    ::close(descriptor);
    return;
  }
  known.held = descriptor;
  known.is_directory = S_ISDIR(info.st_mode);
}

void PowerCut::Take(int descriptor) {
  const fs::path path = PathOf(descriptor);
  Learn(fs::path("/proc/self/fd") / std::to_string(descriptor));
  Known& known = known_[StatOf(descriptor).st_ino];
  if (known.is_directory) {
    known.names.clear();
    for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
      struct stat info {};
      if (::lstat(entry.path().c_str(), &info) != 0) continue;
      Learn(entry.path());
      known.names[entry.path().filename().string()] = info.st_ino;
    }
    return;
  }
  std::string bytes = BytesOf(descriptor);
  for (const std::int64_t page : known.lost_pages) PutPage(bytes, page, PageOf(known.bytes, page));
  known.bytes = std::move(bytes);
}

void PowerCut::TakeAll(const fs::path& path) {
  const int descriptor = __real_open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  Take(descriptor);
  const bool is_directory = known_[StatOf(descriptor).st_ino].is_directory;
  ::close(descriptor);
  if (!is_directory) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) TakeAll(entry.path());
}

bool PowerCut::sync_failed() const {
  const std::lock_guard lock(mutex_);
  return sync_failed_;
}

void PowerCut::Restore(const fs::path& target) const {
  const std::lock_guard lock(mutex_);
  CAIRN_CHECK(!root_.empty());
  RestoreInto(root_inode_, target);
}

void PowerCut::RestoreInto(Inode inode, const fs::path& target) const {
  const auto found = known_.find(inode);
  if (found == known_.end() || !found->second.is_directory) {
    std::ofstream file(target, std::ios::binary);
    if (found != known_.end()) file << found->second.bytes;
    return;
  }
  fs::create_directory(target);
  for (const auto& [name, each] : found->second.names) RestoreInto(each, target / name);
}

void PowerCut::Synced(int descriptor) {
  const std::lock_guard lock(mutex_);
  if (IsFollowed(descriptor)) Take(descriptor);
}

void PowerCut::SyncedAll() {
  const std::lock_guard lock(mutex_);
  if (!root_.empty()) TakeAll(root_);
}

void PowerCut::Wrote(int descriptor, std::int64_t position, std::int64_t length) {
  const std::lock_guard lock(mutex_);
  if (length <= 0 || !IsFollowed(descriptor)) return;
  const auto found = known_.find(StatOf(descriptor).st_ino);
  if (found == known_.end()) return;
  std::set<std::int64_t>& lost = found->second.lost_pages;
  lost.erase(lost.lower_bound(position / kPage), lost.upper_bound((position + length - 1) / kPage));
}

void PowerCut::DroppedCache(int descriptor) {
  const std::lock_guard lock(mutex_);
  if (!IsFollowed(descriptor)) return;
  const auto found = known_.find(StatOf(descriptor).st_ino);
  if (found == known_.end() || found->second.lost_pages.empty()) return;
  Known& known = found->second;
  const fs::path path = fs::path("/proc/self/fd") / std::to_string(descriptor);
  const int writing = __real_open(path.c_str(), O_WRONLY | O_CLOEXEC);
  CAIRN_CHECK(writing >= 0);
  std::string bytes = BytesOf(descriptor);
  for (const std::int64_t page : known.lost_pages) PutPage(bytes, page, PageOf(known.bytes, page));
  CAIRN_CHECK(__real_pwrite(writing, bytes.data(), bytes.size(), 0) ==
              static_cast<ssize_t>(bytes.size()));
  ::close(writing);
  known.lost_pages.clear();
}

void PowerCut::SyncFailed(int descriptor) {
  const std::lock_guard lock(mutex_);
  if (!IsFollowed(descriptor)) return;
  sync_failed_ = true;
  Learn(fs::path("/proc/self/fd") / std::to_string(descriptor));
  Known& known = known_[StatOf(descriptor).st_ino];
  if (known.is_directory) return;
  const std::string bytes = BytesOf(descriptor);
  const auto pages = (static_cast<std::int64_t>(bytes.size()) + kPage - 1) / kPage;
  for (std::int64_t page = 0; page < pages; ++page) {
    if (PageOf(bytes, page) != PageOf(known.bytes, page)) known.lost_pages.insert(page);
  }
}

}  // namespace cairn::faults
