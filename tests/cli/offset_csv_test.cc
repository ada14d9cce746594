#include "tools/cairn/offset_csv.h"

#include <random>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

namespace cairn::tools {
namespace {

OffsetLine Line(std::string group, std::string topic, std::int32_t partition, std::int64_t offset) {
  return {std::move(group), std::move(topic), PartitionIndex(partition), Offset(offset)};
}

std::vector<OffsetLine> Parsed(std::string_view text) {
  const auto lines = ParseOffsetCsv(text, "f.csv");
  INFO(lines.status());
  REQUIRE(lines.ok());
  return *lines;
}

std::string Refused(std::string_view text) {
  const auto lines = ParseOffsetCsv(text, "f.csv");
  REQUIRE_FALSE(lines.ok());
  CHECK(absl::IsInvalidArgument(lines.status()));
  return std::string(lines.status().message());
}

TEST_CASE("Offset CSV: reads both of Kafka's shapes", "[tools][csv]") {
  CHECK(Parsed("t,0,5\nt,1,17\n") == std::vector{Line("", "t", 0, 5), Line("", "t", 1, 17)});
  CHECK(Parsed("g,t,0,5\nh,t,0,6") == std::vector{Line("g", "t", 0, 5), Line("h", "t", 0, 6)});
  CHECK(Parsed("").empty());
}

TEST_CASE("Offset CSV: takes what other programs make of it", "[tools][csv]") {
  const std::vector expected = {Line("", "t", 0, 5), Line("", "u", 1, -7)};
  CHECK(Parsed("\xef\xbb\xbft,0,5\r\n\r\n\"u\", 1 ,-7\r\n   \r\n") == expected);
  CHECK(Parsed("\"a,b \"\"c\"\"\",t,0,1") == std::vector{Line("a,b \"c\"", "t", 0, 1)});
}

TEST_CASE("Offset CSV: writes both shapes, and a commit that is taken away", "[tools][csv]") {
  OffsetLine none = Line("g", "t", 1, 0);
  none.offset.reset();
  const std::vector lines = {Line("g", "t", 0, 5), none};
  CHECK(ToOffsetCsv(lines, OffsetCsvShape::kOneGroup) == "t,0,5\nt,1,-\n");
  CHECK(ToOffsetCsv(lines, OffsetCsvShape::kGroups) == "g,t,0,5\ng,t,1,-\n");
}

TEST_CASE("Offset CSV: what is written is read, whatever the names", "[tools][csv]") {
  std::mt19937 random(20261128);
  const std::string alphabet = "ab,\" -'\\;#.";
  const auto name = [&] {
    std::string text;
    do {
      text += alphabet[random() % alphabet.size()];
    } while (random() % 6 != 0);
    return text;
  };
  for (int round = 0; round < 500; ++round) {
    std::vector<OffsetLine> lines;
    for (std::int32_t i = 0; i < 5; ++i) {
      lines.push_back(Line(name(), name(), i, static_cast<std::int64_t>(random())));
      if (random() % 4 == 0) lines.back().offset.reset();
    }
    CHECK(Parsed(ToOffsetCsv(lines, OffsetCsvShape::kGroups)) == lines);
    for (OffsetLine& line : lines) line.group.clear();
    CHECK(Parsed(ToOffsetCsv(lines, OffsetCsvShape::kOneGroup)) == lines);
  }
}

TEST_CASE("Offset CSV: what is wrong is named by line and field", "[tools][csv]") {
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"topic,partition,offset", "f.csv line 1: partition 'partition' is not a number"},
           {"t,0,5\nt,-1,5", "line 2: partition '-1'"},
           {"t,0,5\n\nt,1,", "line 3: offset ''"},
           {"t,0,5x", "line 1: offset '5x'"},
           {"t,0,99999999999999999999", "line 1: offset '99999999999999999999'"},
           {"t,99999999999,0", "line 1: partition '99999999999'"},
           {",0,5", "line 1: the topic is empty"},
           {",t,0,5", "line 1: the group is empty"},
           {"t,0", "line 1: 2 fields"},
           {"t", "line 1: 1 field;"},
           {"g,t,0,5,6", "line 1: 5 fields"},
           {"t,0,5\ng,t,0,5", "line 2: some lines begin with a group"},
           {"t,0,5\nt,1,5\nt,0,6", "line 3: t:0 stands in line 1 already"},
           {"\"t,0,5", "line 1: a double quote is not closed"},
           {"\"t\"x,0,5", "line 1: a comma is missing after the quoted field 1"}}) {
    INFO(text);
    const std::string message = Refused(text);
    INFO(message);
    CHECK(message.find(words) != std::string::npos);
  }
}

}  // namespace
}  // namespace cairn::tools
