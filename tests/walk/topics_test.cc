// Looking around and administration through the socket.

#include <algorithm>
#include <map>

#include <catch2/catch.hpp>

#include "tests/walk/running_server.h"

namespace cairn::test {
namespace {

std::string CodeName(const RawClient::Frame& frame) { return std::string(NameOf(frame.code())); }

RawClient::Frame Describe(RawClient& client, std::string_view name) {
  const auto text = ToWire(client.builder(), name);
  return client.Ask(wire::CreateDescribeTopic(client.builder(), text));
}

RawClient::Frame Delete(RawClient& client, std::string_view name) {
  const auto text = ToWire(client.builder(), name);
  return client.Ask(wire::CreateDeleteTopic(client.builder(), text));
}

RawClient::Frame Alter(RawClient& client, std::string_view name,
                       const std::vector<std::pair<std::string, std::string>>& configs,
                       std::int32_t partitions = 0, bool remap_keys = false) {
  auto& builder = client.builder();
  std::vector<flatbuffers::Offset<wire::ConfigEntry>> entries;
  for (const auto& [key, value] : configs) {
    const auto key_text = ToWire(builder, key);
    const auto value_text = ToWire(builder, value);
    entries.push_back(wire::CreateConfigEntry(builder, key_text, value_text));
  }
  const auto vector = builder.CreateVector(entries);
  const auto text = ToWire(builder, name);
  return client.Ask(wire::CreateAlterTopic(builder, text, vector, partitions, remap_keys));
}

RawClient::Frame Trim(RawClient& client, std::string_view name, std::int32_t partition,
                      std::int64_t before) {
  const auto text = ToWire(client.builder(), name);
  return client.Ask(wire::CreateTrimTopic(client.builder(), text, partition, before));
}

std::map<std::string, std::pair<std::string, bool>> ConfigsOf(const RawClient::Frame& frame) {
  std::map<std::string, std::pair<std::string, bool>> configs;
  for (const auto* entry : *frame.as<wire::TopicDescription>().configs()) {
    configs[std::string(FromWire(entry->name()))] = {std::string(FromWire(entry->value())),
                                                     entry->is_default()};
  }
  return configs;
}

// All topic names, page by page.
std::vector<std::string> ListTopics(RawClient& client, bool include_internal = false) {
  std::vector<std::string> names;
  for (bool more = true; more;) {
    auto& builder = client.builder();
    const auto after = ToWire(builder, names.empty() ? "" : names.back());
    const auto reply = client.Ask(wire::CreateMetadata(builder, 0, after, include_internal));
    const auto& page = reply.as<wire::MetadataReply>();
    for (const auto* topic : *page.topics()) names.emplace_back(FromWire(topic->name()));
    more = page.more();
    if (more) CHECK(page.topics()->size() > 0);
  }
  return names;
}

}  // namespace

TEST_CASE("Topics: a created topic is there, described, and survives a restart", "[walk]") {
  RunningServer server;
  TopicId id;
  {
    RawClient client = server.Connect();
    id = client.CreateTopic("orders", 3, {{"segment.bytes", "1048576"}});
  }
  for (int run = 0; run < 2; ++run) {
    RawClient client = server.Connect();
    const auto reply = Describe(client, "orders");
    const auto& topic = reply.as<wire::TopicDescription>();
    CHECK(FromWire(*topic.id()) == id);
    CHECK(FromWire(topic.name()) == "orders");
    CHECK(topic.created() > 1'700'000'000'000);
    REQUIRE(topic.partitions()->size() == 3);
    for (flatbuffers::uoffset_t p = 0; p < 3; ++p) {
      CHECK(topic.partitions()->Get(p)->partition() == static_cast<std::int32_t>(p));
      CHECK(topic.partitions()->Get(p)->code() == 0);
      CHECK(topic.partitions()->Get(p)->log_end() == 0);
    }
    REQUIRE(topic.history()->size() == 1);
    CHECK(topic.history()->Get(0)->partitions() == 3);
    const auto configs = ConfigsOf(reply);
    CHECK(configs.at("segment.bytes") == std::pair<std::string, bool>("1048576", false));
    CHECK(configs.at("durability") == std::pair<std::string, bool>("durable", true));
    if (run == 0) server.Restart();
  }
}

TEST_CASE("Topics: impossible ones are refused", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  client.CreateTopic("orders", 1);
  CHECK(CodeName(client.AskCreateTopic("orders", 1)) == "TOPIC_EXISTS");
  for (const char* name : {"", ".", "..", "a/b", "white space", "über"}) {
    INFO(name);
    CHECK(CodeName(client.AskCreateTopic(name, 1)) == "INVALID_TOPIC_NAME");
  }
  CHECK(CodeName(client.AskCreateTopic(std::string(201, 'a'), 1)) == "INVALID_TOPIC_NAME");
  CHECK(CodeName(client.AskCreateTopic("__mine", 1)) == "INTERNAL_TOPIC");
  for (const std::int32_t partitions : {0, -1, 10'001}) {
    CHECK(CodeName(client.AskCreateTopic("many", partitions)) == "INVALID_REQUEST");
  }
  const auto unknown = client.AskCreateTopic("odd", 1, {{"no.such.config", "1"}});
  CHECK(CodeName(unknown) == "INVALID_CONFIG");
  CHECK_THAT(unknown.text(), Catch::Contains("no.such.config") && Catch::Contains("segment.bytes"));
  CHECK(CodeName(client.AskCreateTopic("odd", 1, {{"segment.bytes", "many"}})) == "INVALID_CONFIG");
  CHECK(CodeName(client.AskCreateTopic("odd", 1, {{"flush.ms", "1"}, {"flush.ms", "2"}})) ==
        "INVALID_CONFIG");
  CHECK(ListTopics(client) == std::vector<std::string>{"orders"});
}

TEST_CASE("Topics: one that is deleted and made anew is another", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId first = client.CreateTopic("orders", 1);
  client.Produce(first, 0, MakeBatch({.count = 5}));
  Delete(client, "orders").as<wire::TopicDeleted>();
  CHECK(CodeName(Delete(client, "orders")) == "UNKNOWN_TOPIC");
  CHECK(CodeName(Describe(client, "orders")) == "UNKNOWN_TOPIC");
  const TopicId second = client.CreateTopic("orders", 1);
  CHECK(second != first);
  CHECK(CodeName(client.AskProduce(first, 0, MakeBatch({}))) == "UNKNOWN_TOPIC");
  CHECK(client.Produce(second, 0, MakeBatch({})).value() == 0);

  server.Restart();
  RawClient after = server.Connect();
  CHECK(ListTopics(after) == std::vector<std::string>{"orders"});
  CHECK(after.Produce(second, 0, MakeBatch({})).value() == 1);
}

TEST_CASE("Topics: internal ones are shown on request and cannot be administered", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  for (const std::string& name : ListTopics(client, true)) CHECK(IsInternalTopicName(name));
  CHECK(ListTopics(client).empty());
  CHECK(CodeName(Delete(client, "__catalog")) == "INTERNAL_TOPIC");
  CHECK(CodeName(Alter(client, "__catalog", {{"flush.ms", "5"}})) == "INTERNAL_TOPIC");
  CHECK(CodeName(Trim(client, "__catalog", 0, 0)) == "INTERNAL_TOPIC");
}

TEST_CASE("Topics: configs are changed and put back", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  const Bytes large = MakeBatch({.count = 2, .value_bytes = 1 << 20});
  CHECK(CodeName(client.AskProduce(topic, 0, large)) == "TOO_LARGE");
  Alter(client, "orders", {{"max.message.bytes", "4194304"}}).as<wire::TopicAltered>();
  CHECK(client.Produce(topic, 0, large).value() == 0);
  Alter(client, "orders", {{"max.message.bytes", ""}}).as<wire::TopicAltered>();
  CHECK(CodeName(client.AskProduce(topic, 0, large)) == "TOO_LARGE");
  CHECK(ConfigsOf(Describe(client, "orders")).at("max.message.bytes").second);

  CHECK(CodeName(Alter(client, "orders", {{"partitioner", "other"}})) == "INVALID_CONFIG");
  CHECK(CodeName(Alter(client, "orders", {{"preallocate", "true"}})) == "INVALID_CONFIG");
  CHECK(CodeName(Alter(client, "nothing", {{"flush.ms", "5"}})) == "UNKNOWN_TOPIC");
}

TEST_CASE("Topics: growing keeps what is there and needs to be meant", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 2);
  client.Produce(topic, 1, MakeBatch({.count = 3}));
  CHECK(CodeName(Alter(client, "orders", {}, 4)) == "INVALID_REQUEST");
  CHECK(CodeName(Alter(client, "orders", {}, 1, true)) == "INVALID_REQUEST");
  Alter(client, "orders", {}, 4, true).as<wire::TopicAltered>();
  CHECK(client.Produce(topic, 3, MakeBatch({})).value() == 0);
  CHECK(client.Produce(topic, 1, MakeBatch({})).value() == 3);
  const auto reply = Describe(client, "orders");
  const auto* history = reply.as<wire::TopicDescription>().history();
  REQUIRE(history->size() == 2);
  CHECK(history->Get(0)->partitions() == 2);
  CHECK(history->Get(1)->partitions() == 4);
  CHECK(history->Get(1)->epoch() > history->Get(0)->epoch());
}

TEST_CASE("Topics: a trim moves the start, and only forward", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  client.Produce(topic, 0, MakeBatch({.count = 10}));
  CHECK(Trim(client, "orders", 0, 4).as<wire::TopicTrimmed>().log_start() == 4);
  CHECK(Trim(client, "orders", 0, 2).as<wire::TopicTrimmed>().log_start() == 4);
  CHECK(CodeName(Trim(client, "orders", 0, 11)) == "OFFSET_OUT_OF_RANGE");
  CHECK(CodeName(Trim(client, "orders", 1, 0)) == "UNKNOWN_PARTITION");
  CHECK(CodeName(Trim(client, "nothing", 0, 0)) == "UNKNOWN_TOPIC");
  CHECK(NameOf(client.AskSubscribe(topic, 0, {.offset = 3}).code()) == "OFFSET_OUT_OF_RANGE");
  server.Restart();
  RawClient after = server.Connect();
  const auto reply = Describe(after, "orders");
  CHECK(reply.as<wire::TopicDescription>().partitions()->Get(0)->log_start() == 4);
  CHECK(Trim(after, "orders", 0, 10).as<wire::TopicTrimmed>().log_start() == 10);
  CHECK(after.Produce(topic, 0, MakeBatch({})).value() == 10);
}

TEST_CASE("Metadata: by name, by id, and what does not exist", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic =
      client.CreateTopic("orders", 3, {{"durability", "written"}, {"max.message.bytes", "5000"}});
  auto& builder = client.builder();
  const auto names = builder.CreateVectorOfStrings({"orders", "nothing"});
  const std::vector<wire::Uuid> ids = {ToWire(topic), ToWire(NewTopicId())};
  const auto id_vector = builder.CreateVectorOfStructs(ids);
  const auto reply = client.Ask(wire::CreateMetadata(builder, names, 0, false, id_vector));
  const auto& metadata = reply.as<wire::MetadataReply>();
  REQUIRE(metadata.brokers()->size() == 1);
  CHECK(FromWire(metadata.brokers()->Get(0)->host()) == "127.0.0.1");
  CHECK(metadata.brokers()->Get(0)->port() == server.port());
  REQUIRE(metadata.topics()->size() == 4);
  for (const flatbuffers::uoffset_t found : {0u, 2u}) {
    const auto& info = *metadata.topics()->Get(found);
    CHECK(FromWire(info.name()) == "orders");
    CHECK(FromWire(*info.id()) == topic);
    CHECK(info.code() == 0);
    CHECK(info.batch_bytes_max() == 5000);
    CHECK(info.durability() == wire::Durability::Written);
    REQUIRE(info.partitions()->size() == 3);
    CHECK(info.partitions()->Get(2)->leader() == metadata.brokers()->Get(0)->id());
  }
  for (const flatbuffers::uoffset_t missing : {1u, 3u}) {
    CHECK(NameOf(static_cast<ErrorCode>(metadata.topics()->Get(missing)->code())) ==
          "UNKNOWN_TOPIC");
  }
  CHECK(FromWire(metadata.topics()->Get(1)->name()) == "nothing");
}

TEST_CASE("Metadata: many topics come a page at a time", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  std::vector<std::string> made;
  // Pages end by size as well as by number: these are large.
  for (int i = 0; i < 12; ++i) {
    made.push_back("topic-" + std::to_string(100 + i));
    client.CreateTopic(made.back(), 9000);
  }
  CHECK(ListTopics(client) == made);
}

TEST_CASE("ListOffsets: ends, times, and unknown partitions in one answer", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 2);
  client.Produce(topic, 0, MakeBatch({.count = 5, .time = Timestamp(5000)}));
  auto& builder = client.builder();
  const std::vector<wire::OffsetQuery> queries = {{-1, 0}, {5002, 0}, {9999, 0},
                                                  {0, 1},  {-1, 2},   {0, 0}};
  const auto vector = builder.CreateVectorOfStructs(queries);
  const wire::Uuid id = ToWire(topic);
  const auto reply = client.Ask(wire::CreateListOffsets(builder, &id, vector));
  const auto& rows = *reply.as<wire::OffsetsReply>().partitions();
  REQUIRE(rows.size() == queries.size());
  const auto row = [&](flatbuffers::uoffset_t i) { return rows.Get(i); };
  CHECK(row(0)->log_start() == 0);
  CHECK(row(0)->committed_end() == 5);
  CHECK(row(0)->offset() == -1);
  CHECK(row(1)->offset() == 2);
  CHECK(row(1)->timestamp() == 5002);
  CHECK(row(2)->offset() == 5);
  CHECK(row(2)->timestamp() == -1);
  CHECK(row(3)->offset() == 0);
  CHECK(row(3)->committed_end() == 0);
  CHECK(row(3)->partition() == 1);
  CHECK(NameOf(static_cast<ErrorCode>(row(4)->code())) == "UNKNOWN_PARTITION");
  CHECK(row(5)->offset() == 0);
  CHECK(row(5)->timestamp() == 5000);

