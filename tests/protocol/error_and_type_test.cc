#include <absl/container/flat_hash_set.h>
#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"
#include "protocol/limits.h"
#include "protocol/messages.h"
#include "protocol/types.h"

namespace cairn {
namespace {

constexpr std::uint16_t kLastCode = static_cast<std::uint16_t>(ErrorCode::kInternalTopic);

ErrorCode CodeAt(std::uint16_t number) { return static_cast<ErrorCode>(number); }

TEST_CASE("ErrorCode: every code has a name of its own", "[protocol][error_code]") {
  std::set<std::string_view> names;
  for (std::uint16_t number = 0; number <= kLastCode; ++number) {
    const std::string_view name = NameOf(CodeAt(number));
    INFO(number << " " << name);
    CHECK(names.insert(name).second);
    CHECK(name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == std::string_view::npos);
    CHECK(name != "UNKNOWN");
  }
  CHECK(NameOf(ErrorCode::kOutOfOrderSequence) == "OUT_OF_ORDER_SEQUENCE");
  CHECK(NameOf(CodeAt(kLastCode + 1)) == "UNKNOWN");
  CHECK(NameOf(CodeAt(65535)) == "UNKNOWN");
}

TEST_CASE("ErrorCode: every code survives the way through a status and over the wire",
          "[protocol][error_code]") {
  for (std::uint16_t number = 1; number <= kLastCode; ++number) {
    INFO(NameOf(CodeAt(number)));
    const absl::Status status = MakeError(CodeAt(number), "what and where");
    CHECK_FALSE(status.ok());
    CHECK(status.code() == StatusCodeOf(CodeAt(number)));
    CHECK(status.message() == "what and where");
    CHECK(CodeOf(status) == CodeAt(number));
    CHECK(IsTransient(status) == IsTransient(CodeAt(number)));
    CHECK(StatusFromWire(number, "what and where") == status);
  }
  CHECK(MakeError(ErrorCode::kOk, "").ok());
  CHECK(StatusFromWire(0, "").ok());
}

TEST_CASE("ErrorCode: a code of the future is an error that keeps its number",
          "[protocol][error_code]") {
  const absl::Status status = StatusFromWire(9999, "from tomorrow");
  CHECK(status.code() == absl::StatusCode::kUnknown);
  CHECK(CodeOf(status) == CodeAt(9999));
  CHECK_FALSE(IsTransient(status));
}

TEST_CASE("ErrorCode: trying again helps against these and no others", "[protocol][error_code]") {
  const std::set<ErrorCode> transient = {ErrorCode::kStorageFull, ErrorCode::kStopping,
                                         ErrorCode::kTooManyConnections,
                                         ErrorCode::kTooManyInFlight, ErrorCode::kTimedOut};
  for (std::uint16_t number = 0; number <= kLastCode; ++number) {
    INFO(NameOf(CodeAt(number)));
    CHECK(IsTransient(CodeAt(number)) == (transient.count(CodeAt(number)) == 1));
  }
}

TEST_CASE("ErrorCode: a status without one is given the nearest", "[protocol][error_code]") {
  CHECK(CodeOf(absl::OkStatus()) == ErrorCode::kOk);
  CHECK(CodeOf(absl::InternalError("")) == ErrorCode::kInternal);
  CHECK(CodeOf(absl::InvalidArgumentError("")) == ErrorCode::kInvalidRequest);
  CHECK(CodeOf(absl::OutOfRangeError("")) == ErrorCode::kOffsetOutOfRange);
  CHECK(CodeOf(absl::DeadlineExceededError("")) == ErrorCode::kTimedOut);
  CHECK(IsTransient(absl::UnavailableError("")));
  CHECK(IsTransient(absl::AbortedError("")));
  CHECK_FALSE(IsTransient(absl::InternalError("")));
  CHECK_FALSE(IsTransient(absl::OkStatus()));
}

TEST_CASE("Topic name: the rules, each at its edge", "[protocol][types]") {
  for (const std::string& good :
       {std::string("a"), std::string("A-Z_0.9"), std::string("..."), std::string(".a"),
        std::string("__internal"), std::string(kTopicNameBytesMax, 'x')}) {
    INFO(good);
    CHECK(CheckTopicName(good).ok());
  }
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("a b"),
        std::string("a\0b", 3), std::string("\xc3\xa4"), std::string("a\n"),
        std::string(kTopicNameBytesMax + 1, 'x')}) {
    INFO(bad);
    CHECK(CodeOf(CheckTopicName(bad)) == ErrorCode::kInvalidTopicName);
  }
  CHECK(IsInternalTopicName("__catalog"));
  CHECK_FALSE(IsInternalTopicName("_catalog"));
  CHECK_FALSE(IsInternalTopicName(""));
}

TEST_CASE("Topic id: text and bytes are the same id", "[protocol][types]") {
  const auto id = ParseTopicId("c0ffee00-1234-4abc-8def-001122334455");
  REQUIRE(id.ok());
  CHECK(id->bytes[0] == 0xc0);
  CHECK(id->bytes[4] == 0x12);
  CHECK(id->bytes[15] == 0x55);
  CHECK(ToString(*id) == "c0ffee00-1234-4abc-8def-001122334455");
  CHECK(FromWire(ToWire(*id)) == *id);
  CHECK(*ParseTopicId("C0FFEE00-1234-4ABC-8DEF-001122334455") == *id);
  for (const char* bad :
       {"", "c0ffee00", "c0ffee00-1234-4abc-8def-00112233445",
        "c0ffee0001234-4abc-8def-001122334455", "c0ffee00-1234-4abc-8def-0011223344555",
        "c0ffee00-1234-4abc-8def-00112233445g", "c0ffee00-1234-4abc-8def+001122334455",
        "-c0ffee0-1234-4abc-8def-001122334455"}) {
    INFO(bad);
    CHECK(ParseTopicId(bad).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("Topic id: new ones are random, version 4, and all different", "[protocol][types]") {
  absl::flat_hash_set<TopicId> seen;
  for (int i = 0; i < 200; ++i) {
    const TopicId id = NewTopicId();
    CHECK((id.bytes[6] & 0xf0) == 0x40);
    CHECK((id.bytes[8] & 0xc0) == 0x80);
    CHECK(seen.insert(id).second);
    CHECK(*ParseTopicId(ToString(id)) == id);
  }
}

TEST_CASE("Durability: the order is that of strength, and the wire keeps it", "[protocol][types]") {
  CHECK(Durability::kNone < Durability::kWritten);
  CHECK(Durability::kWritten < Durability::kDurable);
  for (const Durability durability :
       {Durability::kNone, Durability::kWritten, Durability::kDurable}) {
    CHECK(FromWire(ToWire(durability)) == durability);
  }
  CHECK(FromWire(static_cast<wire::Durability>(77)) == Durability::kNone);
  CHECK(ToString(Durability::kWritten) == "written");
}

}  // namespace
}  // namespace cairn
