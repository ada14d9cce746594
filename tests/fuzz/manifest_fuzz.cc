// Manifests. Half of the inputs are taken as a whole file; the others as a list of entries whose
// lengths and checksums are made right, so that what stands behind them is reached.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "protocol/checksum.h"
#include "storage/file_header.h"
#include "storage/manifest.h"
#include "storage/manifest_entry.h"
#include "tests/storage/damage.h"
#include "tests/storage/temp_dir.h"

namespace {

using namespace cairn;
using namespace cairn::storage;

const LogIdentity kIdentity{
    .topic = TopicId{{7}}, .name = "orders", .partition = PartitionIndex(1)};
constexpr std::size_t kHeaderBytes = 40;

// An empty manifest as the library writes it.
const Bytes& GoodHeader(const std::filesystem::path& directory) {
  static const Bytes header = [&] {
    CAIRN_CHECK(Manifest::Create(directory, kIdentity).ok());
    Bytes file = ReadBack(directory / kManifestFileName);
    CAIRN_CHECK(file.size() == kHeaderBytes);
    return file;
  }();
  return header;
}

// [payload size][kind][payload …] … becomes entries with right lengths and checksums.
Bytes BuildEntries(ByteView input, Bytes file) {
  ByteReader reader(input);
  while (reader.remaining() >= 2) {
    const std::size_t size = reader.Le<std::uint8_t>() % 64;
    const ByteView body = reader.View(std::min(size + 1, reader.remaining()));
    Bytes covered;
    AppendLe(covered, static_cast<std::uint32_t>(body.size()));
    AppendBytes(covered, body);
    AppendLe(file, static_cast<std::uint32_t>(body.size()));
    AppendLe(file, Crc32c(covered));
    AppendBytes(file, body);
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TempDir scratch(MemoryRoot());
  const Bytes& header = GoodHeader(scratch.path());
  if (size == 0) return 0;
  const ByteView input(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  const Bytes file =
      (data[0] & 1) != 0 ? BuildEntries(input, header) : Bytes(input.begin(), input.end());
  WriteFile(scratch.path() / kManifestFileName, file);

  const auto contents = Manifest::Read(scratch.path());
  if (contents.ok()) {
    CAIRN_CHECK(contents->end + static_cast<std::int64_t>(contents->torn_tail.size()) ==
                static_cast<std::int64_t>(file.size()));
    for (std::size_t i = 1; i < contents->state.segments.size(); ++i) {
      CAIRN_CHECK(contents->state.segments[i - 1].base < contents->state.segments[i].base);
    }
  }
  const auto manifest = Manifest::Open(scratch.path(), kIdentity, (data[0] & 2) != 0);
  if (!manifest.ok()) return 0;
  CAIRN_CHECK(contents.ok() && contents->state == (*manifest)->state());
  if (!(*manifest)->torn_tail().empty()) CAIRN_CHECK((*manifest)->CutTornTail().ok());
  // Once cut, it is a good manifest that says the same.
  const auto again = Manifest::Open(scratch.path(), kIdentity, /*was_clean=*/true);
  CAIRN_CHECK(again.ok() && (*again)->state() == contents->state);
  return 0;
}
