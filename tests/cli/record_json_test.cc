#include "tools/cairn/record_json.h"

#include <random>
#include <string>

#include <catch2/catch.hpp>

#include "tools/cairn/base64.h"
#include "tools/cairn/utf8.h"

namespace cairn::tools {
namespace {

ParsedRecord ThereAndBack(const client::ConsumedRecord& record) {
  std::string line;
  AppendRecordJson(record, line);
  REQUIRE(line.find('\n') == std::string::npos);
  const auto parsed = ParseRecordJson(line);
  INFO(line);
  REQUIRE(parsed.ok());
  return *parsed;
}

TEST_CASE("Record JSON: has kcat's names in kcat's order", "[tools][json]") {
  client::ConsumedRecord record;
  record.topic = "t";
  record.partition = PartitionIndex(1);
  record.offset = Offset(2);
  record.timestamp = Timestamp(3);
  record.key = "k\"";
  record.headers = {{"n", "v"}, {"m", std::nullopt}};
  record.value = "\xff";
  std::string line;
  AppendRecordJson(record, line);
  CHECK(line == R"({"topic":"t","partition":1,"offset":2,"tstype":"create","ts":3,"key":"k\"",)"
                R"("headers":["n","v","m",null],"payload":{"base64":"/w=="}})");
}

TEST_CASE("Record JSON: the broker's append time was called the time of creation",
          "[tools][json]") {
  client::ConsumedRecord record;
  record.is_append_time = true;
  std::string line;
  AppendRecordJson(record, line);
  CHECK(line.find(R"("tstype":"logappend")") != std::string::npos);
}

TEST_CASE("Record JSON: any bytes, null and empty survive the way there and back",
          "[tools][json]") {
  std::mt19937 random(20261124);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(random() % 40, '\0');
    // Bytes of the kinds that escapes and UTF-8 care about.
    for (char& c : bytes)
      c = static_cast<char>(random() % 3 == 0 ? random() % 256 : random() % 128);
    client::ConsumedRecord record;
    record.topic = "t";
    record.timestamp = Timestamp(i);
    if (i % 3 != 0) record.key = bytes;
    if (i % 5 != 0) record.value = bytes;
    record.headers = {{bytes, bytes}, {"n", std::nullopt}, {"", ""}};
    const ParsedRecord parsed = ThereAndBack(record);
    CHECK(parsed.key.has_value() == record.key.has_value());
    CHECK(parsed.key.value_or("") == record.key.value_or(""));
    CHECK(parsed.value.has_value() == record.value.has_value());
    CHECK(parsed.value.value_or("") == record.value.value_or(""));
    CHECK(parsed.timestamp == record.timestamp);
    REQUIRE(parsed.headers.size() == 3);
    CHECK(parsed.headers[0].name == bytes);
    CHECK(parsed.headers[0].value == bytes);
    CHECK_FALSE(parsed.headers[1].value.has_value());
    CHECK(parsed.headers[2].value == "");
  }
}

TEST_CASE("Base64: the vectors of RFC 4648, and nothing else", "[tools][json]") {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, packed] : vectors) {
    std::string out;
    AppendBase64(plain, out);
    CHECK(out == packed);
    CHECK(DecodeBase64(packed) == plain);
  }
  for (const char* bad :
       {"Z", "Zg", "Zg=", "Zg===", "=", "====", "Zh==", "Zm9=", "Z-==", "Zg==Zg==", "Zm 8="}) {
    INFO(bad);
    CHECK_FALSE(DecodeBase64(bad).has_value());
  }
}

TEST_CASE("UTF-8: shortest forms only, no surrogates, nothing beyond U+10FFFF", "[tools][json]") {
  for (const char* good : {"", "plain ascii of some length", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
                           "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
                           "\xf4\x8f\xbf\xbf", "12345678\xc3\xa9"}) {
    CHECK(IsUtf8(good));
  }
  for (const char* bad :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf", "\xe2\x82",
        "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
        "1234567\x80", "12345678\xe2\x28\xa1"}) {
    CHECK_FALSE(IsUtf8(bad));
  }
}

}  // namespace
}  // namespace cairn::tools
