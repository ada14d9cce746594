#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "protocol/bytes.h"
#include "protocol/check.h"

namespace cairn::fuzz {

// A directory of this process's own, in memory where the machine has that; removed at the end.
class ScratchDir {
 public:
  ScratchDir() {
    const char* root = std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp";
    std::string name = std::string(root) + "/cairn-fuzz-XXXXXX";
    CAIRN_CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void WriteFile(const std::filesystem::path& path, ByteView bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

inline Bytes ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const ByteView bytes = AsBytes(text);
  return Bytes(bytes.begin(), bytes.end());
}

}  // namespace cairn::fuzz
