#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tools/cairn/json_writer.h"

namespace cairn::tools {

// One answer of a command: nothing, a number or a text.
class Cell {
 public:
  Cell() = default;
  // Not explicit: rows are written as lists.
  Cell(std::int64_t number) : kind_(Kind::kNumber), number_(number) {}
  Cell(std::int32_t number) : kind_(Kind::kNumber), number_(number) {}
  Cell(std::string text) : kind_(Kind::kText), text_(std::move(text)) {}

  bool is_number() const { return kind_ == Kind::kNumber; }
  std::string ToText() const;  // nothing is "-"
  void WriteJson(JsonWriter& json) const;

 private:
  enum class Kind { kNothing, kNumber, kText } kind_ = Kind::kNothing;
  std::int64_t number_ = 0;
  std::string text_;
};

// Rows under named columns, for people and for programs.
class Table {
 public:
  // In snake_case, as JSON has them; "current_offset" is headed CURRENT-OFFSET in text.
  explicit Table(std::vector<std::string> columns) : columns_(std::move(columns)) {}

  // Requires as many cells as columns.
  void AddRow(std::vector<Cell> row);
  bool empty() const { return rows_.empty(); }

  // Aligned, numbers to the right, two blanks between columns, a head line.
  void AppendText(std::string& out) const;
  // An array of objects.
  void WriteJson(JsonWriter& json) const;

 private:
  std::vector<std::string> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace cairn::tools
