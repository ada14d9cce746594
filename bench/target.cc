#include "bench/target.h"

#include <unistd.h>
#include <utility>

#include "absl/strings/str_format.h"

#include "protocol/status.h"

namespace cairn::bench {

void TargetOptions::AddTo(CLI::App& command) {
  command.add_option("-b,--broker", broker, "A broker that runs already (default: starts one)")
      ->type_name("HOST:PORT");
  command.add_option("--topic", topic, "A topic that is there already (default: makes one)");
  command.add_option("--partitions", partitions, "Of the topic that is made")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command.add_option("--durability", durability, "Of the topic that is made")
      ->check(CLI::IsMember({"written", "durable"}))
      ->capture_default_str();
  command.add_option("--config", configs, "More of the topic's configs")->type_name("NAME=VALUE");
  command.add_option("--cairnd", own.cairnd, "The broker to start (default: of the same build)")
      ->type_name("PATH");
  command.add_option("--broker-flag", own.flags, "More flags for it: --broker-flag=--threads=2")
      ->type_name("FLAG");
  command.add_option("--dir", own.dir, "Where its data directory goes (default: here)")
      ->type_name("DIR");
  command.add_flag("!--no-pin", pin, "Leave threads to the scheduler, on all cores");
}

nlohmann::ordered_json TargetOptions::ToJson() const {
  nlohmann::ordered_json json;
  json["broker"] = broker.empty() ? "own" : broker;
  json["partitions"] = partitions;
  json["durability"] = durability;
  json["configs"] = configs;
  json["broker_flags"] = own.flags;
  json["pinned"] = pin && BrokerCore().has_value();
  return json;
}

absl::StatusOr<std::unique_ptr<Target>> Target::Open(const TargetOptions& options) {
  std::unique_ptr<Target> target(new Target(options));
  RETURN_IF_ERROR(target->Prepare());
  return target;
}

absl::Status Target::Prepare() {
  if (options_.broker.empty()) {
    BrokerProcess::Options own = options_.own;
    own.pin = options_.pin;
    ASSIGN_OR_RETURN(BrokerProcess broker, BrokerProcess::Start(own));
    own_.emplace(std::move(broker));
  }
  address_ = own_.has_value() ? own_->address() : options_.broker;
  if (options_.pin) PinThisThread(LoadCore());
  ASSIGN_OR_RETURN(cluster_, Connect());
  admin_ = std::make_unique<client::Admin>(cluster_);
  ASSIGN_OR_RETURN(const client::BrokerStatus status, admin_->Status());
  pid_ = own_.has_value() ? own_->pid() : status.pid;
  if (!ProcessCpu(pid_).ok()) pid_ = 0;
  topic_ = options_.topic;
  if (topic_.empty()) {
    ASSIGN_OR_RETURN(topic_, MakeTopic(options_.partitions));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<client::Cluster>> Target::Connect() const {
  client::ClusterOptions options;
  options.broker = address_;
  options.client_id = "cairn-bench";
  return client::Cluster::Open(options);
}

absl::StatusOr<std::string> Target::MakeTopic(std::int32_t partitions) {
  std::map<std::string, std::string> configs = {{"durability", options_.durability}};
  for (const std::string& config : options_.configs) {
    const auto equals = config.find('=');
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--config %s: it must be NAME=VALUE", config));
    }
    configs[config.substr(0, equals)] = config.substr(equals + 1);
  }
  const std::string name = absl::StrFormat("bench-%d-%d", getpid(), made_.size());
  RETURN_IF_ERROR(admin_->CreateTopic(name, partitions, configs).status());
  made_.push_back(name);
  return name;
}

Target::~Target() {
  if (own_.has_value()) return;  // its data goes with it
  for (const std::string& name : made_) (void)admin_->DeleteTopic(name);
}

std::optional<std::chrono::nanoseconds> Target::BrokerCpu() const {
  if (pid_ == 0) return std::nullopt;
  const auto cpu = ProcessCpu(pid_);
  return cpu.ok() ? std::optional(*cpu) : std::nullopt;
}

std::optional<std::int64_t> Target::BrokerBytes() const {
  if (pid_ == 0) return std::nullopt;
  const auto bytes = ResidentBytes(pid_);
  return bytes.ok() ? std::optional(*bytes) : std::nullopt;
}

}  // namespace cairn::bench
