#include "broker/catalog/topic_config.h"

#include <catch2/catch.hpp>

#include "protocol/error_code.h"

namespace cairn::broker {
namespace {

using Catch::Matchers::Contains;

std::string Text(const absl::Status& status) { return std::string(status.message()); }

TEST_CASE("Topic configs: without any, the defaults of the design hold", "[broker][catalog]") {
  const auto options = ResolveTopicConfigs({});
  REQUIRE(options.ok());
  CHECK(options->partition.log.segment_bytes == std::int64_t{1} << 30);
  CHECK(options->partition.log.segment_ms == 604'800'000);
  CHECK(options->batch_bytes_max == (1 << 20) + 12);
  CHECK(options->partition.durability == Durability::kDurable);
  CHECK(options->partition.flush_ms == 1000);
  CHECK_FALSE(options->validate_full);
}

TEST_CASE("Topic configs: each goes where it acts", "[broker][catalog]") {
  const auto options = ResolveTopicConfigs({{"segment.bytes", "1048576"},
                                            {"segment.ms", "60000"},
                                            {"max.message.bytes", "2000000"},
                                            {"durability", "written"},
                                            {"flush.ms", "50"},
                                            {"partitioner", "xxh3"},
                                            {"retention.ms", "-1"},
                                            {"retention.bytes", "1000000"},
                                            {"cleanup.policy", "compact,delete"},
                                            {"validate.records", "full"}});
  REQUIRE(options.ok());
  CHECK(options->partition.log.segment_bytes == 1 << 20);
  CHECK(options->partition.log.segment_ms == 60'000);
  CHECK(options->batch_bytes_max == 2'000'000);
  CHECK(options->partition.durability == Durability::kWritten);
  CHECK(options->partition.flush_ms == 50);
  CHECK(options->validate_full);
  CHECK(options->partition.retention == storage::RetentionPolicy{.ms = -1, .bytes = 1'000'000});
  CHECK(options->partition.cleanup == CleanupPolicy::kCompactAndDelete);
}

TEST_CASE("Topic configs: what is refused is named, with what is known", "[broker][catalog]") {
  const std::map<std::string, std::string> refused = {{"segment.bytes", "1"},
                                                      {"segment.bytes", "1e6"},
                                                      {"segment.ms", ""},
                                                      {"max.message.bytes", "-1"},
                                                      {"max.message.bytes", "99999999999"},
                                                      {"durability", "maybe"},
                                                      {"flush.ms", "10s"},
                                                      {"partitioner", "murmur2"},
                                                      {"validate.records", "never"},
                                                      {"retention.ms", "-2"},
                                                      {"retention.bytes", "1 GiB"},
                                                      {"cleanup.policy", "compress"},
                                                      {"preallocate", "true"},
                                                      {"no.such.config", "1"}};
  for (const auto& [name, value] : refused) {
    const auto options = ResolveTopicConfigs({{name, value}});
    INFO(name << "=" << value);
    REQUIRE_FALSE(options.ok());
    CHECK(CodeOf(options.status()) == ErrorCode::kInvalidConfig);
    CHECK_THAT(Text(options.status()), Contains(name));
    for (const TopicConfigRow& row : TopicConfigRows()) {
      CHECK_THAT(Text(options.status()), Contains(std::string(row.name)));
    }
  }
  CHECK_THAT(Text(ResolveTopicConfigs({{"preallocate", "true"}}).status()),
             Contains("not available in this version"));
}

TEST_CASE("Topic configs: a change keeps the others, and an empty value is the default again",
          "[broker][catalog]") {
  const TopicConfigs before = {{"flush.ms", "50"}, {"segment.ms", "60000"}};
  const auto changed = ChangeTopicConfigs(before, {{"flush.ms", ""}, {"durability", "written"}});
  REQUIRE(changed.ok());
  CHECK(*changed == TopicConfigs{{"durability", "written"}, {"segment.ms", "60000"}});

  CHECK(CodeOf(ChangeTopicConfigs(before, {{"partitioner", "xxh3"}}).status()) ==
        ErrorCode::kInvalidConfig);
  CHECK(CodeOf(ChangeTopicConfigs(before, {{"flush.ms", "0"}}).status()) ==
        ErrorCode::kInvalidConfig);
  CHECK(CodeOf(ChangeTopicConfigs(before, {{"unheard.of", ""}}).status()) ==
        ErrorCode::kInvalidConfig);
}

TEST_CASE("Topic configs: describe shows every config, set or default", "[broker][catalog]") {
  const std::vector<ConfigInEffect> effect = ConfigsInEffect({{"flush.ms", "50"}});
  REQUIRE(effect.size() == TopicConfigRows().size());
  for (const ConfigInEffect& config : effect) {
    INFO(config.name);
    CHECK(config.is_default == (config.name != "flush.ms"));
    if (config.name == "flush.ms") CHECK(config.value == "50");
    if (config.name == "durability") CHECK(config.value == "durable");
  }
}

}  // namespace
}  // namespace cairn::broker
