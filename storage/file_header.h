#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace cairn::storage {

// Every file but .log begins alike:
//
//   at  size  field
//    0     8  magic     eight letters that say which kind of file it is
//    8     4  version   of that kind's layout
//   12     4  crc       CRC-32C of what is covered, from byte 16 on
//
// What is covered is the header of a journal, and the whole file of any other kind.
enum FileHeaderField : std::size_t {
  kFileMagicAt = 0,
  kFileVersionAt = 8,
  kFileCrcAt = 12,
  kFileBodyAt = 16,
};

struct FileKind {
  std::string_view magic;  // eight letters
  std::uint32_t version = 1;
  std::string_view noun;  // for messages: "an index"
};

// Appends the first 16 bytes, the checksum still missing; and fills it in, once the rest is there.
void BeginFile(const FileKind& kind, Bytes& file);
void FinishFile(MutableBytes file);

// kDataLoss unless `covered` begins with that kind's magic and version, is at least bytes_min long
// and its checksum holds; `name` is what messages call the file.
absl::Status CheckFile(const FileKind& kind, std::string_view name, ByteView covered,
                       std::size_t bytes_min);

// The 16 bytes of an id at `position`, and back.
TopicId LoadId(ByteView bytes, std::size_t position);
void AppendId(Bytes& out, const TopicId& id);
// "c0ffee00-…/3"
std::string ToText(const TopicPartition& partition);

}  // namespace cairn::storage
