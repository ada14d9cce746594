// Snapshots of producer tables, with the checksum of the file made right.
#include <cstddef>
#include <cstdint>

#include "protocol/check.h"
#include "storage/file_header.h"
#include "storage/producer_table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  using namespace cairn::storage;
  Bytes file(reinterpret_cast<const std::byte*>(data),
             reinterpret_cast<const std::byte*>(data) + size);
  if (size >= kFileBodyAt) FinishFile(file);
  const auto read = ProducerTable::FromSnapshot(file);
  if (!read.ok()) return 0;
  const Bytes written = read->first.Snapshot(read->second);
  const auto again = ProducerTable::FromSnapshot(written);
  CAIRN_CHECK(again.ok() && again->first == read->first && again->second == read->second);
  return 0;
}
