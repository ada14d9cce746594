// Frontiers. Half of the inputs are taken as a whole file; the others as entries of 48 bytes whose
// checksums are made right.
#include <cstddef>
#include <cstdint>

#include "protocol/checksum.h"
#include "storage/frontier.h"
#include "tests/storage/damage.h"
#include "tests/storage/temp_dir.h"

namespace {

using namespace cairn;
using namespace cairn::storage;

const TopicId kCluster{{9}};
constexpr std::size_t kHeaderBytes = 32;
constexpr std::size_t kEntryBytes = 48;
constexpr std::size_t kEntryCrcAt = 20;

const Bytes& GoodHeader() {
  static const Bytes header = [] {
    const TempDir scratch(MemoryRoot());
    CAIRN_CHECK(Frontier::Open(scratch.path(), kCluster).ok());
    Bytes file = ReadBack(scratch.path() / "frontier");
    CAIRN_CHECK(file.size() >= kHeaderBytes);
    file.resize(kHeaderBytes);
    return file;
  }();
  return header;
}

Bytes BuildEntries(ByteView input) {
  Bytes file = GoodHeader();
  AppendBytes(file, input);
  for (std::size_t at = kHeaderBytes; at + kEntryBytes <= file.size(); at += kEntryBytes) {
    const MutableBytes entry = MutableBytes(file).subspan(at, kEntryBytes);
    if ((entry[kEntryCrcAt] & std::byte{0xf}) == std::byte{0xf}) continue;  // stays damaged
    StoreLe(entry, kEntryCrcAt, std::uint32_t{0});
    StoreLe(entry, kEntryCrcAt, Crc32c(entry));
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const TempDir scratch(MemoryRoot());
  if (size == 0) return 0;
  const ByteView input(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  const Bytes file = (data[0] & 1) != 0 ? BuildEntries(input) : Bytes(input.begin(), input.end());
  WriteFile(scratch.path() / "frontier", file);

  const auto looked = Frontier::OpenForReading(scratch.path(), kCluster);
  const auto opened = Frontier::Open(scratch.path(), kCluster);
  if (!opened.ok()) return 0;
  if (looked.ok()) {
    CAIRN_CHECK((*looked)->was_clean() == (*opened)->was_clean());
    for (const DurableEnd& end : (*looked)->All()) {
      const auto found = (*opened)->Find(end.partition);
      CAIRN_CHECK(found.has_value() && found->end == end.end);
    }
  }
  // It can be written to, and what it then says is read again.
  const DurableEnd mine{.partition = {TopicId{{1}}, PartitionIndex(3)},
                        .end = Offset(5),
                        .segment_base = Offset(0),
                        .position = 99};
  CAIRN_CHECK((*opened)->Note({&mine, 1}).ok());
  CAIRN_CHECK((*opened)->CloseClean().ok());
  const auto again = Frontier::OpenForReading(scratch.path(), kCluster);
  CAIRN_CHECK(again.ok() && (*again)->was_clean());
  CAIRN_CHECK((*again)->Find(mine.partition)->end == mine.end);
  return 0;
}
