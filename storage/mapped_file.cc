#include "storage/mapped_file.h"

#include <cerrno>
#include <sys/mman.h>

#include "absl/strings/str_format.h"

namespace cairn::storage {
namespace {

constexpr std::size_t kSmallestPage = 4096;

absl::Status TooMany(const File& file, std::int64_t length) {
  return absl::UnavailableError(absl::StrFormat(
      "map %d bytes of %s: too many mappings or no address space left; vm.max_map_count bounds "
      "the first",
      length, file.path().string()));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Map(const File& file,
                                                                  std::int64_t length) {
  const auto size = static_cast<std::size_t>(length);
  void* address = nullptr;
  if (size > 0) {
    address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    if (address == MAP_FAILED) {
      return errno == ENOMEM ? TooMany(file, length) : ErrnoError("map", file.path(), errno);
    }
  }
  std::shared_ptr<const MappedFile> mapping(
      new MappedFile(file.path(), {static_cast<const std::byte*>(address), size}));
  if (size > 0 && !mapping->guard_->is_active()) return TooMany(file, length);
  return mapping;
}

MappedFile::MappedFile(std::filesystem::path path, ByteView bytes)
    : path_(std::move(path)), bytes_(bytes) {
  if (!bytes_.empty()) guard_.emplace(bytes_);
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  guard_.reset();
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

absl::Status MappedFile::Probe(ByteView part) const {
  for (std::size_t at = 0; at < part.size() && !is_lost(); at += kSmallestPage) {
    (void)*static_cast<const volatile std::byte*>(&part[at]);
  }
  if (!part.empty()) (void)*static_cast<const volatile std::byte*>(&part.back());
  if (!is_lost()) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat(
      "%s, position %d: it was cut short while it was read, or the disk cannot read it",
      path_.string(), *guard_->lost_at()));
}

}  // namespace cairn::storage
