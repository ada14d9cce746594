#include "storage/index_witness.h"

#include <algorithm>
#include <vector>

#include "protocol/status.h"
#include "storage/batch_scan.h"
#include "storage/index.h"

namespace cairn::storage {
namespace {

// The first entry of every index is the same.
constexpr std::size_t kTellingEntries = 2;

}  // namespace

absl::StatusOr<bool> IndexVouchesFor(const File& log, const std::filesystem::path& index_path,
                                     Offset base, const Expected& expected, bool cleaned) {
  const absl::StatusOr<Index> index = Index::Load(index_path, base, expected.length);
  const std::vector<Index::Entry> none;
  const std::vector<Index::Entry>& entries = index.ok() ? index->entries() : none;
  ASSIGN_OR_RETURN(const std::int64_t size, log.Size());
  BatchScan scan(log, {.end = std::min(size, expected.length),
                       .next_offset = base,
                       .depth = BatchScan::Depth::kHeaders,
                       .cleaned = cleaned});
  std::size_t told = 0;
  std::int64_t max_before = Index::kNothingBefore;
  auto entry = entries.begin();
  while (scan.Next()) {
    if (entry != entries.end() && entry->position == scan.batch_position()) {
      if (base + entry->offset_delta != scan.batch().base_offset() ||
          entry->max_timestamp_before != max_before) {
        return false;
      }
      ++told;
      ++entry;
    }
    max_before = std::max(max_before, scan.batch().max_timestamp().value());
  }
  if (!scan.status().ok() && !absl::IsDataLoss(scan.status())) return scan.status();
  // An entry that was passed over stands where no batch begins.
  if (entry != entries.end() && entry->position < scan.position()) return false;
  const bool ends_right =
      scan.position() == expected.length && scan.next_offset() == expected.next_offset;
  return ends_right || told >= kTellingEntries;
}

}  // namespace cairn::storage
