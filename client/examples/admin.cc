// Shows what a broker holds, and takes a topic through its life.
//
//   cairn_example_admin HOST:PORT [TOPIC]
//
// TOPIC is the name of the topic it makes, alters and deletes; by default one of its own. Exits
// with 0 only if every step showed what it should.

#include "client/admin.h"

#include <iostream>
#include <string>
#include <unistd.h>

#include "client/cluster.h"

namespace {

using namespace cairn::client;

absl::Status Show(Admin& admin) {
  const auto status = admin.Status();
  if (!status.ok()) return status.status();
  std::cout << status->software << ", " << status->topics << " topics, data in " << status->data_dir
            << "\n";
  const auto topics = admin.ListTopics();
  if (!topics.ok()) return topics.status();
  for (const TopicSummary& topic : *topics) {
    std::cout << "  " << topic.name << ": " << topic.partitions << " partitions, "
              << cairn::ToString(topic.durability) << "\n";
  }
  return absl::OkStatus();
}

absl::Status TakeThroughItsLife(Admin& admin, const std::string& name) {
  // Configs have Kafka's names; unknown ones are refused with the list of what is known.
  const auto id = admin.CreateTopic(name, 2, {{"segment.bytes", "67108864"}});
  if (!id.ok()) return id.status();
  if (const auto again = admin.CreateTopic(name, 2, {}); !absl::IsAlreadyExists(again.status())) {
    return absl::InternalError("a second topic of that name was not refused");
  }

  if (auto altered = admin.AlterTopic(name, {{"segment.bytes", "134217728"}}, std::nullopt, false);
      !altered.ok()) {
    return altered;
  }
  // Growing moves keys to other partitions: that must be said.
  if (auto grown = admin.AlterTopic(name, {}, 3, /*remap_keys=*/true); !grown.ok()) return grown;

  const auto topic = admin.DescribeTopic(name);
  if (!topic.ok()) return topic.status();
  std::cout << topic->name << " has " << topic->partitions.size() << " partitions\n";
  for (const TopicConfig& config : topic->configs) {
    if (!config.is_default) std::cout << "  " << config.name << "=" << config.value << "\n";
  }
  if (topic->id != *id || topic->partitions.size() != 3) {
    return absl::InternalError("that is not what was made");
  }

  const auto offsets = admin.Offsets(name);
  if (!offsets.ok()) return offsets.status();
  for (const OffsetsOfPartition& partition : *offsets) {
    if (!partition.status.ok()) return partition.status;
    std::cout << "  partition " << partition.partition.value() << " holds offsets "
              << partition.log_start.value() << " up to " << partition.committed_end.value()
              << "\n";
  }

  if (auto deleted = admin.DeleteTopic(name); !deleted.ok()) return deleted;
  if (const auto gone = admin.DescribeTopic(name); !absl::IsNotFound(gone.status())) {
    return absl::InternalError("the topic is still there");
  }
  std::cout << name << " is deleted\n";
  return absl::OkStatus();
}

absl::Status Main(const std::string& broker, const std::string& topic) {
  ClusterOptions options;
  options.broker = broker;
  options.client_id = "example-admin";
  const auto cluster = Cluster::Open(options);
  if (!cluster.ok()) return cluster.status();
  // Each call waits for its answer, at most this long.
  Admin admin(*cluster, std::chrono::seconds(10));
  absl::Status outcome = Show(admin);
  if (outcome.ok()) outcome = TakeThroughItsLife(admin, topic);
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: " << argv[0] << " HOST:PORT [TOPIC]\n";
    return 2;
  }
  const std::string topic = argc == 3 ? argv[2] : "example-admin-" + std::to_string(getpid());
  const absl::Status outcome = Main(argv[1], topic);
  if (outcome.ok()) return 0;
  std::cerr << outcome << "\n";
  return 1;
}
