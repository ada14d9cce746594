#include "tools/cairn/offset_csv.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/status.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::size_t kShortFields = 3;
constexpr std::size_t kLongFields = 4;

// A line of the file with the words for what is wrong in it.
struct Place {
  std::string_view name;
  std::size_t line;

  absl::Status Wrong(std::string_view what) const {
    return UsageError(absl::StrFormat("%s line %d: %s", name, line, what));
  }
  absl::Status WrongField(std::string_view field, std::string_view text,
                          std::string_view what) const {
    return Wrong(absl::StrFormat("%s '%s' %s", field, text, what));
  }
};

// What stands between the quote that begins at `text` and the one that closes it; `text` is left
// behind it.
absl::StatusOr<std::string> TakeQuoted(std::string_view& text, const Place& place) {
  std::string field;
  text.remove_prefix(1);
  while (true) {
    const std::size_t quote = text.find('"');
    if (quote == std::string_view::npos) return place.Wrong("a double quote is not closed");
    field += text.substr(0, quote);
    text.remove_prefix(quote + 1);
    if (text.empty() || text.front() != '"') return field;
    field += '"';
    text.remove_prefix(1);
  }
}

absl::StatusOr<std::vector<std::string>> SplitLine(std::string_view text, const Place& place) {
  std::vector<std::string> fields;
  while (true) {
    if (!text.empty() && text.front() == '"') {
      ASSIGN_OR_RETURN(std::string field, TakeQuoted(text, place));
      fields.push_back(std::move(field));
      if (!text.empty() && text.front() != ',') {
        return place.Wrong(
            absl::StrFormat("a comma is missing after the quoted field %d", fields.size()));
      }
    } else {
      const std::string_view field = text.substr(0, text.find(','));
      fields.emplace_back(field);
      text.remove_prefix(field.size());
    }
    if (text.empty()) return fields;
    text.remove_prefix(1);
  }
}

std::string_view WithoutBlanks(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

template <typename Number>
std::optional<Number> WholeNumber(std::string_view text) {
  const std::string_view digits = WithoutBlanks(text);
  Number value{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

absl::StatusOr<OffsetLine> ParseLine(std::string_view text, const Place& place) {
  ASSIGN_OR_RETURN(std::vector<std::string> fields, SplitLine(text, place));
  if (fields.size() != kShortFields && fields.size() != kLongFields) {
    return place.Wrong(
        absl::StrFormat("%d field%s; write topic,partition,offset or group,topic,partition,offset",
                        fields.size(), fields.size() == 1 ? "" : "s"));
  }
  OffsetLine line;
  std::size_t at = 0;
  if (fields.size() == kLongFields) {
    line.group = fields[at++];
    if (line.group.empty()) return place.Wrong("the group is empty");
  }
  line.topic = fields[at++];
  if (line.topic.empty()) return place.Wrong("the topic is empty");
  const auto partition = WholeNumber<std::int32_t>(fields[at]);
  if (!partition.has_value() || *partition < 0) {
    return place.WrongField("partition", fields[at], "is not a number from 0");
  }
  line.partition = PartitionIndex(*partition);
  ++at;
  if (WithoutBlanks(fields[at]) == "-") return line;
  const auto offset = WholeNumber<std::int64_t>(fields[at]);
  if (!offset.has_value()) {
    return place.WrongField("offset", fields[at], "is neither a number nor '-' for none");
  }
  line.offset = Offset(*offset);
  return line;
}

void AppendField(const std::string& field, std::string& out) {
  const bool plain = !field.empty() && field.find_first_of(",\"\r\n") == std::string::npos &&
                     field.front() != ' ' && field.back() != ' ';
  if (plain) {
    out += field;
    return;
  }
  out += '"';
  for (const char c : field) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

}  // namespace

absl::StatusOr<std::vector<OffsetLine>> ParseOffsetCsv(std::string_view text,
                                                       std::string_view name) {
  std::vector<OffsetLine> lines;
  std::map<std::tuple<std::string, std::string, PartitionIndex>, std::size_t> seen;
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    text.remove_prefix(kByteOrderMark.size());
  }
  for (Place place{name, 1}; !text.empty(); ++place.line) {
    const std::size_t newline = std::min(text.find('\n'), text.size());
    std::string_view row = text.substr(0, newline);
    text.remove_prefix(std::min(newline + 1, text.size()));
    if (!row.empty() && row.back() == '\r') row.remove_suffix(1);
    if (WithoutBlanks(row).empty()) continue;
    ASSIGN_OR_RETURN(OffsetLine line, ParseLine(row, place));
    if (!lines.empty() && line.group.empty() != lines.front().group.empty()) {
      return place.Wrong("some lines begin with a group and others do not");
    }
    const auto [first, is_new] =
        seen.emplace(std::tuple(line.group, line.topic, line.partition), place.line);
    if (!is_new) {
      return place.Wrong(absl::StrFormat("%s:%d stands in line %d already", line.topic,
                                         line.partition.value(), first->second));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string ToOffsetCsv(const std::vector<OffsetLine>& lines, OffsetCsvShape shape) {
  std::string text;
  for (const OffsetLine& line : lines) {
    if (shape == OffsetCsvShape::kGroups) {
      AppendField(line.group, text);
      text += ',';
    }
    AppendField(line.topic, text);
    text += absl::StrFormat(",%d,", line.partition.value());
    text += line.offset.has_value() ? absl::StrFormat("%d", line.offset->value()) : "-";
    text += '\n';
  }
  return text;
}

}  // namespace cairn::tools
