#pragma once

#include <filesystem>
#include <stdlib.h>
#include <string>
#include <unistd.h>

#include "protocol/check.h"

namespace cairn::storage {

// Where thousands of syncs cost nothing: in memory, on a machine that has a place for that.
inline std::filesystem::path MemoryRoot() {
  const char* memory = "/dev/shm";
  return ::access(memory, W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
}

// A directory of its own for one test case, gone with it.
class TempDir {
 public:
  explicit TempDir(const std::filesystem::path& root = std::filesystem::temp_directory_path()) {
    std::string pattern = (root / "cairn-test-XXXXXX").string();
    CAIRN_CHECK(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace cairn::storage
