#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

#include "protocol/bytes.h"
#include "storage/file.h"

namespace cairn::storage {

// A read-only, shared mapping of the front of a file. It stays valid when the file is closed,
// renamed or unlinked, and shows what is written to the file later.
//
// The mapping may be longer than the file; touching it past the file's end is SIGBUS, and so is
// touching what somebody cut off. Whoever hands out parts of it knows how far the file reaches.
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

 private:
  explicit MappedFile(ByteView bytes) : bytes_(bytes) {}

  ByteView bytes_;
};

}  // namespace cairn::storage
