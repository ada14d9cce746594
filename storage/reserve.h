#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "storage/file.h"

namespace cairn::storage {

// Room for what must go on when the disk is full: DATA/reserve, a file of blocks that are really
// allocated. Whoever must write on gives up a piece of it. From then on, and from the moment a
// producer first met the full disk, room is short: producers are refused, so that they cannot eat
// what was given up, until the file is whole again and a little more is free besides.
//
// Threads: any. Is one of the few places that wait for the disk under a lock, and only while it is
// full.
class Reserve {
 public:
  // Opens or creates the file in `data_dir` and grows it to `bytes`; 0: nothing is kept. A disk
  // that has no room for that is no error: then room is short from the start.
  static absl::StatusOr<std::unique_ptr<Reserve>> Open(const std::filesystem::path& data_dir,
                                                       std::int64_t bytes);

  // OK, or ErrorCode::kStorageFull while room is short: for what must wait. Cheap. Always OK where
  // nothing is kept.
  absl::Status Admit() const;
  bool is_short() const { return short_.load(std::memory_order_relaxed); }

  // The disk was met full. Calls on_short if it was not known.
  void NoteFull();
  // Calls `write`, and again each time it says ErrorCode::kStorageFull and a piece could be given
  // up. What `write` left behind of itself must not matter.
  absl::Status Through(absl::FunctionRef<absl::Status()> write);

  // While room is short: tries to get it back; true when it is not short any more. Call it now and
  // then.
  bool Restore();

  // What is kept, and what should be.
  std::int64_t held() const { return held_.load(std::memory_order_relaxed); }
  std::int64_t bytes() const { return bytes_; }

  // Called each time room becomes short, by the thread that found it, perhaps with locks held; must
  // hand over quickly. At once if it is short already.
  void SetOnShort(absl::AnyInvocable<void()> on_short);

 private:
  Reserve(File file, std::int64_t bytes) : file_(std::move(file)), bytes_(bytes) {}
  bool GiveUp();
  absl::Status GrowLocked(std::int64_t size);
  std::int64_t Headroom() const;

  const File file_;
  const std::int64_t bytes_;
  std::atomic<bool> short_{false};
  std::atomic<std::int64_t> held_{0};  // written under mutex_

  std::mutex mutex_;  // guards the file's size
  std::mutex tell_mutex_;
  absl::AnyInvocable<void()> on_short_;  // guarded by tell_mutex_
};

}  // namespace cairn::storage
