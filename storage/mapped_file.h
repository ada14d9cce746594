#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "storage/file.h"
#include "storage/mapping_guard.h"

namespace cairn::storage {

// A read-only, shared mapping of the front of a file. It stays valid when the file is closed,
// renamed or unlinked, and shows what is written to the file later.
//
// The mapping may be longer than the file; whoever hands out parts of it knows how far the file
// reaches. Should the file be cut short under it, or a page of it not be readable, then zeros stand
// there and is_lost() says so: see MappingGuard.
class MappedFile {
 public:
  // Maps [0, length). length 0 gives empty bytes. Errors: as ErrnoError; kUnavailable when the
  // process has too many mappings (vm.max_map_count).
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Map(const File& file,
                                                               std::int64_t length);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  ByteView bytes() const { return bytes_; }

  // Whether what was read from bytes() before the call may have been zeros in the place of what the
  // file held. Once lost, for ever.
  bool is_lost() const { return guard_.has_value() && guard_->lost_at().has_value(); }
  // For who found it out by what stands at `at`, which is not what must stand there.
  void NoteLost(const std::byte* at) const { guard_->NoteLost(at - bytes_.data()); }
  // Touches every page of `part` of bytes(), which may wait for the disk.
  //   kDataLoss  it is lost; names the file and the first position
  absl::Status Probe(ByteView part) const;

 private:
  MappedFile(std::filesystem::path path, ByteView bytes);

  const std::filesystem::path path_;
  const ByteView bytes_;
  std::optional<MappingGuard> guard_;  // ends before the mapping does
};

}  // namespace cairn::storage
