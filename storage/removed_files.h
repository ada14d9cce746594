#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

#include "storage/file.h"
#include "storage/mapped_file.h"

namespace cairn::storage {

// Large files that have lost their names and wait to be freed. To free a whole one at once stalls
// the file system's journal, and with it group commits; so they are cut step by step, by a thread
// that may wait. Whoever still reads from a mapping of one keeps it, unless room is short: then it
// is cut under them. (What is held here is freed by the kernel when the process ends.)
//
// Threads: any; Step by one at a time.
class RemovedFiles {
 public:
  using Mappings = std::vector<std::weak_ptr<const MappedFile>>;

  // Removes the name. Where the file has another one, of a backup, that is all. A small file that
  // nobody reads is freed at once, any other one waits for Step. `mappings`: those by which it may
  // be read; nothing: the kernel is asked whether anybody has it open. OK if there is no such file.
  absl::Status Remove(const std::filesystem::path& path, std::optional<Mappings> mappings);

  // Cuts one step off one file; `even_if_read`: room is short. False: there is nothing (more) that
  // may be freed now.
  bool Step(bool even_if_read);
  bool empty() const;

  // Called when something was added; must hand over quickly.
  void SetOnAdded(absl::AnyInvocable<void()> on_added);

 private:
  struct Entry {
    File file;
    std::int64_t size = 0;
    std::optional<Mappings> mappings;
    bool is_read() const;
  };

  mutable std::mutex mutex_;  // not held while a file is cut
  std::vector<Entry> entries_;
  absl::AnyInvocable<void()> on_added_;
};

}  // namespace cairn::storage