  const wire::Uuid other = ToWire(NewTopicId());
  CHECK(CodeName(client.Ask(wire::CreateListOffsets(builder, &other))) == "UNKNOWN_TOPIC");
}

TEST_CASE("ListOffsets: more than fits in one answer is refused", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 1);
  const std::vector<wire::OffsetQuery> queries(10'001, wire::OffsetQuery(-1, 0));
  const auto vector = client.builder().CreateVectorOfStructs(queries);
  const wire::Uuid id = ToWire(topic);
  CHECK(CodeName(client.Ask(wire::CreateListOffsets(client.builder(), &id, vector))) ==
        "INVALID_REQUEST");
}

TEST_CASE("Topics: the largest one can be described", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  const TopicId topic = client.CreateTopic("many", 10'000);
  const auto reply = Describe(client, "many");
  CHECK(reply.as<wire::TopicDescription>().partitions()->size() == 10'000);
  CHECK(client.Produce(topic, 9'999, MakeBatch({})).value() == 0);
}

TEST_CASE("Status: says what the broker has and that all is well", "[walk]") {
  RunningServer server;
  RawClient client = server.Connect();
  RawClient other = server.Connect();
  const TopicId topic = client.CreateTopic("orders", 3);
  client.Produce(topic, 0, MakeBatch({.count = 1, .value_bytes = 50'000}));
  const auto reply = client.Ask(wire::CreateStatus(client.builder()));
  const auto& status = reply.as<wire::StatusReply>();
  CHECK(status.topics() == 1);
  CHECK(status.partitions() == 3);
  CHECK(status.connections() == 2);
  CHECK(status.disk_used() > 50'000);
  CHECK(status.disk_total() >= status.disk_free());
  CHECK(status.disk_free() > 0);
  CHECK(FromWire(status.data_dir()) == server.options().data_dir.string());
  CHECK((status.problems() == nullptr || status.problems()->size() == 0));
  CHECK(status.pid() > 0);
}

}  // namespace cairn::test
