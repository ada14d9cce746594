#include "protocol/types.h"

#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "protocol/error_code.h"

namespace cairn {
namespace {

TEST_CASE("Topic names: what is allowed and what is not", "[protocol][types]") {
  for (const std::string& name :
       {std::string("a"), std::string("orders"), std::string("A.b_c-9"), std::string("..."),
        std::string(".a"), std::string("__catalog"), std::string(200, 'x')}) {
    CAPTURE(name);
    CHECK(CheckTopicName(name).ok());
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("a b"),
        std::string("a\0b", 3), std::string("\xc3\xa4"), std::string("a:0"), std::string("a\n"),
        std::string(201, 'x')}) {
    CAPTURE(name);
    CHECK(CodeOf(CheckTopicName(name)) == ErrorCode::kInvalidTopicName);
  }
}

TEST_CASE("Topic names: two underscores belong to the broker", "[protocol][types]") {
  CHECK(IsInternalTopicName("__consumer_offsets"));
  CHECK(IsInternalTopicName("__"));
  CHECK_FALSE(IsInternalTopicName("_orders"));
  CHECK_FALSE(IsInternalTopicName("orders__"));
  CHECK_FALSE(IsInternalTopicName(""));
}

TEST_CASE("TopicId: text and back", "[protocol][types]") {
  const std::string text = "c0ffee00-1234-4abc-8def-001122334455";
  const auto id = ParseTopicId(text);
  REQUIRE(id.ok());
  CHECK(id->bytes[0] == 0xc0);
  CHECK(id->bytes[15] == 0x55);
  CHECK(ToString(*id) == text);
  CHECK(ParseTopicId("C0FFEE00-1234-4ABC-8DEF-001122334455").value() == *id);
}

TEST_CASE("TopicId: anything else is not an id", "[protocol][types]") {
  const std::string good = "c0ffee00-1234-4abc-8def-001122334455";
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const char c : {'g', ' ', '\0', good[at] == '-' ? '0' : '-'}) {
      std::string text = good;
      text[at] = c;
      CAPTURE(at, c);
      CHECK(absl::IsInvalidArgument(ParseTopicId(text).status()));
    }
    CHECK_FALSE(ParseTopicId(good.substr(0, at)).ok());
  }
  CHECK_FALSE(ParseTopicId(good + "0").ok());
}

TEST_CASE("TopicId: new ones are version 4 and differ", "[protocol][types]") {
  std::set<TopicId> ids;
  for (int i = 0; i < 1000; ++i) {
    const TopicId id = NewTopicId();
    CHECK(id.bytes[6] >> 4 == 4);
    CHECK(id.bytes[8] >> 6 == 2);
    ids.insert(id);
  }
  CHECK(ids.size() == 1000);
}

TEST_CASE("Durability: the order is that of strength", "[protocol][types]") {
  CHECK(Durability::kNone < Durability::kWritten);
  CHECK(Durability::kWritten < Durability::kDurable);
  CHECK(ToString(Durability::kNone) == "none");
  CHECK(ToString(Durability::kWritten) == "written");
  CHECK(ToString(Durability::kDurable) == "durable");
}

TEST_CASE("Error codes: each has a name of its own and travels in a status", "[protocol][error]") {
  std::set<std::string> names;
  for (int number = 1; number <= static_cast<int>(ErrorCode::kInternalTopic); ++number) {
    const auto code = static_cast<ErrorCode>(number);
    CAPTURE(number);
    CHECK(NameOf(code) != "UNKNOWN");
    names.insert(std::string(NameOf(code)));
    const absl::Status status = MakeError(code, "why");
    CHECK_FALSE(status.ok());
    CHECK(status.code() == StatusCodeOf(code));
    CHECK(status.message() == "why");
    CHECK(CodeOf(status) == code);
    CHECK(IsTransient(status) == IsTransient(code));
  }
  CHECK(names.size() == static_cast<std::size_t>(ErrorCode::kInternalTopic));
  CHECK(MakeError(ErrorCode::kOk, "").ok());
  CHECK(CodeOf(absl::OkStatus()) == ErrorCode::kOk);
}

TEST_CASE("Error codes: a disk that fails is not damage", "[protocol][error]") {
  CHECK_FALSE(absl::IsDataLoss(MakeError(ErrorCode::kStorageFailed, "read from x: EIO")));
  CHECK(absl::IsDataLoss(MakeError(ErrorCode::kPartitionOffline, "x at 7: checksum")));
}

TEST_CASE("Error codes: the ones that pass by themselves", "[protocol][error]") {
  const std::set<ErrorCode> transient = {ErrorCode::kStorageFull, ErrorCode::kStopping,
                                         ErrorCode::kTooManyConnections,
                                         ErrorCode::kTooManyInFlight, ErrorCode::kTimedOut};
  for (int number = 0; number <= static_cast<int>(ErrorCode::kInternalTopic); ++number) {
    const auto code = static_cast<ErrorCode>(number);
    CAPTURE(NameOf(code));
    CHECK(IsTransient(code) == transient.contains(code));
  }
}

TEST_CASE("Error codes: a number from a newer broker is kept, and is not transient",
          "[protocol][error]") {
  const auto newer = static_cast<ErrorCode>(777);
  CHECK(NameOf(newer) == "UNKNOWN");
  CHECK_FALSE(IsTransient(newer));
  const absl::Status status = MakeError(newer, "what a later version says");
  CHECK_FALSE(status.ok());
  CHECK(CodeOf(status) == newer);
}

TEST_CASE("Error codes: a status without one is given the nearest", "[protocol][error]") {
  CHECK(CodeOf(absl::InvalidArgumentError("")) == ErrorCode::kInvalidRequest);
  CHECK(CodeOf(absl::OutOfRangeError("")) == ErrorCode::kOffsetOutOfRange);
  CHECK(CodeOf(absl::DataLossError("")) == ErrorCode::kPartitionOffline);
  CHECK(CodeOf(absl::UnavailableError("")) == ErrorCode::kStopping);
  CHECK(CodeOf(absl::UnknownError("")) == ErrorCode::kInternal);
  CHECK(IsTransient(absl::UnavailableError("")));
  CHECK_FALSE(IsTransient(absl::ResourceExhaustedError("")));
  CHECK_FALSE(IsTransient(absl::OkStatus()));
}

}  // namespace
}  // namespace cairn
