#include "broker/groups/topic_pattern.h"

#include <catch2/catch.hpp>

namespace cairn::broker {
namespace {

TEST_CASE("Topic patterns: stars and question marks, and everything else as it is", "[groups]") {
  CHECK(MatchesTopicPattern("orders", "orders"));
  CHECK_FALSE(MatchesTopicPattern("orders", "orders2"));
  CHECK_FALSE(MatchesTopicPattern("orders", "order"));
  CHECK(MatchesTopicPattern("orders-*", "orders-eu"));
  CHECK(MatchesTopicPattern("orders-*", "orders-"));
  CHECK_FALSE(MatchesTopicPattern("orders-*", "orders"));
  CHECK(MatchesTopicPattern("*", "anything"));
  CHECK(MatchesTopicPattern("*", ""));
  CHECK(MatchesTopicPattern("a?c", "abc"));
  CHECK_FALSE(MatchesTopicPattern("a?c", "ac"));
  CHECK(MatchesTopicPattern("*-eu-*", "orders-eu-1-eu-2"));
  CHECK(MatchesTopicPattern("a*b*c", "axxbxxbxc"));
  CHECK_FALSE(MatchesTopicPattern("a*b*c", "axxbxxbx"));
  CHECK(MatchesTopicPattern("a.b", "a.b"));
  CHECK_FALSE(MatchesTopicPattern("a.b", "axb"));
}

TEST_CASE("Topic patterns: many stars take no time out of proportion", "[groups]") {
  std::string pattern, name(20'000, 'a');
  for (int i = 0; i < 100; ++i) pattern += "*a";
  CHECK_FALSE(MatchesTopicPattern(pattern + "b", name));
  CHECK(MatchesTopicPattern(pattern, name));
}

}  // namespace
}  // namespace cairn::broker
