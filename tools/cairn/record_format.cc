#include "tools/cairn/record_format.h"

#include <cctype>
#include <charconv>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr std::string_view kFields = "tpokKvsSTh";

void AppendNumber(std::int64_t value, std::string& out) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

void AppendHeaders(const std::vector<client::ConsumedHeader>& headers, std::string& out) {
  bool first = true;
  for (const client::ConsumedHeader& header : headers) {
    if (!first) out += ',';
    first = false;
    out += header.name;
    out += '=';
    out += header.value.value_or("");
  }
}

std::int64_t LengthOf(std::optional<std::string_view> bytes) {
  return bytes.has_value() ? static_cast<std::int64_t>(bytes->size()) : -1;
}

void AppendField(char field, const client::ConsumedRecord& record, std::string& out) {
  switch (field) {
    case 't':
      out += record.topic;
      return;
    case 'p':
      return AppendNumber(record.partition.value(), out);
    case 'o':
      return AppendNumber(record.offset.value(), out);
    case 'T':
      return AppendNumber(record.timestamp.value(), out);
    case 'k':
      out += record.key.value_or("");
      return;
    case 'K':
      return AppendNumber(LengthOf(record.key), out);
    case 'S':
      return AppendNumber(LengthOf(record.value), out);
    case 'h':
      return AppendHeaders(record.headers, out);
    default:  // v and s: Parse lets nothing else through
      out += record.value.value_or("");
  }
}

// The character that an escape stands for; `rest` begins after the backslash and is moved past it.
absl::StatusOr<char> TakeEscape(std::string_view& rest) {
  const char letter = rest.empty() ? '\0' : rest.front();
  if (!rest.empty()) rest.remove_prefix(1);
  switch (letter) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case '0':
      return '\0';
    case '\\':
      return '\\';
    case 'x': {
      unsigned value = 0;
      const std::string_view digits = rest.substr(0, 2);
      const auto [end, error] =
          std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
      if (error != std::errc() || end != digits.data() + 2) break;
      rest.remove_prefix(2);
      return static_cast<char>(value);
    }
    default:
      break;
  }
  return UsageError("a backslash must be followed by n, t, r, 0, \\ or x and two hex digits");
}

}  // namespace

absl::StatusOr<RecordFormat> RecordFormat::Parse(std::string_view text) {
  RecordFormat format;
  std::string literal;
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '\\') {
      ASSIGN_OR_RETURN(const char escaped, TakeEscape(text));
      literal += escaped;
      continue;
    }
    if (c != '%') {
      literal += c;
      continue;
    }
    const std::string_view field = text.substr(0, 1);
    text.remove_prefix(field.size());
    if (field == "%") {
      literal += '%';
    } else if (!field.empty() && kFields.find(field) != std::string_view::npos) {
      if (!literal.empty()) format.pieces_.push_back({'\0', std::move(literal)});
      literal.clear();
      format.pieces_.push_back({field.front(), {}});
    } else {
      return UsageError(absl::StrFormat(
          "-f: %%%s is not known; use %%t %%p %%o %%T %%k %%K %%v %%s %%S %%h or %%%%", field));
    }
  }
  if (!literal.empty()) format.pieces_.push_back({'\0', std::move(literal)});
  return format;
}

void RecordFormat::Append(const client::ConsumedRecord& record, std::string& out) const {
  for (const Piece& piece : pieces_) {
    if (piece.field == '\0') {
      out += piece.literal;
    } else {
      AppendField(piece.field, record, out);
    }
  }
}

absl::StatusOr<std::string> Unescape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    char c = text.front();
    text.remove_prefix(1);
    if (c == '\\') {
      ASSIGN_OR_RETURN(c, TakeEscape(text));
    }
    out += c;
  }
  return out;
}

}  // namespace cairn::tools
