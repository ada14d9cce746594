#include "storage/named_directory.h"

#include <system_error>

#include "absl/strings/str_format.h"

#include "storage/format_file.h"
#include "storage/internal_topics.h"
#include "storage/quarantine.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

}  // namespace

bool LooksLikeDataDirectory(const fs::path& path) {
  return Exists(path / kFormatFileName) || Exists(path / "frontier") ||
         Exists(path / absl::StrFormat("%s-0", kCatalogName));
}

absl::StatusOr<fs::path> NamedDirectory(const fs::path& path) {
  if (path.empty()) return absl::InvalidArgumentError("the directory's name is empty");
  fs::path root = fs::absolute(path).lexically_normal();
  if (!root.has_filename()) root = root.parent_path();
  std::error_code error;
  const fs::file_status status = fs::status(root, error);
  if (!fs::exists(status)) {
    return absl::NotFoundError(root.string() + ": there is no such directory");
  }
  if (!fs::is_directory(status)) {
    return absl::NotFoundError(root.string() + " is not a directory");
  }
  // Itself, or what was moved there.
  for (const fs::path& at : {root, root.parent_path()}) {
    if (at.filename() != kQuarantineName || !LooksLikeDataDirectory(at.parent_path())) continue;
    return absl::NotFoundError(
        absl::StrFormat("%s holds what was taken out of the data directory %s: use the latter",
                        at.string(), at.parent_path().string()));
  }
  return root;
}

}  // namespace cairn::storage
