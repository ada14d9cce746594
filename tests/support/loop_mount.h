#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cairn::test {

// Mounts that this thread makes from here on are seen by it and its descendants only, and go with
// them.
absl::Status LeaveTheMachinesMounts();

// A small file system of the kernel's own in an image file, whose power can be cut.
//
// Nothing is left behind, even by kill -9: the image has no name, its loop device frees itself, and
// the mount is visible only to the thread that made it, to threads and processes which that thread
// starts afterwards, and to whom they start. So make it before a server or a daemon that shall use
// it.
//
// Threads: one.
class LoopMount {
 public:
  enum class Kind { kExt4, kXfs };

  // Why there can be none on this machine: not root, no loop device, no mkfs. Nothing: there can.
  static std::optional<std::string> Unavailable(Kind kind);

  // `bytes`: at least 8 MiB for ext4 and 300 MiB for xfs; the image is sparse.
  static absl::StatusOr<std::unique_ptr<LoopMount>> Make(
      Kind kind, std::int64_t bytes,
      const std::filesystem::path& image_dir = std::filesystem::temp_directory_path());
  // On an image file that is there, formatted first or taken as it is, past the page cache: whoever
  // serves the file sees every write and flush. For an image of a FaultDisk, or of its recording.
  enum class Contents { kFormat, kKeep };
  static absl::StatusOr<std::unique_ptr<LoopMount>> On(Kind kind,
                                                       const std::filesystem::path& image,
                                                       Contents contents);
  ~LoopMount();

  LoopMount(const LoopMount&) = delete;
  LoopMount& operator=(const LoopMount&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // From this moment on nothing reaches the disk any more, and all that was not synced is lost; who
  // still uses the file system meets EIO. The journal in memory is written out before, or is not.
  enum class Journal { kWritten, kLost };
  absl::Status CutPower(Journal journal);
  // What comes after a power cut, once nobody has a file open there: what is on the disk, and only
  // that, is seen again.
  absl::Status Remount();

 private:
  static absl::StatusOr<std::unique_ptr<LoopMount>> MakeOn(Kind kind, int image,
                                                           std::uint32_t loop_flags,
                                                           Contents contents);
  LoopMount(Kind kind, int loop, std::string device, std::filesystem::path path);
  absl::Status Mount();
  absl::Status Unmount();

  const Kind kind_;
  const int loop_;  // keeps the device ours while it is not mounted
  const std::string device_;
  const std::filesystem::path path_;
  bool mounted_ = false;
};

}  // namespace cairn::test
