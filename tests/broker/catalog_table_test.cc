#include "broker/catalog/catalog_table.h"

#include <random>

#include <catch2/catch.hpp>

namespace cairn::broker {
namespace {

absl::Status ApplyTo(CatalogTable& table, const StateRecord& record) {
  std::optional<ByteView> value;
  if (record.value.has_value()) value = ByteView(*record.value);
  return table.Apply(record.key, value);
}

TopicRow Row(const std::string& name, std::int32_t partitions) {
  TopicRow row;
  row.id = NewTopicId();
  row.name = name;
  row.created = Timestamp(1234);
  row.history.push_back({0, partitions});
  return row;
}

TEST_CASE("CatalogTable: a topic comes back as it was written", "[broker][catalog]") {
  TopicRow row = Row("orders", 3);
  row.configs = {{"durability", "written"}, {"flush.ms", "20"}};
  row.history.push_back({1, 8});
  CatalogTable table;
  REQUIRE(ApplyTo(table, CatalogTable::TopicRecord(row)).ok());
  REQUIRE(table.Find("orders") != nullptr);
  CHECK(*table.Find("orders") == row);
  CHECK(*table.Find(row.id) == row);
  CHECK(table.Find("order") == nullptr);
}

TEST_CASE("CatalogTable: a deleted topic frees its name and is remembered until it is forgotten",
          "[broker][catalog]") {
  CatalogTable table;
  TopicRow old = Row("orders", 1);
  REQUIRE(ApplyTo(table, CatalogTable::TopicRecord(old)).ok());
  old.deleted = true;
  REQUIRE(ApplyTo(table, CatalogTable::TopicRecord(old)).ok());
  CHECK(table.Find("orders") == nullptr);
  CHECK(table.topics().count(old.id) == 1);

  const TopicRow next = Row("orders", 2);
  REQUIRE(ApplyTo(table, CatalogTable::TopicRecord(next)).ok());
  REQUIRE(ApplyTo(table, CatalogTable::TopicForgotten(old.id)).ok());
  REQUIRE(table.Find("orders") != nullptr);
  CHECK(table.Find("orders")->id == next.id);
  CHECK(table.topics().size() == 1);
}

TEST_CASE("CatalogTable: what is not one of its records is refused and changes nothing",
          "[broker][catalog]") {
  CatalogTable table;
  const TopicRow row = Row("orders", 1);
  REQUIRE(ApplyTo(table, CatalogTable::TopicRecord(row)).ok());
  const CatalogTable before = table;

  StateRecord record = CatalogTable::TopicRecord(row);
  record.key[0] = std::byte{99};
  CHECK(ApplyTo(table, record).code() == absl::StatusCode::kFailedPrecondition);
  CHECK(ApplyTo(table, {Bytes{}, std::nullopt}).code() == absl::StatusCode::kDataLoss);
  CHECK(ApplyTo(table, {Bytes{std::byte{2}}, std::nullopt}).code() == absl::StatusCode::kDataLoss);

  TopicRow impossible = row;
  impossible.history.back().partitions = 0;
  CHECK(ApplyTo(table, CatalogTable::TopicRecord(impossible)).code() ==
        absl::StatusCode::kDataLoss);
  impossible = row;
  impossible.name = "../etc";
  CHECK(ApplyTo(table, CatalogTable::TopicRecord(impossible)).code() ==
        absl::StatusCode::kDataLoss);
  CHECK(table == before);
}

TEST_CASE("CatalogTable: a record cut or changed anywhere never brings the table down",
          "[broker][catalog]") {
  TopicRow row = Row("orders", 3);
  row.configs = {{"durability", "written"}};
  const StateRecord whole = CatalogTable::TopicRecord(row);
  const Bytes value = whole.value.value();
  for (std::size_t size = 0; size < value.size(); ++size) {
    CatalogTable table;
    // A table whose end is cut must not pass for the whole one.
    if (table.Apply(whole.key, ByteView(value).first(size)).ok()) {
      CHECK_FALSE(table.topics().at(row.id) == row);
    }
  }
  for (std::size_t at = 0; at < value.size(); ++at) {
    Bytes changed = value;
    changed[at] ^= std::byte{0xff};
    CatalogTable table;
    const absl::Status status = table.Apply(whole.key, ByteView(changed));
    CHECK(table.topics().size() == (status.ok() ? 1u : 0u));
  }
}

TEST_CASE("CatalogTable: replaying the records of a run gives the table of the run",
          "[broker][catalog]") {
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u, 5u);
  INFO("seed " << seed);
  std::mt19937 random(seed);
  CatalogTable live;
  std::vector<StateRecord> log;
  const auto write = [&](StateRecord record) {
    REQUIRE(ApplyTo(live, record).ok());
    log.push_back(std::move(record));
  };
  for (int step = 0; step < 400; ++step) {
    const std::string name = "topic-" + std::to_string(random() % 12);
    const TopicRow* known = live.Find(name);
    if (random() % 10 == 0) {
      write(CatalogTable::ProducerIdsRecord(live.next_producer_id() + 1000));
    } else if (known == nullptr) {
      TopicRow row = Row(name, 1 + static_cast<std::int32_t>(random() % 5));
      if (random() % 2 == 0) row.configs["flush.ms"] = std::to_string(1 + random() % 100);
      write(CatalogTable::TopicRecord(row));
    } else if (random() % 3 == 0) {
      TopicRow row = *known;
      row.deleted = true;
      write(CatalogTable::TopicRecord(row));
      if (random() % 2 == 0) write(CatalogTable::TopicForgotten(row.id));
    } else {
      TopicRow row = *known;
      row.history.push_back({row.history.back().epoch + 1, row.partitions() + 1});
      row.configs["segment.ms"] = std::to_string(1000 + random() % 1000);
      write(CatalogTable::TopicRecord(row));
    }
  }
  CatalogTable replayed;
  for (const StateRecord& record : log) REQUIRE(ApplyTo(replayed, record).ok());
  CHECK(replayed == live);

  // And so does what compaction would leave: the newest record of each key, in log order.
  CatalogTable compacted;
  for (std::size_t i = 0; i < log.size(); ++i) {
    bool newest = true;
    for (std::size_t j = i + 1; j < log.size() && newest; ++j) newest = log[j].key != log[i].key;
    if (newest) REQUIRE(ApplyTo(compacted, log[i]).ok());
  }
  CHECK(compacted == live);
}

}  // namespace
}  // namespace cairn::broker
