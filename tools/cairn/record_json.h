#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "client/record.h"

namespace cairn::tools {

// One record as one line of JSON, with kcat's names:
//   {"topic":"orders","partition":0,"offset":7,"tstype":"create","ts":1795512600250,
//    "key":"k","headers":["name","value"],"payload":"v"}
// Keys, payloads, header names and header values are strings where they are UTF-8, else
// {"base64":"…"}; null is null, which is not "". Nothing is lost on the way to and fro.
void AppendRecordJson(const client::ConsumedRecord& record, std::string& out);

// A record read from such a line; owns its bytes.
struct ParsedRecord {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<client::Header> headers;
  Timestamp timestamp = kNoTimestamp;
};

// topic, partition, offset, tstype and names that are not known here are ignored; key, headers and
// ts may be left out (null, none, now).
//   kInvalidArgument  not such a line; says where or which field
absl::StatusOr<ParsedRecord> ParseRecordJson(std::string_view line);

}  // namespace cairn::tools
