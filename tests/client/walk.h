#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include <catch2/catch.hpp>

#include "client/admin.h"
#include "client/cluster.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "tests/walk/running_server.h"

// What the tests against a running broker share.
namespace cairn::client {

using namespace std::chrono_literals;

inline constexpr Duration kPatience = 30s;

inline std::shared_ptr<Cluster> ClusterAt(std::uint16_t port) {
  ClusterOptions options;
  options.broker = absl::StrFormat("127.0.0.1:%d", port);
  options.backoff_min = 2ms;
  options.backoff_max = 50ms;
  return *Cluster::Open(options);
}

inline void CreateTopic(const std::shared_ptr<Cluster>& cluster, const std::string& name,
                        std::int32_t partitions,
                        const std::map<std::string, std::string>& configs = {}) {
  const auto created = Admin(cluster).CreateTopic(name, partitions, configs);
  INFO(created.status());
  REQUIRE(created.ok());
}

inline std::unique_ptr<Producer> OpenProducer(const std::shared_ptr<Cluster>& cluster,
                                              ProducerOptions options = {}) {
  return *Producer::Open(cluster, options);
}

inline ProduceRecord RecordOf(std::string_view value, int partition = -1) {
  ProduceRecord record;
  record.value = value;
  record.partition = PartitionIndex(partition);
  return record;
}

inline void SendValues(Producer& producer, const std::string& topic, int from, int to,
                       int partition = 0) {
  for (int i = from; i < to; ++i) {
    const std::string value = absl::StrFormat("%d", i);
    REQUIRE(producer.Send(topic, RecordOf(value, partition)).ok());
  }
  REQUIRE(producer.Flush(kPatience).ok());
}

inline Assignment Assigned(const std::string& topic, int partition,
                           StartPosition start = StartPosition::Earliest()) {
  Assignment assignment;
  assignment.topic = topic;
  assignment.partition = PartitionIndex(partition);
  assignment.start = start;
  return assignment;
}

inline Assignment ToPresentEnd(const std::string& topic, int partition,
                               StartPosition start = StartPosition::Earliest()) {
  Assignment assignment = Assigned(topic, partition, start);
  assignment.stop_at_present_end = true;
  return assignment;
}

inline std::unique_ptr<Consumer> OpenConsumer(const std::shared_ptr<Cluster>& cluster,
                                              std::vector<Assignment> assignments,
                                              ConsumerOptions options = {}) {
  auto consumer = *Consumer::Open(cluster, options);
  const absl::Status assigned = consumer->Assign(std::move(assignments), kPatience);
  INFO(assigned);
  REQUIRE(assigned.ok());
  return consumer;
}

// Polls until `count` values are there, every assignment has ended, or patience is.
inline std::vector<std::string> ReadValues(Consumer& consumer, std::size_t count,
                                           std::vector<ConsumerEvent>* events = nullptr) {
  std::vector<std::string> values;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (values.size() < count && !consumer.finished() &&
         std::chrono::steady_clock::now() < deadline) {
    const auto polled = consumer.Poll(kPatience, count - values.size());
    INFO(polled.status());
    REQUIRE(polled.ok());
    for (const ConsumedRecord& record : polled->records()) {
      values.emplace_back(record.value.value_or("(null)"));
    }
    if (events == nullptr) continue;
    events->insert(events->end(), polled->events().begin(), polled->events().end());
  }
  return values;
}

inline std::vector<std::string> Numbers(int from, int to) {
  std::vector<std::string> numbers;
  for (int i = from; i < to; ++i) numbers.push_back(absl::StrFormat("%d", i));
  return numbers;
}

}  // namespace cairn::client
