#include "tools/cairn/json_writer.h"

#include <charconv>

#include "tools/cairn/base64.h"
#include "tools/cairn/utf8.h"

namespace cairn::tools {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

void AppendEscaped(char c, std::string& out) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
  }
}

}  // namespace

void JsonWriter::BeforeValue() {
  if (comma_due_) out_ += ',';
  comma_due_ = true;
}

JsonWriter& JsonWriter::BeginObject() {
  BeforeValue();
  out_ += '{';
  comma_due_ = false;
  return *this;
}

JsonWriter& JsonWriter::EndObject() {
  out_ += '}';
  comma_due_ = true;
  return *this;
}

JsonWriter& JsonWriter::BeginArray() {
  BeforeValue();
  out_ += '[';
  comma_due_ = false;
  return *this;
}

JsonWriter& JsonWriter::EndArray() {
  out_ += ']';
  comma_due_ = true;
  return *this;
}

JsonWriter& JsonWriter::Key(std::string_view name) {
  Text(name);
  out_ += ':';
  comma_due_ = false;
  return *this;
}

void JsonWriter::Quoted(std::string_view utf8) {
  out_ += '"';
  std::size_t copied = 0;
  for (std::size_t at = 0; at < utf8.size(); ++at) {
    const auto c = static_cast<unsigned char>(utf8[at]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out_.append(utf8, copied, at - copied);
    AppendEscaped(utf8[at], out_);
    copied = at + 1;
  }
  out_.append(utf8, copied);
  out_ += '"';
}

JsonWriter& JsonWriter::Text(std::string_view text) {
  BeforeValue();
  if (IsUtf8(text)) {
    Quoted(text);
    return *this;
  }
  std::string ascii(text);
  for (char& c : ascii) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  Quoted(ascii);
  return *this;
}

JsonWriter& JsonWriter::Data(std::optional<std::string_view> bytes) {
  if (!bytes.has_value()) return Null();
  BeforeValue();
  if (IsUtf8(*bytes)) {
    Quoted(*bytes);
    return *this;
  }
  out_ += "{\"base64\":\"";
  AppendBase64(*bytes, out_);
  out_ += "\"}";
  return *this;
}

JsonWriter& JsonWriter::Int(std::int64_t value) {
  BeforeValue();
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  out_.append(digits, end);
  return *this;
}

JsonWriter& JsonWriter::Bool(bool value) {
  BeforeValue();
  out_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::Null() {
  BeforeValue();
  out_ += "null";
  return *this;
}

}  // namespace cairn::tools
