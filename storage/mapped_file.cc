#include "storage/mapped_file.h"

#include <cerrno>
#include <sys/mman.h>

#include "absl/strings/str_format.h"

namespace cairn::storage {

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Map(const File& file,
                                                                  std::int64_t length) {
  if (length == 0) return std::shared_ptr<const MappedFile>(new MappedFile({}));
  const auto size = static_cast<std::size_t>(length);
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (address == MAP_FAILED) {
    if (errno != ENOMEM) return ErrnoError("map", file.path(), errno);
    return absl::UnavailableError(absl::StrFormat(
        "map %d bytes of %s: too many mappings or no address space left; vm.max_map_count bounds "
        "the first",
        length, file.path().string()));
  }
  return std::shared_ptr<const MappedFile>(
      new MappedFile({static_cast<const std::byte*>(address), size}));
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace cairn::storage
