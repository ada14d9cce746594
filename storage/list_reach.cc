#include "storage/list_reach.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace cairn::storage {
namespace {

// The last durable record is in it, as far as the list can tell: of a segment that is not sealed it
// does not know the end.
bool MayHold(const ManifestSegment& segment, const DurableEnd& durable) {
  if (durable.end == durable.segment_base) return segment.base < durable.end;
  if (segment.base == durable.segment_base) return true;
  return segment.sealed.has_value() && segment.base < durable.segment_base &&
         segment.sealed->next_offset > durable.segment_base;
}

}  // namespace

absl::Status CheckListReaches(const ManifestState& state, const DurableEnd& durable) {
  if (durable.end <= state.log_start) return absl::OkStatus();
  const bool reaches =
      std::any_of(state.segments.begin(), state.segments.end(),
                  [&](const ManifestSegment& segment) { return MayHold(segment, durable); });
  if (reaches) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat(
      "the list of segments has lost its end: expected the one at offset %d, for offsets up to %d "
      "are durable, found %d segments and none with them",
      durable.segment_base.value(), durable.end.value(), state.segments.size()));
}

}  // namespace cairn::storage
