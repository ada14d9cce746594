#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "protocol/types.h"

namespace cairn::tools {

// One line of a file of offsets, as `reset-offsets --export` writes and `--from-file` reads it.
struct OffsetLine {
  std::string group;  // empty in the short shape
  std::string topic;
  PartitionIndex partition;
  std::optional<Offset> offset;  // nothing, written "-": no committed offset

  friend bool operator==(const OffsetLine&, const OffsetLine&) = default;
};

// Kafka's two shapes, without a head line: `topic,partition,offset` for one group and
// `group,topic,partition,offset` for several. A field with a comma, a quote or a blank at an end
// stands in double quotes, and a quote within is doubled. Empty lines count for nothing.
enum class OffsetCsvShape { kOneGroup, kGroups };

//   kInvalidArgument  a line in another shape than the first one, a bad number, a quote that is not
//                     closed, a partition that comes twice; names the line, the field and `name`
absl::StatusOr<std::vector<OffsetLine>> ParseOffsetCsv(std::string_view text,
                                                       std::string_view name);

std::string ToOffsetCsv(const std::vector<OffsetLine>& lines, OffsetCsvShape shape);

}  // namespace cairn::tools
