#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "broker/runtime/logging.h"
#include "broker/server.h"
#include "client/admin.h"
#include "client/consumer.h"
#include "client/producer.h"
#include "tests/storage/temp_dir.h"

// Sanitizers make everything several times slower; they look for other things than volume.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr int kVolumeDivisor = 10;
#else
inline constexpr int kVolumeDivisor = 1;
#endif

namespace cairn::test {

// A broker that keeps its port over restarts, so that clients find it again.
class LiveBroker {
 public:
  explicit LiveBroker(const std::filesystem::path& root = std::filesystem::temp_directory_path(),
                      const broker::ServerOptions& options = broker::ServerOptions())
      : directory_(root), options_(options) {
    broker::SetLogLevel(broker::LogLevel::kError);
    options_.data_dir = directory_ / "data";
    options_.listen.address.port = 0;
    options_.threads = 2;
    Start();
  }

  void Start() {
    auto server = broker::Server::Start(options_);
    INFO(server.status());
    REQUIRE(server.ok());
    server_ = *std::move(server);
    options_.listen.address.port = server_->port();
  }
  void Stop() {
    const absl::Status stopped = server_->Stop();
    INFO(stopped);
    CHECK(stopped.ok());
    server_.reset();
  }
  // A stop that need not succeed: a disk has failed.
  void Abandon() { server_.reset(); }
  const std::filesystem::path& data() const { return options_.data_dir; }
  std::uint16_t port() const { return options_.listen.address.port; }

 private:
  storage::TempDir directory_;
  broker::ServerOptions options_;
  std::unique_ptr<broker::Server> server_;
};

inline std::shared_ptr<client::Cluster> ClusterAt(std::uint16_t port) {
  client::ClusterOptions options;
  options.broker = "127.0.0.1:" + std::to_string(port);
  options.client_id = "test";
  options.backoff_min = client::Duration(1);
  options.backoff_max = client::Duration(50);
  auto cluster = client::Cluster::Open(options);
  REQUIRE(cluster.ok());
  return *cluster;
}

inline void CreateTopic(std::uint16_t port, const std::string& name, std::int32_t partitions,
                        const std::map<std::string, std::string>& configs = {}) {
  client::Admin admin(ClusterAt(port));
  const auto created = admin.CreateTopic(name, partitions, configs);
  INFO(created.status());
  REQUIRE(created.ok());
}

// Everything in a topic up to its present end, by partition, in order.
inline std::vector<std::vector<std::string>> ReadAll(std::uint16_t port, const std::string& topic,
                                                     std::int32_t partitions) {
  auto consumer = client::Consumer::Open(ClusterAt(port), {});
  REQUIRE(consumer.ok());
  std::vector<client::Assignment> assignments;
  for (std::int32_t p = 0; p < partitions; ++p) {
    client::Assignment assignment;
    assignment.topic = topic;
    assignment.partition = PartitionIndex(p);
    assignment.stop_at_present_end = true;
    assignments.push_back(assignment);
  }
  const absl::Status assigned = (*consumer)->Assign(assignments, client::Duration(30'000));
  INFO(assigned);
  REQUIRE(assigned.ok());

  std::vector<std::vector<std::string>> values(static_cast<std::size_t>(partitions));
  while (!(*consumer)->finished()) {
    auto polled = (*consumer)->Poll(client::Duration(30'000));
    INFO(polled.status());
    REQUIRE(polled.ok());
    REQUIRE_FALSE((polled->empty() && !(*consumer)->finished()));  // nothing for 30 s
    for (const client::ConsumedRecord& record : polled->records()) {
      auto& partition = values[static_cast<std::size_t>(record.partition.value())];
      if (record.offset != Offset(static_cast<std::int64_t>(partition.size()))) {
        FAIL("offset " << record.offset.value() << " after " << partition.size() << " records");
      }
      partition.emplace_back(record.value.value_or("null"));
    }
    for (const client::ConsumerEvent& event : polled->events()) {
      INFO(event.status);
      REQUIRE(event.kind == client::ConsumerEvent::Kind::kEnd);
    }
  }
  return values;
}

}  // namespace cairn::test
