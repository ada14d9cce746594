#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/status/statusor.h"

#include "protocol/bytes.h"

namespace cairn::test {

struct DiskState;

// A disk that remembers: one file, served over FUSE by a process of its own, for a loop device with
// direct I/O and a real file system on it (LoopMount::On). It records every block written and every
// flush in the order in which they came, so that the disk can be made again as a power cut at any
// moment might have left it; and it fails what it is told to fail, with EIO.
//
// Everything on it must be unmounted before it is destroyed. Threads: Make and the destructor in
// one, while that is the only one; the rest from any.
class FaultDisk {
 public:
  // Why there can be none on this machine: not root, no /dev/fuse. Nothing: there can.
  static std::optional<std::string> Unavailable();
  // The file reads zeros; all of it is in memory.
  static absl::StatusOr<std::unique_ptr<FaultDisk>> Make(std::int64_t bytes);
  ~FaultDisk();

  FaultDisk(const FaultDisk&) = delete;
  FaultDisk& operator=(const FaultDisk&) = delete;

  std::filesystem::path image() const { return directory_ / "disk"; }

  struct Event {
    bool is_flush = false;  // what was written before is on the disk for good
    std::int64_t position = 0;
    Bytes bytes;
  };
  // How many there were so far. What was acknowledged by now rests on these alone.
  std::uint64_t events() const;
  std::vector<Event> Recording() const;

  // Reads, writes and flushes that fail from now on; reads and writes only in [from, to).
  struct Faults {
    bool reads = false;
    bool writes = false;
    bool flushes = false;
    std::int64_t from = 0;
    std::int64_t to = std::numeric_limits<std::int64_t>::max();
  };
  void Fail(const Faults& faults);
  void Heal() { Fail({}); }
  // How many have failed.
  std::uint64_t failed() const;

 private:
  FaultDisk(std::filesystem::path directory, DiskState* shared, int journal, pid_t server);

  const std::filesystem::path directory_;
  DiskState* const shared_;
  const int journal_;
  const pid_t server_;
};

}  // namespace cairn::test
