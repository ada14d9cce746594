#include "tools/cairn/record_format.h"

#include <string>

#include <catch2/catch.hpp>

#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

client::ConsumedRecord SomeRecord() {
  client::ConsumedRecord record;
  record.topic = "orders";
  record.partition = PartitionIndex(3);
  record.offset = Offset(42);
  record.timestamp = Timestamp(1000);
  record.key = "k";
  record.value = "value";
  record.headers = {{"a", "1"}, {"b", std::nullopt}};
  return record;
}

std::string Write(std::string_view format, const client::ConsumedRecord& record) {
  const auto parsed = RecordFormat::Parse(format);
  REQUIRE(parsed.ok());
  std::string out;
  parsed->Append(record, out);
  return out;
}

TEST_CASE("RecordFormat: every field and every escape", "[tools][format]") {
  CHECK(Write("%t:%p:%o:%T", SomeRecord()) == "orders:3:42:1000");
  CHECK(Write("%k=%v|%s", SomeRecord()) == "k=value|value");
  CHECK(Write("%K %S %h", SomeRecord()) == "1 5 a=1,b=");
  CHECK(Write("%%%v%%", SomeRecord()) == "%value%");
  CHECK(Write("\\n\\t\\r\\\\\\x41", SomeRecord()) == "\n\t\r\\A");
  CHECK(Write("\\0", SomeRecord()) == std::string(1, '\0'));
  CHECK(Write("", SomeRecord()).empty());
}

TEST_CASE("RecordFormat: null is written as nothing and has length -1", "[tools][format]") {
  client::ConsumedRecord record = SomeRecord();
  record.key = std::nullopt;
  record.value = "";
  CHECK(Write("[%k][%v] %K %S", record) == "[][] -1 0");
}

TEST_CASE("RecordFormat: what is not known is wrong usage", "[tools][format]") {
  for (const char* text : {"%", "%q", "%v%", "\\", "\\q", "\\x", "\\x4", "\\xzz"}) {
    INFO(text);
    const auto parsed = RecordFormat::Parse(text);
    REQUIRE_FALSE(parsed.ok());
    CHECK(IsUsageError(parsed.status()));
  }
}

}  // namespace
}  // namespace cairn::tools
