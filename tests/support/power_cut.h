#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace cairn::faults {

// What a directory tree would be after a power cut, at its strictest: each file holds what it held
// when it was last synced, each directory the names it had then, and nothing else. Told of the
// tree's calls by faulty_calls.cc.
//
// A failed sync behaves as on Linux: the pages that were not written yet are clean from then on, so
// that reading still shows them and the next sync succeeds without them. Dropping a file's cached
// pages shows what is really there.
//
// Threads: any. One tree at a time; its files are small, for every sync copies one.
class PowerCut {
 public:
  static PowerCut& Get();

  // What stands in `root` now counts as durable; the calls below it are followed from here on.
  void Follow(const std::filesystem::path& root);
  void Stop();
  // Makes the tree anew at `target`, which must not exist, as it would be found after a power cut.
  void Restore(const std::filesystem::path& target) const;

  // Whether a sync below the root failed since Follow.
  bool sync_failed() const;

  // For faulty_calls.cc, after (the last: instead of) the call itself.
  void Synced(int descriptor);
  void SyncedAll();
  void Wrote(int descriptor, std::int64_t position, std::int64_t length);
  void DroppedCache(int descriptor);
  void SyncFailed(int descriptor);

 private:
  using Inode = std::uint64_t;
  struct Known {
    bool is_directory = false;
    std::string bytes;                   // of a file, as last synced
    std::set<std::int64_t> lost_pages;   // a sync of them failed; they only seem to be written
    std::map<std::string, Inode> names;  // of a directory
    int held = -1;                       // keeps the inode's number from being used again
  };

  void Learn(const std::filesystem::path& path);
  void Take(int descriptor);
  void TakeAll(const std::filesystem::path& path);
  void RestoreInto(Inode inode, const std::filesystem::path& target) const;
  bool IsFollowed(int descriptor) const;

  mutable std::mutex mutex_;
  std::filesystem::path root_;
  Inode root_inode_ = 0;
  bool sync_failed_ = false;
  std::map<Inode, Known> known_;
};

}  // namespace cairn::faults
