#include "tools/cairn/topic_scope.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

std::set<PartitionIndex> Partitions(std::initializer_list<std::int32_t> indexes) {
  std::set<PartitionIndex> partitions;
  for (const std::int32_t index : indexes) partitions.emplace(index);
  return partitions;
}

TopicScopes Parsed(const std::vector<std::string>& texts) {
  const auto scopes = ParseTopicScopes(texts);
  INFO(scopes.status());
  REQUIRE(scopes.ok());
  return *scopes;
}

TEST_CASE("Topic scope: a topic is all of its partitions or those that are named",
          "[tools][scope]") {
  CHECK(Parsed({}) == TopicScopes{});
  CHECK(Parsed({"orders"}) == TopicScopes{{"orders", {}}});
  CHECK(Parsed({"orders:7"}) == TopicScopes{{"orders", Partitions({7})}});
  CHECK(Parsed({"orders:2,0,1,2"}) == TopicScopes{{"orders", Partitions({0, 1, 2})}});
  CHECK(Parsed({"a", "b:1"}) == TopicScopes{{"a", {}}, {"b", Partitions({1})}});
}

TEST_CASE("Topic scope: what is said about one topic adds up", "[tools][scope]") {
  CHECK(Parsed({"t:0", "t:3,1"}) == TopicScopes{{"t", Partitions({0, 1, 3})}});
  CHECK(Parsed({"t:0", "t"}) == TopicScopes{{"t", {}}});
  CHECK(Parsed({"t", "t:0"}) == TopicScopes{{"t", {}}});
}

TEST_CASE("Topic scope: knows what lies in it", "[tools][scope]") {
  const TopicScopes scopes = Parsed({"all", "some:1,3"});
  CHECK(InScope(scopes, "all", PartitionIndex(9)));
  CHECK(InScope(scopes, "some", PartitionIndex(3)));
  CHECK_FALSE(InScope(scopes, "some", PartitionIndex(2)));
  CHECK_FALSE(InScope(scopes, "other", PartitionIndex(0)));
}

TEST_CASE("Topic scope: anything else is wrong usage that says what was meant to be a partition",
          "[tools][scope]") {
  for (const char* text : {"", ":0", "t:", "t:,", "t:0,", "t:,0", "t:0,,1", "t:-1", "t:x", "t:0-3",
                           "t: 1", "t:1:2", "t:99999999999", "t:+1"}) {
    INFO(text);
    const auto scopes = ParseTopicScopes({"good:1", text});
    REQUIRE_FALSE(scopes.ok());
    CHECK(IsUsageError(scopes.status()));
    CHECK(std::string(scopes.status().message()).find(text) != std::string::npos);
  }
  CHECK_FALSE(ParseTopicScopes({"t", "t:x"}).ok());
}

}  // namespace
}  // namespace cairn::tools
