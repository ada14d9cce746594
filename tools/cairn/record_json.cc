#include "tools/cairn/record_json.h"

#include <cstdint>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include <nlohmann/json.hpp>

#include "protocol/status.h"
#include "tools/cairn/base64.h"
#include "tools/cairn/json_writer.h"

namespace cairn::tools {
namespace {

using Json = nlohmann::json;

absl::Status BadField(std::string_view field, std::string_view want) {
  return absl::InvalidArgumentError(absl::StrFormat("field \"%s\" is not %s", field, want));
}

constexpr std::string_view kDataForms = "a string, null or {\"base64\":\"…\"}";

absl::StatusOr<std::optional<std::string>> DataOf(Json& json, std::string_view field) {
  if (json.is_null()) return std::optional<std::string>();
  if (json.is_string()) return std::optional(std::move(json.get_ref<std::string&>()));
  const auto base64 = json.is_object() ? json.find("base64") : json.end();
  if (!json.is_object() || base64 == json.end() || json.size() != 1 || !base64->is_string()) {
    return BadField(field, kDataForms);
  }
  std::optional<std::string> bytes = DecodeBase64(base64->get_ref<const std::string&>());
  if (!bytes.has_value()) return BadField(field, "valid base64 (RFC 4648, padded)");
  return bytes;
}

absl::StatusOr<std::vector<client::Header>> HeadersOf(Json& json) {
  std::vector<client::Header> headers;
  if (json.is_null()) return headers;
  if (!json.is_array() || json.size() % 2 != 0) {
    return BadField("headers", "an array of names and values in turn");
  }
  headers.reserve(json.size() / 2);
  for (std::size_t i = 0; i < json.size(); i += 2) {
    ASSIGN_OR_RETURN(std::optional<std::string> name, DataOf(json[i], "headers"));
    ASSIGN_OR_RETURN(std::optional<std::string> value, DataOf(json[i + 1], "headers"));
    if (!name.has_value()) return BadField("headers", "free of null names");
    headers.push_back({std::move(*name), std::move(value)});
  }
  return headers;
}

absl::StatusOr<Timestamp> TimestampOf(const Json& json) {
  if (json.is_null()) return kNoTimestamp;
  if (!json.is_number_integer() ||
      (json.is_number_unsigned() &&
       json.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max())) {
    return BadField("ts", "a whole number of milliseconds since 1970");
  }
  return Timestamp(json.get<std::int64_t>());
}

// Where a text stops being JSON; parse_error carries it, and nothing else does.
absl::Status WhyNotJson(std::string_view line) {
  try {
    if (!Json::parse(line).is_discarded()) return absl::InternalError("JSON after all");
  } catch (const Json::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrFormat("not JSON at byte %d", error.byte));
  }
  return absl::InvalidArgumentError("not JSON");
}

}  // namespace

void AppendRecordJson(const client::ConsumedRecord& record, std::string& out) {
  JsonWriter json(out);
  json.BeginObject();
  json.Key("topic").Text(record.topic);
  json.Key("partition").Int(record.partition.value());
  json.Key("offset").Int(record.offset.value());
  json.Key("tstype").Text(record.is_append_time ? "logappend" : "create");
  json.Key("ts").Int(record.timestamp.value());
  json.Key("key").Data(record.key);
  json.Key("headers").BeginArray();
  for (const client::ConsumedHeader& header : record.headers) {
    json.Data(header.name).Data(header.value);
  }
  json.EndArray();
  json.Key("payload").Data(record.value);
  json.EndObject();
}

absl::StatusOr<ParsedRecord> ParseRecordJson(std::string_view line) {
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return WhyNotJson(line);
  if (!json.is_object()) return absl::InvalidArgumentError("not a JSON object");
  const auto payload = json.find("payload");
  if (payload == json.end()) {
    return absl::InvalidArgumentError("no field \"payload\" (null stands for a null value)");
  }
  ParsedRecord record;
  ASSIGN_OR_RETURN(record.value, DataOf(*payload, "payload"));
  if (const auto key = json.find("key"); key != json.end()) {
    ASSIGN_OR_RETURN(record.key, DataOf(*key, "key"));
  }
  if (const auto headers = json.find("headers"); headers != json.end()) {
    ASSIGN_OR_RETURN(record.headers, HeadersOf(*headers));
  }
  if (const auto ts = json.find("ts"); ts != json.end()) {
    ASSIGN_OR_RETURN(record.timestamp, TimestampOf(*ts));
  }
  return record;
}

}  // namespace cairn::tools
