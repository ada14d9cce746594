#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::tools {

// Appends JSON to a string, piece by piece, on one line; commas and colons are put where they
// belong. The caller opens and closes in the right order.
class JsonWriter {
 public:
  // `out` must outlive the writer.
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& BeginObject();
  JsonWriter& EndObject();
  JsonWriter& BeginArray();
  JsonWriter& EndArray();
  JsonWriter& Key(std::string_view name);

  // Text for people: bytes that are not UTF-8 are written as '?'.
  JsonWriter& Text(std::string_view text);
  // Data, without loss: a string if the bytes are UTF-8, else {"base64":"…"}; nothing: null.
  JsonWriter& Data(std::optional<std::string_view> bytes);
  JsonWriter& Int(std::int64_t value);
  JsonWriter& Bool(bool value);
  JsonWriter& Null();

 private:
  void BeforeValue();
  void Quoted(std::string_view utf8);

  std::string& out_;
  bool comma_due_ = false;
};

}  // namespace cairn::tools
