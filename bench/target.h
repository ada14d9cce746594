#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include <CLI/CLI.hpp>

#include "bench/broker_process.h"
#include "client/admin.h"
#include "client/cluster.h"
#include "nlohmann/json.hpp"

namespace cairn::bench {

// Which broker and topic a workload goes to.
struct TargetOptions {
  std::string broker;  // HOST:PORT; empty: one is started for this run
  BrokerProcess::Options own;
  std::string topic;  // empty: one is made for this run, and removed again
  std::int32_t partitions = 1;
  std::string durability = "written";
  std::vector<std::string> configs;  // more of the topic's, NAME=VALUE
  bool pin = true;                   // broker and load to cores of their own

  void AddTo(CLI::App& command);
  nlohmann::ordered_json ToJson() const;
};

// The broker and the topic themselves.
class Target {
 public:
  static absl::StatusOr<std::unique_ptr<Target>> Open(const TargetOptions& options);
  ~Target();  // removes a topic that it made

  const std::string& address() const { return address_; }
  const std::string& topic() const { return topic_; }
  client::Admin& admin() { return *admin_; }

  // A connection, and an I/O thread, of its own.
  absl::StatusOr<std::shared_ptr<client::Cluster>> Connect() const;
  // Makes another topic like the one that the options describe, removed with this object.
  absl::StatusOr<std::string> MakeTopic(std::int32_t partitions);

  // Of the broker, where it runs on this machine; else nothing.
  std::optional<std::chrono::nanoseconds> BrokerCpu() const;
  std::optional<std::int64_t> BrokerBytes() const;
  pid_t broker_pid() const { return pid_; }
  // Where the files of this run's own broker are; empty: it is another one.
  std::string data_dir() const { return own_.has_value() ? own_->data_dir() : ""; }

 private:
  explicit Target(TargetOptions options) : options_(std::move(options)) {}
  absl::Status Prepare();

  const TargetOptions options_;
  std::optional<BrokerProcess> own_;
  std::string address_;
  std::string topic_;
  pid_t pid_ = 0;
  std::shared_ptr<client::Cluster> cluster_;
  std::unique_ptr<client::Admin> admin_;
  std::vector<std::string> made_;
};

}  // namespace cairn::bench
