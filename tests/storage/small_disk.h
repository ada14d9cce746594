#pragma once

#include <filesystem>
#include <string>
#include <sys/mount.h>

#include "tests/storage/temp_dir.h"

namespace cairn::storage {

// A disk of a few MiB, where the process may mount one.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& size = "3m") {
    std::filesystem::create_directories(path());
    mounted_ = ::mount("tmpfs", path().c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (mounted_) ::umount2(path().c_str(), MNT_DETACH);
  }
  std::filesystem::path path() const { return temp_.path() / "data"; }
  bool is_mounted() const { return mounted_; }

 private:
  TempDir temp_;
  bool mounted_ = false;
};

}  // namespace cairn::storage
