#include "tools/cairn/table.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/check.h"

namespace cairn::tools {
namespace {

std::string HeadOf(std::string_view column) {
  std::string head;
  for (const char c : column) {
    head += c == '_' ? '-' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return head;
}

void AppendLine(const std::vector<std::string>& texts, const std::vector<std::size_t>& widths,
                const std::vector<bool>& right, std::string& out) {
  std::string line;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) line += "  ";
    const std::string padding(widths[i] - texts[i].size(), ' ');
    line += right[i] ? padding + texts[i] : texts[i] + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out += line + '\n';
}

}  // namespace

std::string Cell::ToText() const {
  if (kind_ == Kind::kNothing) return "-";
  return is_number() ? absl::StrFormat("%d", number_) : text_;
}

void Cell::WriteJson(JsonWriter& json) const {
  switch (kind_) {
    case Kind::kNothing:
      json.Null();
      return;
    case Kind::kNumber:
      json.Int(number_);
      return;
    case Kind::kText:
      json.Text(text_);
      return;
  }
}

void Table::AddRow(std::vector<Cell> row) {
  CAIRN_CHECK(row.size() == columns_.size());
  rows_.push_back(std::move(row));
}

void Table::AppendText(std::string& out) const {
  std::vector<std::string> head;
  std::vector<std::size_t> widths;
  std::vector<bool> right;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    head.push_back(HeadOf(columns_[i]));
    widths.push_back(head.back().size());
    right.push_back(false);
    for (const auto& row : rows_) {
      widths[i] = std::max(widths[i], row[i].ToText().size());
      if (row[i].is_number()) right[i] = true;
    }
  }
  AppendLine(head, widths, right, out);
  for (const auto& row : rows_) {
    std::vector<std::string> texts;
    for (const Cell& cell : row) texts.push_back(cell.ToText());
    AppendLine(texts, widths, right, out);
  }
}

void Table::WriteJson(JsonWriter& json) const {
  json.BeginArray();
  for (const auto& row : rows_) {
    json.BeginObject();
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      json.Key(columns_[i]);
      row[i].WriteJson(json);
    }
    json.EndObject();
  }
  json.EndArray();
}

}  // namespace cairn::tools
